import { join } from 'node:path';
import type { ApprovalRequest } from '../../api/resources.ts';
import type { SignerDirectory } from '../../approval/signers.ts';
import { type ApprovalContext, type ApprovalEvent, type ApprovalLog, toldSafely } from './context.ts';
import { holderIsGone } from './file-lock.ts';
import { createRequestFiles } from './files.ts';
import type { Holder } from './request.ts';
import { type Approvals, createApprovals } from './store.ts';
import { bothUsed, createUsedRequests } from './used.ts';

export interface FolderApprovalsOptions {
  /** Where requests are, a folder for each namespace; several gateways may share it. */
  readonly folder: string;
  /** Where this gateway keeps what it used up, apart from the store; its workers share it. */
  readonly usedFolder: string;
  readonly signers: SignerDirectory;
  readonly holder: Holder;
  readonly now: () => number;
  readonly monotonic: () => number;
  readonly log: ApprovalLog;
  /** Told of each change that this process made, such as for a notification. What it throws ends nothing. */
  readonly onChange?: (request: ApprovalRequest, event: ApprovalEvent) => void;
  /** Milliseconds between regular looks, besides those at what the system reports. */
  readonly pollMs?: number;
}

/** What the parts of approvals in a folder share; also what looks at the folder from outside needs. */
export function folderContext(options: FolderApprovalsOptions): ApprovalContext {
  const { folder, usedFolder, holder, signers, now, monotonic, log } = options;
  return {
    requests: createRequestFiles(folder, holder, options.pollMs),
    // No namespace begins with a dot.
    used: bothUsed(createUsedRequests(join(folder, '.used')), createUsedRequests(usedFolder)),
    isGone: (other) => Promise.resolve(holderIsGone(other, holder.host)),
    changed: toldSafely(options.onChange, log),
    signers,
    holder,
    now,
    monotonic,
    log,
  };
}

/** Approvals in a folder of YAML files. */
export function createFolderApprovals(options: FolderApprovalsOptions): Approvals {
  return createApprovals(folderContext(options));
}
