import type { ApprovalRequest } from '../../../api/resources.ts';
import type { RequestObject } from '../../../approval/object.ts';
import type { ClientTls } from '../../../delivery/http.ts';
import type { KubeClient, Reflector } from '../../../kube/types.ts';
import { type ApprovalEvent, type ApprovalLog, toldSafely } from '../context.ts';
import type { Holder } from '../request.ts';
import { type Approvals, createApprovals } from '../store.ts';
import { keepSwept } from '../sweep.ts';
import { createArchiveLedger } from './archive-ledger.ts';
import { createRequestObjects } from './objects.ts';
import { createPresence } from './presence.ts';
import { askApiServer, createClusterSigners } from './signers.ts';

export interface ClusterApprovalsOptions {
  readonly client: KubeClient;
  /** Of `APPROVAL_REQUESTS` in `namespace`; the caller runs it. */
  readonly reflector: Reflector<RequestObject>;
  /** Of the proxy. */
  readonly namespace: string;
  readonly archive: { readonly url: URL; readonly tls: () => Promise<ClientTls> };
  /** `voteAuthorities` of the bundle in force. */
  readonly authorities: () => readonly string[];
  /** `host` is the name of the pod, and of its Lease; `process` is random, one for each start of the process. */
  readonly holder: Holder;
  readonly now: () => number;
  readonly monotonic: () => number;
  readonly log: ApprovalLog;
  /** Told of each change that this process made: Kubernetes Events, webhooks. What it throws ends nothing. */
  readonly onChange?: (request: ApprovalRequest, event: ApprovalEvent) => void;
  /** Milliseconds between two rounds of looking for requests whose replica is gone. */
  readonly sweepMs?: number;
  /** Ends all of it. */
  readonly signal: AbortSignal;
}

const SWEEP_MS = 15_000;

/** Approvals of a proxy in a cluster: ApprovalRequests of its namespace, votes by the API server's users, used ones in the archive. */
export function createClusterApprovals(options: ClusterApprovalsOptions): Approvals {
  const { client, reflector, namespace, archive, holder, now, monotonic, log, signal } = options;
  const context = {
    requests: createRequestObjects({ client, reflector, namespace }),
    used: createArchiveLedger({ ...archive, namespace, signal }),
    signers: createClusterSigners({ authorities: options.authorities, hasRight: askApiServer(client) }),
    isGone: createPresence(client, namespace, holder, now),
    changed: toldSafely(options.onChange, log),
    holder,
    now,
    monotonic,
    log,
  };
  void reflector
    .synced(signal)
    .then(() => keepSwept(context, { everyMs: options.sweepMs ?? SWEEP_MS, remove: false }, signal))
    // Ended before the first list came: there is nothing to put in order.
    .catch((error: unknown) => {
      if (!signal.aborted) throw error;
    });
  return createApprovals(context);
}
