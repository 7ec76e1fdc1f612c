import { type LaneReport, laneError } from '../errors.ts';
import type { Reply } from './replies.ts';

/** The limit on what is returned that this reply has just gone over, if any. */
export function limitBroken(reply: Reply): LaneReport | undefined {
  const limits = reply.verdict?.decision.limits;
  if (limits === undefined) return undefined;
  if (limits.maxRowsReturned !== undefined && reply.rows > limits.maxRowsReturned)
    return laneError('SPG009', String(limits.maxRowsReturned));
  if (limits.maxBytesReturned !== undefined && reply.bytes > limits.maxBytesReturned)
    return laneError('SPG010', String(limits.maxBytesReturned));
  return undefined;
}
