import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Configuration } from '../../api/configuration.ts';
import { ownerOf } from '../../record/owner.ts';
import type { Holder } from './request.ts';

/** Where a standalone gateway keeps requests, and what it used up. */
export function approvalFolders(
  configuration: Configuration,
  state: string,
): { readonly folder: string; readonly usedFolder: string } {
  return {
    folder: configuration.approvals.store ?? join(state, 'approvals'),
    // Not below the store: who may write to that must not be able to bring back what was used.
    usedFolder: join(state, 'approvals-used'),
  };
}

/** How this process is named in what it holds and locks. */
export function createHolder(pid: number): Holder {
  return { host: hostname(), ...ownerOf(pid, randomUUID()) };
}
