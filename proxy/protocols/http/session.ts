import { createHolding, type Holding } from '../../approval/holding.ts';
import type { LaneContext } from '../../lane.ts';
import { notApproved, storeRefused } from './approval-words.ts';
import type { HttpSession, Upstreams } from './core/port.ts';
import type { SignIns } from './credentials/sign-in.ts';
import { type LaneReport, laneError } from './errors.ts';
import type { MasksOf } from './masks.ts';
import type { Dialect } from './port.ts';
import { createSessionRecord, type SessionRecord } from './record.ts';
import type { Verdicts } from './verdicts.ts';

/** What the lane needs of its process. */
export interface HttpPorts
  extends Pick<
    LaneContext,
    'bundles' | 'approvals' | 'turn' | 'countCommand' | 'failed' | 'holdNoticeMs' | 'syncReads'
  > {
  readonly signIns: SignIns;
  readonly masksOf: MasksOf;
  readonly verdicts: Verdicts;
  readonly upstreams: Upstreams;
  /** Tried in order: the first that speaks a request understands it. */
  readonly dialects: readonly Dialect[];
}

/** What the lane keeps of a session, besides what core does. */
export interface SessionState {
  readonly session: HttpSession;
  readonly record: SessionRecord;
  readonly holding: Holding<LaneReport>;
}

export function createSessionState(session: HttpSession, ports: HttpPorts): SessionState {
  const record = createSessionRecord(session);
  const { namespace } = session.connection;
  const holding = createHolding<LaneReport>({
    bundles: ports.bundles,
    noticeMs: ports.holdNoticeMs,
    record: { held: record.held, released: record.released, sync: () => record.stream.sync() },
    recordFailed: (error) => session.recordFailed(error),
    failed: (what, error) => ports.failed(session.id, what, error),
    words: {
      notApproved: (ticket, state, message) => notApproved(ticket, namespace, state, message),
      refused: storeRefused,
      broken: () => laneError('SPE103', 'the store of requests failed', { hint: 'Try again later.' }),
    },
  });
  return { session, record, holding };
}
