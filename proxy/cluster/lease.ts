import type { ProxyReport } from '../../api/bundle-document.ts';
import { ANNOTATIONS, LABELS, MANAGED_BY, NAMES } from '../../api/cluster.ts';
import { sleep } from '../../kube/backoff.ts';
import { LEASES, type Lease } from '../../kube/builtin.ts';
import { isAlreadyExists, isConflict, isNotFound } from '../../kube/errors.ts';
import type { KubeClient, Log } from '../../kube/types.ts';

/** The pod that this replica is. */
export interface ReplicaPod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

export interface ReplicaLeaseOptions {
  readonly client: Pick<KubeClient, 'create' | 'update' | 'get' | 'delete'>;
  readonly pod: ReplicaPod;
  readonly report: () => ProxyReport;
  /** The API server took it. */
  readonly renewed: () => void;
  readonly now: () => Date;
  readonly log: Log;
  /** Between two writes when nothing changes, in milliseconds. Default 10 s. */
  readonly renewMs?: number;
}

export interface ReplicaLease {
  /** Writes now: the report is another. */
  touch(): void;
  /** Renews until the signal, and deletes it then. */
  run(signal: AbortSignal): Promise<void>;
}

const RENEW_MS = 10_000;
/** After a failure; the API server may be back any moment, and the age of the policy is counted by it. */
const RETRY_MS = 2000;
/** Between two writes whatever happens: what agents tell of their network is in the report, and none of them sets the pace. */
const GAP_MS = 250;
/** Whoever reads it takes a replica for gone after this long. */
const DURATION_SECONDS = 40;
const WRITE_MS = 5000;

/** MicroTime of meta/v1. */
const microTime = (at: Date): string => at.toISOString().replace('Z', '000Z');

/**
 * One Lease for each replica, in the namespace of the connections, owned by the pod: how the operator knows which bundle is in force
 * where, and replicas of each other that they live.
 */
export function createReplicaLease(options: ReplicaLeaseOptions): ReplicaLease {
  const { client, pod, log } = options;
  let written: Lease | undefined;
  let failing = false;
  let wake = (): void => {};
  let touched = false;

  function desired(): Lease {
    const report = options.report();
    const at = microTime(options.now());
    return {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: {
        name: pod.name,
        namespace: pod.namespace,
        labels: {
          [LABELS.name]: NAMES.proxy,
          [LABELS.managedBy]: MANAGED_BY,
          [LABELS.partOf]: MANAGED_BY,
          [LABELS.component]: 'proxy',
          [LABELS.servedNamespace]: pod.namespace,
        },
        annotations: {
          ...(report.bundle === '' ? {} : { [ANNOTATIONS.bundleHash]: report.bundle }),
          [ANNOTATIONS.proxyReport]: JSON.stringify(report),
        },
        ownerReferences: [{ apiVersion: 'v1', kind: 'Pod', name: pod.name, uid: pod.uid }],
      },
      spec: {
        holderIdentity: pod.uid,
        leaseDurationSeconds: DURATION_SECONDS,
        acquireTime: written?.spec?.acquireTime ?? at,
        renewTime: at,
      },
    };
  }

  async function write(signal: AbortSignal): Promise<void> {
    const next = desired();
    if (written === undefined) {
      try {
        written = await client.create(LEASES, next, { signal });
        return;
      } catch (error) {
        if (!isAlreadyExists(error)) throw error;
      }
      // Of an earlier process in this pod.
      written = await client.get(LEASES, pod, { signal });
    }
    const { resourceVersion } = written?.metadata ?? {};
    const metadata = { ...next.metadata, ...(resourceVersion === undefined ? {} : { resourceVersion }) };
    written = await client.update(LEASES, { ...next, metadata }, { signal });
  }

  async function renew(signal: AbortSignal): Promise<boolean> {
    try {
      await write(AbortSignal.any([signal, AbortSignal.timeout(WRITE_MS)]));
      options.renewed();
      if (failing) log.info({ lease: pod.name }, 'the lease of this replica is written again');
      failing = false;
      return true;
    } catch (error) {
      if (signal.aborted) return false;
      // Somebody deleted or changed it: begin anew.
      if (isConflict(error) || isNotFound(error)) written = undefined;
      const { message, code } = error as Error & { code?: string };
      log[failing ? 'debug' : 'warn']({ lease: pod.name, code, error: message }, 'the lease cannot be written');
      failing = true;
      return false;
    }
  }

  function pause(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        wake = () => {};
        resolve();
      };
      const timer = setTimeout(done, ms);
      signal.addEventListener('abort', done, { once: true });
      wake = done;
      if (touched || signal.aborted) done();
    });
  }

  return {
    touch() {
      touched = true;
      wake();
    },
    async run(signal) {
      while (!signal.aborted) {
        touched = false;
        const good = await renew(signal);
        await sleep(GAP_MS, signal);
        await pause(good ? (options.renewMs ?? RENEW_MS) : RETRY_MS, signal);
      }
      try {
        await client.delete(LEASES, pod, { signal: AbortSignal.timeout(WRITE_MS) });
      } catch (error) {
        // It goes with its pod.
        log.warn({ lease: pod.name, error: (error as Error).message }, 'the lease could not be deleted');
      }
    },
  };
}
