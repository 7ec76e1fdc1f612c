import { LEASES } from '../../kube/builtin.ts';
import type { KubeClient, Log } from '../../kube/types.ts';
import { ownerIsAlive, type SegmentOwner } from '../../record/owner.ts';
import type { ReplicaPod } from './lease.ts';

export interface PeersOptions {
  readonly client: Pick<KubeClient, 'get'>;
  readonly pod: ReplicaPod;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  readonly log: Log;
}

/** How long an answer is believed, in milliseconds. */
const BELIEVED_MS = 30_000;
const MAX_KNOWN = 1024;

/** How a replica is named in what it leaves in a target. */
export const processOf = ({ name, uid }: ReplicaPod): string => `${name}/${uid}`;

function parts(named: string): readonly [name: string, uid: string | undefined] {
  const [name = '', uid] = named.split('/');
  return [name, uid];
}

/**
 * Whether a process of this installation still runs, by the Lease of its pod. Until that is known, and whenever it cannot be, it is taken to
 * be alive: nobody's logins are dropped under them, and what is left over ends by itself.
 */
export function createPeers({ client, pod, now, log }: PeersOptions): (owner: SegmentOwner) => boolean {
  const known = new Map<string, { alive: boolean; asked: number }>();
  const own = processOf(pod);

  async function ask(name: string, uid: string | undefined): Promise<boolean> {
    const lease = await client.get(LEASES, { namespace: pod.namespace, name });
    if (lease?.spec?.holderIdentity !== uid) return false;
    const renewed = Date.parse(lease?.spec?.renewTime ?? '');
    const duration = (lease?.spec?.leaseDurationSeconds ?? 0) * 1000;
    // Twice: clocks of nodes differ, and a login dropped too early breaks a session.
    return Number.isNaN(renewed) || now() - renewed < 2 * duration;
  }

  return (owner) => {
    // Of this pod: another container of it may have been before this one.
    if (owner.process === own) return ownerIsAlive(owner);
    const answer = known.get(owner.process);
    if (answer === undefined || now() - answer.asked > BELIEVED_MS) {
      const entry = { alive: answer?.alive ?? true, asked: now() };
      if (known.size >= MAX_KNOWN) known.clear();
      known.set(owner.process, entry);
      ask(...parts(owner.process)).then(
        (alive) => {
          entry.alive = alive;
        },
        (error: Error) => {
          entry.alive = true;
          log.debug({ process: owner.process, error: error.message }, 'whether a replica lives is not known');
        },
      );
      return entry.alive;
    }
    return answer.alive;
  };
}
