import { LEASES } from '../../../kube/builtin.ts';
import type { KubeClient } from '../../../kube/types.ts';
import type { Holder } from '../request.ts';

/** A lease may be renewed late on a busy machine: rather late than wrong. */
const GRACE_MS = 30_000;
const MAX_SEEN = 1024;

/**
 * Whether a replica that holds requests is gone, told by its Lease, which has the name of its pod. Clocks of nodes differ: one whose Lease is
 * over by this clock is gone only when it does not renew it while this process looks, for as long as the Lease is good.
 * @param own this process. Another process of the same pod is gone: its container was started again
 * @param now milliseconds since 1970
 * @returns undefined while that cannot be known
 */
export function createPresence(
  client: Pick<KubeClient, 'get'>,
  namespace: string,
  own: Holder,
  now: () => number,
): (holder: Holder | undefined) => Promise<boolean | undefined> {
  /** Leases that look over, by name: since when they look so. */
  const seen = new Map<string, { readonly renewTime: string; readonly since: number }>();
  return async (holder) => {
    if (holder === undefined) return undefined;
    const { host } = holder;
    if (host === own.host) return holder.process !== own.process;
    const lease = await client.get(LEASES, { namespace, name: host });
    if (lease === undefined) return true;
    const renewTime = lease.spec?.renewTime ?? '';
    const renewed = Date.parse(renewTime);
    // Released, or never taken.
    if (Number.isNaN(renewed)) return true;
    const patience = (lease.spec?.leaseDurationSeconds ?? 0) * 1000 + GRACE_MS;
    if (renewed + patience >= now()) {
      seen.delete(host);
      return false;
    }
    const before = seen.get(host);
    if (before?.renewTime === renewTime) return now() - before.since > patience ? true : undefined;
    if (seen.size >= MAX_SEEN) seen.clear();
    seen.set(host, { renewTime, since: now() });
    return undefined;
  };
}
