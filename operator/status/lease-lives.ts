import type { Lease } from '../../kube/builtin.ts';
import type { Reflector } from '../../kube/types.ts';

/** Until when Leases are good, by the operator's own clock: those of nodes may be off by more than a Lease lasts. */
export interface LeaseLives {
  /** Milliseconds since the epoch; in the past: it is over. */
  endOf(lease: Lease): number;
}

const durationMs = ({ spec }: Lease): number => (spec?.leaseDurationSeconds ?? 0) * 1000;
const renewalOf = ({ spec }: Lease): number => Date.parse(spec?.renewTime ?? '');

/**
 * A Lease that was renewed while this process looked is good from then on, whatever time its holder wrote. One that was there before is
 * taken at its holder's word, but for no longer than from now on.
 * @param now milliseconds since the epoch
 */
export function createLeaseLives(leases: Pick<Reflector<Lease>, 'list' | 'onChange'>, now: () => number): LeaseLives {
  const renewedAt = new Map<string, number>();
  const found = (lease: Lease): void => {
    const { uid = '' } = lease.metadata;
    const renewed = renewalOf(lease);
    if (!Number.isNaN(renewed)) renewedAt.set(uid, Math.min(renewed, now()));
  };
  for (const lease of leases.list()) found(lease);
  leases.onChange((change) => {
    const { uid = '' } = change.object.metadata;
    if (change.type === 'deleted') renewedAt.delete(uid);
    else if (change.type === 'added') found(change.object);
    else if (renewalOf(change.object) !== renewalOf(change.previous)) renewedAt.set(uid, now());
  });
  return {
    endOf(lease) {
      const at = renewedAt.get(lease.metadata.uid ?? '');
      return at === undefined ? 0 : at + durationMs(lease);
    },
  };
}
