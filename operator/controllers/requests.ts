import type { ApprovalRequest } from '../../api/resources.ts';
import { type Controller, createController } from '../../kube/controller.ts';
import { isConflict } from '../../kube/errors.ts';
import type { ControllerContext } from '../context.ts';
import { APPROVAL_REQUESTS } from '../resources.ts';

const KEY = 'requests';
const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;

type Request = Pick<ApprovalRequest, 'spec' | 'status' | 'metadata'>;

/** When the request can change nothing any more: milliseconds since the epoch. */
export function endOf({ spec, status, metadata }: Request): number {
  const times = [metadata.creationTimestamp, spec.expiresAt, status?.decidedTime, status?.consumedTime];
  return Math.max(
    ...times.map((time) => (time === undefined ? 0 : Date.parse(time))).filter((time) => !Number.isNaN(time)),
  );
}

/**
 * Removes requests that ended long ago; the record keeps what they were. They are read in pages once an hour: nobody waits for it, and
 * so the operator needs no copy of all of them.
 */
export function createRequestsController(context: ControllerContext): Controller {
  const { client, settings, now, log, metrics } = context;
  const controller = createController({
    name: KEY,
    log,
    metrics,
    async reconcile(_key, signal) {
      const before = now() - settings.requestDays * DAY_MS;
      let next: string | undefined;
      let removed = 0;
      do {
        const page = await client.list(APPROVAL_REQUESTS, { limit: 250, continue: next, signal });
        for (const { metadata, ...request } of page.items) {
          if (endOf({ ...request, metadata }) >= before) continue;
          try {
            // As it was read: one that was voted on meanwhile stays.
            await client.delete(APPROVAL_REQUESTS, metadata, {
              uid: metadata.uid,
              resourceVersion: metadata.resourceVersion,
              signal,
            });
            removed++;
          } catch (error) {
            if (!isConflict(error)) throw error;
          }
        }
        next = page.continue;
      } while (next !== undefined);
      if (removed > 0) log.info({ removed }, 'requests that ended long ago were removed');
      return { requeueAfterMs: HOUR_MS };
    },
  });
  controller.add(KEY);
  return controller;
}
