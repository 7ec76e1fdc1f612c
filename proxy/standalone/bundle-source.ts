import { apiMessage } from '../../api/errors.ts';
import { fingerprintOf } from '../../api/files.ts';
import { type CheckObject, type Finding, type Loaded, loadResources } from '../../api/load.ts';
import type { Bundle } from '../../policy/bundle.ts';
import { compile } from '../../policy/compile.ts';
import type { BundleSource } from '../ports.ts';
import { watchFolders } from './folder-watch.ts';

export interface FolderOptions {
  readonly paths: readonly string[];
  readonly guardrailNamespace: string;
  readonly checkObject: CheckObject;
  /**
   * Called after each look that found something new: `changed` when another bundle is in force, or a broken edit was undone; else
   * the edit is broken and the last good one stays. A change without effect on policy, such as a comment or a credential, is not
   * told.
   */
  readonly onReload: (result: {
    readonly changed: boolean;
    readonly findings: readonly Finding[];
    readonly bundle: Bundle;
  }) => void;
  /** Milliseconds between regular looks, besides those after a change is noticed. */
  readonly pollMs?: number;
}

export interface FolderBundleSource extends BundleSource {
  /** What the bundle in force was made from, and the credentials beside it. */
  readonly loaded: Loaded;
  /** What was found at the first look. */
  readonly findings: readonly Finding[];
  /** Looks again now. Never rejects: what goes wrong is told to `onReload`. */
  reload(): Promise<void>;
  close(): void;
}

/** Mounted ConfigMaps are swapped by a symbolic link, which not every watch sees. */
const POLL_MS = 5000;

/** Codes that say that no connection is meant, which is not so where one is there and in error itself. */
const ABOUT_ABSENCE: ReadonlySet<string> = new Set(['SPP001', 'SPP002']);

/** Problems of compilation as findings at the place of the object. */
export function findingsOf(loaded: Loaded, problems: ReturnType<typeof compile>['problems']): Finding[] {
  const connections = [...loaded.places.keys()].filter((label) => label.startsWith('AccessConnection/')).length;
  const complete = connections === loaded.resources.connections.length;
  const told = complete ? problems : problems.filter(({ code }) => !ABOUT_ABSENCE.has(code));
  return told.map((problem) => {
    const { kind, namespace, name } = problem.object;
    const label = `${kind}/${namespace}/${name}`;
    const place = loaded.places.get(label)?.(problem.path) ?? { file: '', line: 1, column: 1 };
    const fix = problem.fix === undefined ? {} : { fix: problem.fix };
    const message = `${kind} ${namespace}/${name}: ${problem.message}`;
    return { severity: problem.severity, ...place, code: problem.code, message, ...fix };
  });
}

interface Look {
  readonly loaded: Loaded;
  readonly bundle: Bundle;
  readonly findings: readonly Finding[];
  readonly fingerprint: string;
}

/**
 * The bundle of a folder. It is swapped whole, when every file is in order; a broken edit leaves the last good one in force and is
 * reported. The first look is taken as it is: see `findings` for whether it may be used.
 */
export async function createFolderBundleSource(options: FolderOptions): Promise<FolderBundleSource> {
  const { paths, guardrailNamespace, checkObject, onReload } = options;
  const listeners = new Set<(bundle: Bundle) => void>();

  async function look(): Promise<Look> {
    // Taken first: what changes while the files are read is seen by the next look.
    const fingerprint = await fingerprintOf(paths);
    const loaded = await loadResources(paths, checkObject);
    const { bundle, problems } = compile(loaded.resources, { guardrailNamespace });
    return { loaded, bundle, findings: [...loaded.findings, ...findingsOf(loaded, problems)], fingerprint };
  }

  const first = await look();
  let { loaded, bundle, fingerprint } = first;
  let broken = false;

  async function reloadOnce(): Promise<void> {
    if ((await fingerprintOf(paths)) === fingerprint) return;
    const next = await look();
    fingerprint = next.fingerprint;
    // What the files themselves say wrong keeps all of them out; what compilation reports fails closed inside the bundle.
    if (next.loaded.findings.some(({ severity }) => severity === 'error')) {
      broken = true;
      onReload({ changed: false, findings: next.findings, bundle });
      return;
    }
    loaded = next.loaded;
    const same = next.bundle.hash === bundle.hash;
    if (same && !broken) return;
    broken = false;
    if (!same) {
      bundle = next.bundle;
      for (const listener of listeners) listener(bundle);
    }
    onReload({ changed: true, findings: next.findings, bundle });
  }

  async function reloadSafely(): Promise<void> {
    try {
      await reloadOnce();
    } catch (error) {
      const text = apiMessage('SPA019', [error instanceof Error ? error.message : String(error)]);
      const place = { file: paths[0] ?? '', line: 1, column: 1 };
      onReload({ changed: false, findings: [{ severity: 'error', ...place, code: 'SPA019', ...text }], bundle });
    }
  }

  let running: Promise<void> | undefined;
  let queued: Promise<void> | undefined;

  /** One look at a time. A call while one is running waits for the next, since the running one may have read the old files. */
  function reload(): Promise<void> {
    if (running === undefined) {
      running = reloadSafely().finally(() => {
        running = undefined;
      });
      return running;
    }
    queued ??= running.then(() => {
      queued = undefined;
      return reload();
    });
    return queued;
  }

  const watching = watchFolders(paths, options.pollMs ?? POLL_MS, () => void reload());

  return {
    get loaded() {
      return loaded;
    },
    findings: first.findings,
    current: () => bundle,
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    reload,
    close: () => watching.close(),
  };
}
