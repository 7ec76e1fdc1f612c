import type { ApprovalRequest } from '../../api/resources.ts';
import type { SignerDirectory } from '../../approval/signers.ts';
import { causeOf } from './errors.ts';
import type { Holder } from './request.ts';
import type { RequestStore } from './request-store.ts';
import type { UsedRequests } from './used.ts';

/** What happened to a request in this process. Each change is told by the one process that made it. */
export type ApprovalEvent =
  | 'Created'
  | 'Voted'
  | 'Approved'
  | 'Denied'
  | 'Expired'
  | 'Withdrawn'
  | 'Consumed'
  | 'Reused'
  | 'Executed'
  | 'Failed'
  | 'CountWanted'
  | 'Measured';

/** What is told of odd things in the store: by name, never with the command. */
export interface ApprovalLog {
  warn(facts: Readonly<Record<string, unknown>>, message: string): void;
}

/** What the parts of the store share. */
export interface ApprovalContext {
  readonly requests: RequestStore;
  readonly used: UsedRequests;
  readonly signers: SignerDirectory;
  /** This process, as it is named in what it holds. */
  readonly holder: Holder;
  /** Whether a process is gone; undefined when that cannot be known from here. */
  readonly isGone: (holder: Holder | undefined) => Promise<boolean | undefined>;
  /** Milliseconds since 1970, by the clock of this machine. */
  readonly now: () => number;
  /** Milliseconds by a clock that nobody can set. */
  readonly monotonic: () => number;
  readonly log: ApprovalLog;
  readonly changed: (request: ApprovalRequest, event: ApprovalEvent) => void;
}

/** Tells somebody of changes. What they throw ends nothing. */
export function toldSafely(
  tell: ((request: ApprovalRequest, event: ApprovalEvent) => void) | undefined,
  log: ApprovalLog,
): ApprovalContext['changed'] {
  return (request, event) => {
    try {
      tell?.(request, event);
    } catch (error) {
      log.warn({ event, error: causeOf(error) }, 'somebody who is told of approvals failed');
    }
  };
}
