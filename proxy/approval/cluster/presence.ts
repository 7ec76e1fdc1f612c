import { LEASES } from '../../../kube/builtin.ts';
import type { KubeClient } from '../../../kube/types.ts';
import type { Holder } from '../request.ts';

/** Clocks of nodes differ, and a lease may be renewed late on a busy machine: rather late than wrong. */
const GRACE_MS = 30_000;

/**
 * Whether a replica that holds requests is gone, told by its Lease, which has the name of its pod.
 * @param own this process. Another process of the same pod is gone: its container was started again
 * @returns undefined while that cannot be known
 */
export function createPresence(
  client: KubeClient,
  namespace: string,
  own: Holder,
  now: () => number,
): (holder: Holder | undefined) => Promise<boolean | undefined> {
  return async (holder) => {
    if (holder === undefined) return undefined;
    if (holder.host === own.host) return holder.process !== own.process;
    const lease = await client.get(LEASES, { namespace, name: holder.host });
    if (lease === undefined) return true;
    const { renewTime, leaseDurationSeconds } = lease.spec ?? {};
    const renewed = Date.parse(renewTime ?? '');
    // Released, or never taken.
    if (Number.isNaN(renewed)) return true;
    return renewed + (leaseDurationSeconds ?? 0) * 1000 + GRACE_MS < now();
  };
}
