import { LABELS } from '../../api/cluster.ts';
import type { Pod } from '../../kube/builtin.ts';
import type { Reflector } from '../../kube/types.ts';
import { identityError } from '../identity/errors.ts';
import type { PodDirectory, PodFacts } from '../identity/pod-directory.ts';

export interface WatchedPodsOptions {
  /** A copy of the pods of one namespace, not running yet. */
  readonly reflector: (namespace: string) => Reflector<Pod>;
  /** Whether any connection allows pods of this namespace: others are not looked at. */
  readonly serves: (namespace: string) => boolean;
  /** What has become of a pod; undefined: it is gone. */
  readonly observe: (uid: string, pod: PodFacts | undefined) => void;
  /** How old the last news of a namespace may be while it cannot be watched, in milliseconds. */
  readonly maxAgeMs: () => number;
  /** The reflectors' clock, in milliseconds. */
  readonly now: () => number;
  /** How long a pod that is not known yet is waited for. Default 5 s. */
  readonly waitMs?: number;
  readonly signal: AbortSignal;
}

export interface WatchedPods extends PodDirectory {
  /** Namespaces that are watched. */
  readonly namespaces: readonly string[];
}

/** A token whose pod is not known is followed by news of that pod within moments, or by none. */
const WAIT_MS = 5000;

export function podFacts({ metadata, spec, status }: Pod): PodFacts {
  const ips = [status?.podIP, ...(status?.podIPs ?? []).map(({ ip }) => ip)];
  return {
    namespace: metadata.namespace ?? '',
    name: metadata.name,
    uid: metadata.uid ?? '',
    ...(spec?.nodeName === undefined ? {} : { node: spec.nodeName }),
    addresses: [...new Set(ips.filter((ip) => ip !== undefined))],
    ending: metadata.deletionTimestamp !== undefined || status?.phase === 'Succeeded' || status?.phase === 'Failed',
    quarantined: metadata.labels !== undefined && Object.hasOwn(metadata.labels, LABELS.quarantine),
  };
}

/** What of a pod is kept: a namespace may have thousands, and their specs are large. */
export function essentialPod({ apiVersion, kind, metadata, spec, status }: Pod): Pod {
  const { name, namespace, uid, resourceVersion, deletionTimestamp, labels } = metadata;
  const quarantine = labels?.[LABELS.quarantine];
  return {
    apiVersion,
    kind,
    metadata: {
      name,
      ...(namespace === undefined ? {} : { namespace }),
      ...(uid === undefined ? {} : { uid }),
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
      ...(deletionTimestamp === undefined ? {} : { deletionTimestamp }),
      ...(quarantine === undefined ? {} : { labels: { [LABELS.quarantine]: quarantine } }),
    },
    spec: spec?.nodeName === undefined ? {} : { nodeName: spec.nodeName },
    status: {
      ...(status?.phase === undefined ? {} : { phase: status.phase }),
      ...(status?.podIP === undefined ? {} : { podIP: status.podIP }),
      ...(status?.podIPs === undefined ? {} : { podIPs: status.podIPs }),
    },
  };
}

/** Watches the pods of each namespace from the first token of it on, where a connection allows it at all. */
export function createWatchedPods(options: WatchedPodsOptions): WatchedPods {
  const { now, signal } = options;
  const reflectors = new Map<string, Reflector<Pod>>();

  function watch(namespace: string): Reflector<Pod> {
    const known = reflectors.get(namespace);
    if (known !== undefined) return known;
    // Every token of this cluster gets here, of whatever namespace: none of them may set up a watch that nobody needs.
    if (!options.serves(namespace)) throw identityError('SPI033', [namespace]);
    const reflector = options.reflector(namespace);
    reflectors.set(namespace, reflector);
    reflector.onChange(({ type, object }) => {
      options.observe(object.metadata.uid ?? '', type === 'deleted' ? undefined : podFacts(object));
    });
    void reflector.run(signal);
    return reflector;
  }

  function look(reflector: Reflector<Pod>, namespace: string, name: string, uid: string): PodFacts | undefined {
    const pod = reflector.get(namespace, name);
    return pod === undefined || pod.metadata.uid !== uid ? undefined : podFacts(pod);
  }

  return {
    get namespaces() {
      return [...reflectors.keys()];
    },
    now(namespace, name, uid) {
      const reflector = watch(namespace);
      const { heardAt, problem, phase } = reflector.status();
      if (!reflector.hasSynced || heardAt === undefined)
        throw new Error(problem === undefined ? 'they have not been listed yet' : problem.message);
      // An open watch is silent for a minute when nothing happens; one that is not open tells nothing.
      if (phase !== 'watching' && now() - heardAt > options.maxAgeMs())
        throw new Error(`nothing was heard of them for ${Math.round((now() - heardAt) / 1000)} s`);
      return look(reflector, namespace, name, uid);
    },
    async find(namespace, name, uid, caller) {
      const reflector = watch(namespace);
      const timeout = AbortSignal.timeout(options.waitMs ?? WAIT_MS);
      const waiting = AbortSignal.any([caller, timeout, signal]);
      try {
        await reflector.synced(waiting);
      } catch (error) {
        caller.throwIfAborted();
        throw reflector.status().problem ?? error;
      }
      const arrived = await new Promise<PodFacts | undefined>((resolve) => {
        const settle = (): void => {
          const pod = look(reflector, namespace, name, uid);
          // Its sidecar may start before the kubelet has told its address.
          if (!waiting.aborted && (pod === undefined || (pod.addresses.length === 0 && !pod.ending))) return;
          unsubscribe();
          waiting.removeEventListener('abort', settle);
          resolve(pod);
        };
        const unsubscribe = reflector.onChange(settle);
        waiting.addEventListener('abort', settle, { once: true });
        settle();
      });
      caller.throwIfAborted();
      return arrived;
    },
  };
}
