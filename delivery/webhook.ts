import { createHmac } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { causeOf, DeliveryError } from './errors.ts';
import { type HttpClient, placeOf } from './http.ts';

/**
 * Signed messages after the Standard Webhooks specification (https://www.standardwebhooks.com): `webhook-id`, `webhook-timestamp` and
 * `webhook-signature`, an HMAC-SHA256 over `ID.TIMESTAMP.BODY`.
 */
export interface WebhookMessage {
  /** The same over all attempts: what a receiver goes by to take a message once. No full stop in it. */
  readonly id: string;
  readonly body: Uint8Array;
  readonly contentType: string;
}

export interface WebhookTarget {
  readonly url: URL;
  /** Read again for each attempt, so that a secret is changed without a restart. */
  readonly secretFile: string;
}

const TIMEOUT_MS = 15_000;
const MAX_ANSWER_BYTES = 4096;
const MAX_SECRETS = 8;

/**
 * The keys of a secret file: one `whsec_BASE64` a line. While one is being replaced both stand there, and every message carries a
 * signature of each, so that receivers may change over when they like. @throws DeliveryError SPD005
 */
export function parseSecrets(text: string, file: string): Buffer[] {
  const lines = text.split('\n').map((line) => line.trim());
  const secrets = lines.filter((line) => line !== '' && !line.startsWith('#'));
  if (secrets.length === 0) throw new DeliveryError('SPD005', [file, 'it is empty']);
  if (secrets.length > MAX_SECRETS) throw new DeliveryError('SPD005', [file, `it has more than ${MAX_SECRETS}`]);
  return secrets.map((secret, index) => {
    const encoded = secret.replace(/^whsec_/, '');
    const key = Buffer.from(encoded, 'base64');
    const wrong = (why: string): DeliveryError => new DeliveryError('SPD005', [file, `number ${index + 1} ${why}`]);
    if (encoded === secret) throw wrong('does not begin with whsec_');
    if (key.toString('base64').replace(/=+$/, '') !== encoded.replace(/=+$/, '')) throw wrong('is not base64');
    if (key.length < 24 || key.length > 64) throw wrong(`has ${key.length} bytes`);
    return key;
  });
}

/** @throws DeliveryError SPD005, SPD006 */
export async function readSecrets(file: string): Promise<Buffer[]> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    throw new DeliveryError('SPD006', [file, causeOf(error)], error);
  }
  return parseSecrets(text, file);
}

/** The three headers. @param seconds since 1970 */
export function signatureHeaders(
  message: Pick<WebhookMessage, 'id' | 'body'>,
  secrets: readonly Buffer[],
  seconds: number,
): Record<'webhook-id' | 'webhook-timestamp' | 'webhook-signature', string> {
  const signatures = secrets.map((secret) => {
    const mac = createHmac('sha256', secret).update(`${message.id}.${seconds}.`).update(message.body);
    return `v1,${mac.digest('base64')}`;
  });
  return {
    'webhook-id': message.id,
    'webhook-timestamp': String(seconds),
    'webhook-signature': signatures.join(' '),
  };
}

/** The receiver answered, and not with a success. */
export class WebhookRefused extends DeliveryError {
  readonly status: number;
  readonly retryAfterMs: number | undefined;
  constructor(place: string, status: number, retryAfterMs: number | undefined) {
    super('SPD003', [place, status]);
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}

/** One attempt. @param now milliseconds since 1970 @throws DeliveryError; WebhookRefused; the signal's reason */
export async function sendWebhook(
  client: HttpClient,
  target: WebhookTarget,
  message: WebhookMessage,
  now: number,
  signal: AbortSignal,
): Promise<void> {
  const secrets = await readSecrets(target.secretFile);
  // The time is that of the attempt: receivers refuse what is older than some minutes.
  const signed = signatureHeaders(message, secrets, Math.floor(now / 1000));
  const answer = await client.send(
    {
      method: 'POST',
      url: target.url,
      headers: { ...signed, 'content-type': message.contentType, 'user-agent': 'sallyport' },
      body: message.body,
      timeoutMs: TIMEOUT_MS,
      maxAnswerBytes: MAX_ANSWER_BYTES,
    },
    signal,
  );
  if (answer.status < 200 || answer.status > 299) {
    throw new WebhookRefused(placeOf(target.url), answer.status, answer.retryAfterMs);
  }
}
