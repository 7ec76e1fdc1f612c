import { createHttpClient } from '../../delivery/http.ts';
import { sendWebhook, type WebhookTarget } from '../../delivery/webhook.ts';
import type { Destination } from '../follow/destination.ts';

/** Lines of the record as they are (`application/jsonl`), signed like every webhook; `webhook-id` is the same for the same lines. */
export function webhookSink(name: string, target: WebhookTarget, ca: string | undefined): Destination {
  const client = createHttpClient(ca === undefined ? {} : { ca });
  return {
    name,
    maxBatchBytes: 512 * 1024,
    lingerMs: 1000,
    deliver: ({ id, bytes }, signal) =>
      sendWebhook(client, target, { id, body: bytes, contentType: 'application/jsonl' }, Date.now(), signal),
    close: () => client.close(),
  };
}
