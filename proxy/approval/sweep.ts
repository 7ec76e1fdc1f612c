import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { ApprovalRequest } from '../../api/resources.ts';
import { isOpen, stateOf } from '../../approval/state.ts';
import type { ApprovalContext } from './context.ts';
import { ApprovalError, causeOf, hasCode } from './errors.ts';
import { holderIsGone } from './file-lock.ts';
import type { RequestRef } from './files.ts';
import { createContext, type FolderApprovalsOptions } from './store.ts';

const DAY_MS = 86_400_000;
/** How long an ended request is kept to be looked at; the record keeps it for longer. */
const KEEP_MS = 30 * DAY_MS;

/**
 * Puts in order what earlier processes left: open requests that nobody holds any more become Orphaned, or Expired; ended ones are
 * removed after 30 days. Once now, and the removal every day until the signal. Broken files are told and left alone.
 */
export async function keepSwept(options: FolderApprovalsOptions, signal: AbortSignal): Promise<void> {
  await sweep(options);
  void (async () => {
    while (!signal.aborted) {
      await delay(DAY_MS, undefined, { signal, ref: false }).catch(() => undefined);
      if (!signal.aborted) await sweep(options);
    }
  })();
}

async function sweep(options: FolderApprovalsOptions): Promise<void> {
  const context = createContext(options);
  const { files, log, used } = context;
  const oldest = options.now() - KEEP_MS;
  try {
    for (const namespace of await files.namespaces()) {
      for (const name of await files.names(namespace)) {
        try {
          await sweepOne(context, { namespace, name }, options, oldest);
        } catch (error) {
          if (!(error instanceof ApprovalError)) throw error;
          log.warn({ code: error.code, hint: error.hint }, error.message);
        }
      }
      await removeDrafts(join(options.folder, namespace), options.now() - DAY_MS);
    }
    // A day longer than the requests, so that none comes back to life between the two.
    for (const each of [used.shared, used.own]) await each.removeBefore(oldest - DAY_MS);
  } catch (error) {
    log.warn({ code: 'SPV004', error: causeOf(error) }, 'old requests for approval cannot be put in order');
  }
}

async function sweepOne(
  { files, used }: ApprovalContext,
  ref: RequestRef,
  options: FolderApprovalsOptions,
  oldest: number,
): Promise<void> {
  const stored = await files.read(ref);
  if (stored === undefined) return;
  const { uid = '' } = stored.request.metadata;
  if (isOpen(stateOf(stored.request)) && ((await used.shared.has(uid)) || (await used.own.has(uid)))) {
    // Killed between the two: it was let go, or was about to be, and never is again.
    if (holderIsGone(stored.request.status?.holder, options.holder.host) === true)
      await files.update(ref, (request) =>
        request.metadata.uid === uid && isOpen(stateOf(request))
          ? { ...request, status: { ...request.status, state: 'Consumed' } }
          : undefined,
      );
    return;
  }
  const next = orphaned(stored.request, options);
  if (next !== undefined) {
    await files.update(ref, (request) => orphaned(request, options));
    return;
  }
  const over = !isOpen(stateOf(stored.request)) && Date.parse(stored.request.spec.expiresAt) < oldest;
  if (over) await rm(files.path(ref), { force: true });
}

/** The request as it has to be written, or undefined when it is right as it is. */
function orphaned(request: ApprovalRequest, { holder, now }: FolderApprovalsOptions): ApprovalRequest | undefined {
  const state = stateOf(request);
  if (!isOpen(state) || holderIsGone(request.status?.holder, holder.host) !== true) return undefined;
  if (Date.parse(request.spec.expiresAt) <= now())
    return { ...request, status: { ...request.status, state: 'Expired' } };
  // An approved one stays so: the command passes when it is asked for again.
  return state === 'Pending' ? { ...request, status: { ...request.status, state: 'Orphaned' } } : undefined;
}

/** What a process that was killed between two steps left beside the requests. */
async function removeDrafts(folder: string, before: number): Promise<void> {
  for (const file of await readdir(folder)) {
    if (file.endsWith('.yaml')) continue;
    const path = join(folder, file);
    const found = await stat(path).catch((error: unknown) => {
      if (hasCode(error, 'ENOENT')) return undefined;
      throw error;
    });
    if (found?.isFile() === true && found.mtimeMs < before) await rm(path, { force: true });
  }
}
