import type { ApprovalRequest } from '../../api/resources.ts';
import type { SignerDirectory } from '../../approval/signers.ts';
import type { RequestFiles } from './files.ts';
import type { Holder } from './request.ts';
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
  readonly files: RequestFiles;
  readonly used: {
    /** Shared by all that share the store: lets one of them run a request. */
    readonly shared: UsedRequests;
    /** This gateway's own, which whoever writes to the store cannot reach. */
    readonly own: UsedRequests;
  };
  readonly signers: SignerDirectory;
  readonly holder: Holder;
  /** Milliseconds since 1970, by the clock of this machine. */
  readonly now: () => number;
  /** Milliseconds by a clock that nobody can set. */
  readonly monotonic: () => number;
  readonly log: ApprovalLog;
  readonly changed: (request: ApprovalRequest, event: ApprovalEvent) => void;
}
