import type { KeyObject } from 'node:crypto';
import type { BundleDocument } from '../../api/bundle-document.ts';
import type { ConfigMap } from '../../kube/builtin.ts';
import type { Bundle } from '../../policy/bundle.ts';
import { compile } from '../../policy/compile.ts';
import type { BundleSource } from '../ports.ts';
import { readBundle } from './bundle-document.ts';
import { ClusterError } from './errors.ts';

/** The newest bundle that was in force here: one that is older is not taken again. */
export interface BundleMark {
  readonly sequence: number;
  readonly hash: string;
}

export interface ClusterBundleOptions {
  readonly namespace: string;
  readonly trusted: readonly KeyObject[];
  /** ConfigMap by name, as the reflector has it. */
  readonly map: (name: string) => ConfigMap | undefined;
  /** Of an earlier process on this state folder. */
  readonly mark: BundleMark | undefined;
  /** Milliseconds; never goes back. */
  readonly monotonic: () => number;
  /** Another document is in force. `changed`: decisions may differ. */
  readonly onInForce: (mark: BundleMark, changed: boolean) => void;
  /** What is there now is not taken; the last good one stays. Called once for each reason. */
  readonly onRefused: (error: ClusterError) => void;
}

export interface ClusterBundleSource extends BundleSource {
  /** Undefined: no bundle was ever good, and nothing is served. */
  readonly document: BundleDocument | undefined;
  /** Of the document in force. */
  readonly mark: BundleMark | undefined;
  /** Whether any connection of the document in force allows pods of this namespace. */
  serves(namespace: string): boolean;
  /** Others enforce this one: nothing older is taken from now on. */
  atLeast(known: BundleMark): void;
  /** Looks at the ConfigMaps: after each change of them. */
  look(): void;
  /** The API server was heard from just now, and the ConfigMaps were as they are here. */
  heard(): void;
  /** Milliseconds since the policy in force was last known to be the operator's word. */
  age(): number;
}

/**
 * The bundle of one namespace, out of its ConfigMaps. It is swapped whole; whatever is wrong with a new one leaves the last good one in
 * force, whose age then grows until the gate denies everything.
 */
export function createClusterBundleSource(options: ClusterBundleOptions): ClusterBundleSource {
  const listeners = new Set<(bundle: Bundle) => void>();
  let bundle: Bundle = compile({ connections: [], policies: [], maskingRules: [] }, { guardrailNamespace: '' }).bundle;
  let document: BundleDocument | undefined;
  let mark = options.mark;
  let good = false;
  let confirmedAt = Number.NEGATIVE_INFINITY;
  let refused = '';

  function take(): void {
    const next = readBundle(options.map, options.namespace, options.trusted);
    const { sequence } = next.document;
    if (mark !== undefined && (sequence < mark.sequence || (sequence === mark.sequence && next.hash !== mark.hash)))
      throw new ClusterError('SPX005', [options.namespace, sequence, mark.sequence]);
    if (document !== undefined && next.hash === mark?.hash) return;
    let compiled: Bundle;
    try {
      const { guardrailNamespace, resources } = next.document;
      compiled = compile(resources, { guardrailNamespace }).bundle;
    } catch (error) {
      throw new ClusterError('SPX006', [options.namespace, error instanceof Error ? error.message : ''], error);
    }
    ({ document } = next);
    mark = { sequence, hash: next.hash };
    const changed = compiled.hash !== bundle.hash;
    if (changed) bundle = compiled;
    options.onInForce(mark, changed);
    if (changed) for (const listener of listeners) listener(bundle);
  }

  return {
    current: () => bundle,
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    get document() {
      return document;
    },
    get mark() {
      return document === undefined ? undefined : mark;
    },
    serves(namespace) {
      const allowed = Object.values(document?.allowedNamespaces ?? {});
      return allowed.some((names) => names.includes('*') || names.includes(namespace));
    },
    atLeast(known) {
      if (mark === undefined || known.sequence > mark.sequence) mark = known;
    },
    look() {
      try {
        take();
        good = true;
        refused = '';
        confirmedAt = options.monotonic();
      } catch (error) {
        if (!(error instanceof ClusterError)) throw error;
        good = false;
        if (refused === error.message) return;
        refused = error.message;
        options.onRefused(error);
      }
    },
    heard() {
      if (good) confirmedAt = options.monotonic();
    },
    age: () => options.monotonic() - confirmedAt,
  };
}
