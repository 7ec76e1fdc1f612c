import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { NotificationWebhook } from '../../api/configuration-outgoing.ts';
import type { ApprovalRequest } from '../../api/generated/approvalrequests.ts';
import { type BackoffSettings, DEFAULT_BACKOFF, pause } from '../../delivery/backoff.ts';
import { causeOf } from '../../delivery/errors.ts';
import { createHttpClient, deliverableUrl } from '../../delivery/http.ts';
import { deliverQueue, enqueue, type QueueObserver } from '../../delivery/queue.ts';
import { sendWebhook, type WebhookMessage } from '../../delivery/webhook.ts';
import { announcementOf, notification } from './message.ts';
import type { NotificationMetrics } from './metrics.ts';

export interface NotificationLog {
  warn(facts: Readonly<Record<string, unknown>>, message: string): void;
}

export interface NotificationOptions {
  readonly webhooks: readonly NotificationWebhook[];
  readonly state: string;
  readonly now: () => number;
  readonly log: NotificationLog;
}

const FOLDER_RETRY_MS = 5000;
/** Somebody waits for an approval: a receiver that is back is found soon. */
export const NOTIFICATION_BACKOFF: BackoffSettings = { ...DEFAULT_BACKOFF, maxMs: 15_000 };

/** Each receiver has its own folder: one that is down keeps no other waiting. */
function folderOf(state: string, url: string): string {
  return join(state, 'notifications', createHash('sha256').update(url).digest('hex').slice(0, 16));
}

/**
 * The hook of the approval store, `onChange`. Any worker may call it: it writes files, and `deliverNotifications` sends them. Never
 * throws: that somebody cannot be told holds up no command.
 */
export function createNotifier(options: NotificationOptions): (request: ApprovalRequest, event: string) => void {
  const receivers = options.webhooks.map(({ url, includeCommand }) => ({
    folder: folderOf(options.state, url),
    includeCommand,
  }));
  return (request, event) => {
    const announcement = announcementOf(event);
    if (announcement === undefined) return;
    const at = options.now();
    for (const { folder, includeCommand } of receivers) {
      try {
        enqueue(folder, notification(request, announcement, event, at, includeCommand), at);
      } catch (error) {
        const { namespace, name } = request.metadata;
        options.log.warn(
          { request: `${namespace}/${name}`, error: causeOf(error) },
          'a notification could not be kept',
        );
      }
    }
  };
}

export interface DeliveringOptions extends NotificationOptions {
  readonly metrics: NotificationMetrics;
  readonly backoff?: BackoffSettings;
}

/** Sends what the notifiers of all workers wrote, until `signal` is aborted. For one process of the gateway. */
export async function deliverNotifications(options: DeliveringOptions, signal: AbortSignal): Promise<void> {
  await Promise.all(options.webhooks.map((webhook) => deliverTo(webhook, options, signal)));
}

async function deliverTo(webhook: NotificationWebhook, options: DeliveringOptions, signal: AbortSignal): Promise<void> {
  const { metrics, log, now } = options;
  const target = { url: deliverableUrl(webhook.url), secretFile: webhook.secretFile };
  const receiver = target.url.host;
  const client = createHttpClient();
  const observer: QueueObserver = {
    delivered: () => metrics.notifications.inc({ receiver, result: 'delivered' }),
    failed(error, waitMs) {
      metrics.notifications.inc({ receiver, result: 'failed' });
      const { code, message, hint } = error;
      log.warn({ receiver, code, hint, waitMs: Math.round(waitMs) }, message);
    },
    dropped(why) {
      metrics.notifications.inc({ receiver, result: 'dropped' });
      log.warn({ receiver, why }, 'a notification was thrown away');
    },
    waiting: (messages) => metrics.notificationsWaiting.set({ receiver }, messages),
  };
  const queue = {
    folder: folderOf(options.state, webhook.url),
    send: (message: WebhookMessage, aborted: AbortSignal) => sendWebhook(client, target, message, now(), aborted),
    backoff: options.backoff ?? NOTIFICATION_BACKOFF,
    now,
    observer,
  };
  try {
    while (!signal.aborted) {
      try {
        await deliverQueue(queue, signal);
      } catch (error) {
        // What is in the folder waits until it can be used again.
        log.warn({ receiver, error: causeOf(error) }, 'the folder of notifications cannot be used');
        await pause(FOLDER_RETRY_MS, signal);
      }
    }
  } finally {
    client.close();
  }
}
