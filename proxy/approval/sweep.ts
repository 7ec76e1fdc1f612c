import { setTimeout as delay } from 'node:timers/promises';
import type { ApprovalRequest } from '../../api/resources.ts';
import { isOpen, stateOf } from '../../approval/state.ts';
import type { ApprovalContext } from './context.ts';
import { ApprovalError, causeOf } from './errors.ts';
import { isUsed } from './examine.ts';
import type { RequestRef } from './request-store.ts';

const DAY_MS = 86_400_000;
/** How long an ended request is kept to be looked at; the record keeps it for longer. */
const KEEP_MS = 30 * DAY_MS;

export interface SweepOptions {
  /** Milliseconds from one round to the next. */
  readonly everyMs: number;
  /** Whether ended requests, and notes of use, are removed after 30 days: false where that is somebody else's business. */
  readonly remove: boolean;
}

/** One gateway at a time has the folder, and nobody else removes anything there. */
export const SWEEP_FOLDER: SweepOptions = { everyMs: DAY_MS, remove: true };

/**
 * Puts in order what other processes left: open requests that nobody holds any more become Orphaned, or Expired; ended ones are
 * removed after 30 days. Once now, and regularly until the signal. Broken ones are told and left alone.
 */
export async function keepSwept(context: ApprovalContext, options: SweepOptions, signal: AbortSignal): Promise<void> {
  await sweep(context, options);
  void (async () => {
    while (!signal.aborted) {
      await delay(options.everyMs, undefined, { signal, ref: false }).catch(() => undefined);
      if (!signal.aborted) await sweep(context, options);
    }
  })();
}

async function sweep(context: ApprovalContext, { remove }: SweepOptions): Promise<void> {
  const { requests, log, used } = context;
  const oldest = context.now() - KEEP_MS;
  try {
    for (const namespace of await requests.namespaces()) {
      for (const name of await requests.names(namespace)) {
        try {
          await sweepOne(context, { namespace, name }, remove ? oldest : undefined);
        } catch (error) {
          if (!(error instanceof ApprovalError)) throw error;
          log.warn({ code: error.code, hint: error.hint }, error.message);
        }
      }
      if (remove) await requests.removeDrafts(namespace, context.now() - DAY_MS);
    }
    // A day longer than the requests, so that none comes back to life between the two.
    if (remove) await used.removeBefore(oldest - DAY_MS);
  } catch (error) {
    log.warn({ code: 'SPV004', error: causeOf(error) }, 'old requests for approval cannot be put in order');
  }
}

async function sweepOne(context: ApprovalContext, ref: RequestRef, oldest: number | undefined): Promise<void> {
  const { requests } = context;
  const stored = await requests.peek(ref);
  if (stored === undefined) return;
  const { request } = stored;
  const state = stateOf(request);
  if (!isOpen(state)) {
    if (oldest !== undefined && Date.parse(request.spec.expiresAt) < oldest) await requests.remove(ref);
    return;
  }
  if ((await isAbandoned(context, request)) !== true) return;
  // Killed between the two: it was let go, or was about to be, and never is again.
  const next = (await isUsed(context, request.metadata.uid ?? '')) ? 'Consumed' : orphaned(request, context.now());
  if (next === undefined) return;
  await requests.update(ref, (found) =>
    found.metadata.uid === request.metadata.uid &&
    isOpen(stateOf(found)) &&
    found.status?.holder?.process === request.status?.holder?.process &&
    (next === 'Consumed' || orphaned(found, context.now()) === next)
      ? { ...found, status: { ...found.status, state: next } }
      : undefined,
  );
}

/** Longest from making a request to noting who holds it, which are two steps in a cluster. */
const UNHELD_MS = 60_000;

async function isAbandoned(
  context: ApprovalContext,
  { metadata, status }: ApprovalRequest,
): Promise<boolean | undefined> {
  if (status?.holder !== undefined) return context.isGone(status.holder);
  return context.now() > Date.parse(metadata.creationTimestamp ?? '') + UNHELD_MS ? true : undefined;
}

/** The state of an open request that nobody holds, or undefined when it is right as it is. */
function orphaned(request: ApprovalRequest, now: number): 'Expired' | 'Orphaned' | undefined {
  if (Date.parse(request.spec.expiresAt) <= now) return 'Expired';
  // An approved one stays so: the command passes when it is asked for again.
  return stateOf(request) === 'Pending' ? 'Orphaned' : undefined;
}
