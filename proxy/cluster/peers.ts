import type { Lease } from '../../kube/builtin.ts';
import type { Reflector } from '../../kube/types.ts';
import { ownerIsAlive, type SegmentOwner } from '../../record/owner.ts';

/**
 * Whether a process of this installation still runs, by the Leases of the replicas: its `process` is the UID of its pod. Where the
 * Leases cannot be read everybody is taken to be alive, so that nobody's logins are dropped under them.
 * @param nowMs milliseconds since 1970
 */
export function isPeerAlive(
  owner: SegmentOwner,
  ownPod: string,
  leases: Pick<Reflector<Lease>, 'hasSynced' | 'list'>,
  nowMs: number,
): boolean {
  // Of this pod: another container of it may have been before this one.
  if (owner.process === ownPod) return ownerIsAlive(owner);
  if (!leases.hasSynced) return true;
  return leases.list().some(({ spec }) => {
    if (spec?.holderIdentity !== owner.process) return false;
    const renewed = Date.parse(spec.renewTime ?? '');
    const duration = (spec.leaseDurationSeconds ?? 0) * 1000;
    // Twice: clocks of nodes differ, and a login dropped too early breaks a session.
    return Number.isNaN(renewed) || nowMs - renewed < 2 * duration;
  });
}
