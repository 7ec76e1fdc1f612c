import { promises as fs, mkdirSync, renameSync, rmSync, watch, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type BackoffSettings, pause, waitAfter } from './backoff.ts';
import { causeOf, DeliveryError } from './errors.ts';
import { type WebhookMessage, WebhookRefused } from './webhook.ts';

/**
 * Messages that wait for one receiver, a file each, so that neither a restart nor a kill loses one. Any process of the gateway may add
 * to the folder; one of them delivers.
 */
export interface QueueLimits {
  /** More messages than this, and the oldest are thrown away: news are worth more than history. */
  readonly maxMessages: number;
  readonly maxMessageBytes: number;
  /** Milliseconds after which nobody wants to know any more. */
  readonly maxAgeMs: number;
}

export const QUEUE_LIMITS: QueueLimits = {
  maxMessages: 10_000,
  maxMessageBytes: 256 * 1024,
  maxAgeMs: 3 * 86_400_000,
};

/** What metrics and logs are told. */
export interface QueueObserver {
  delivered(): void;
  /** An attempt failed; the message stays unless `dropped` says otherwise. */
  failed(error: DeliveryError, waitMs: number): void;
  dropped(why: 'full' | 'old' | 'refused' | 'damaged'): void;
  waiting(messages: number): void;
}

export interface QueueOptions {
  readonly folder: string;
  readonly send: (message: WebhookMessage, signal: AbortSignal) => Promise<void>;
  readonly observer: QueueObserver;
  readonly backoff: BackoffSettings;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  readonly limits?: QueueLimits;
}

/** Statuses that are about this one message: the next may well be taken. */
const ABOUT_THE_MESSAGE = new Set([400, 405, 406, 409, 411, 412, 413, 414, 415, 422, 431]);
/** A message that is refused this often is not wanted. */
const REFUSALS = 5;
const FILE = /^(\d{15})-([A-Za-z0-9_-]{1,80})\.json$/;
/** Besides what the system reports, which it does not on every file system. */
const LOOK_MS = 5000;

/**
 * Adds a message; it is in the kernel's hands when this returns, so that killing the process loses nothing.
 * @throws DeliveryError SPD008
 */
export function enqueue(folder: string, message: WebhookMessage, now: number): void {
  const name = `${String(now).padStart(15, '0')}-${message.id}.json`;
  if (!FILE.test(name) || message.body.byteLength > QUEUE_LIMITS.maxMessageBytes) {
    throw new DeliveryError('SPD008', [folder, 'the message is too large, or its id is none']);
  }
  const text = JSON.stringify({
    id: message.id,
    contentType: message.contentType,
    body: Buffer.from(message.body).toString('utf8'),
  });
  const draft = join(folder, `.${name}`);
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    writeFileSync(draft, text, { mode: 0o600 });
    renameSync(draft, join(folder, name));
  } catch (error) {
    rmSync(draft, { force: true });
    throw new DeliveryError('SPD008', [folder, causeOf(error)], error);
  }
}

interface Refusals {
  count: number;
  notBefore: number;
}

/** Delivers what is in the folder, oldest first, until `signal` is aborted. @throws the system's error when the folder cannot be used */
export async function deliverQueue(options: QueueOptions, signal: AbortSignal): Promise<void> {
  const { folder, observer, now, backoff } = options;
  const limits = options.limits ?? QUEUE_LIMITS;
  const refusals = new Map<string, Refusals>();
  let failures = 0;
  let woken = new AbortController();
  await fs.mkdir(folder, { recursive: true, mode: 0o700 });
  const watcher = watch(folder, { persistent: false }, () => woken.abort());
  // What the system no longer reports is found by the regular look.
  watcher.on('error', () => watcher.close());

  async function drop(file: string, why: Parameters<QueueObserver['dropped']>[0]): Promise<void> {
    await fs.rm(join(folder, file), { force: true });
    refusals.delete(file);
    observer.dropped(why);
  }

  /** Files in order, bounded. */
  async function list(): Promise<string[]> {
    const files = (await fs.readdir(folder)).filter((name) => FILE.test(name)).sort();
    while (files.length > limits.maxMessages) await drop(files.shift() ?? '', 'full');
    while (files[0] !== undefined && now() - Number(FILE.exec(files[0])?.[1]) > limits.maxAgeMs) {
      await drop(files.shift() ?? '', 'old');
    }
    observer.waiting(files.length);
    return files;
  }

  /** Returns how long to leave the receiver alone, in milliseconds. */
  async function attempt(file: string): Promise<number> {
    const message = await readMessage(join(folder, file));
    if (message === undefined) {
      await drop(file, 'damaged');
      return 0;
    }
    try {
      await options.send(message, signal);
    } catch (error) {
      if (signal.aborted) return 0;
      if (!(error instanceof DeliveryError)) throw error;
      if (!(error instanceof WebhookRefused && ABOUT_THE_MESSAGE.has(error.status))) {
        const asked = error instanceof WebhookRefused ? error.retryAfterMs : undefined;
        const wait = waitAfter(++failures, backoff, asked);
        observer.failed(error, wait);
        return wait;
      }
      failures = 0;
      const count = (refusals.get(file)?.count ?? 0) + 1;
      const wait = waitAfter(count, backoff, error.retryAfterMs);
      if (count >= REFUSALS) {
        observer.failed(new DeliveryError('SPD009', [message.id, count], error), 0);
        await drop(file, 'refused');
      } else {
        refusals.set(file, { count, notBefore: now() + wait });
        observer.failed(error, wait);
      }
      return 0;
    }
    failures = 0;
    refusals.delete(file);
    await fs.rm(join(folder, file), { force: true });
    observer.delivered();
    return 0;
  }

  try {
    while (!signal.aborted) {
      woken = new AbortController();
      const files = await list();
      const due = files.find((file) => (refusals.get(file)?.notBefore ?? 0) <= now());
      if (due === undefined) {
        const next = Math.min(LOOK_MS, ...[...refusals.values()].map(({ notBefore }) => notBefore - now()));
        await pause(Math.max(next, 1), signal, woken.signal);
        continue;
      }
      const wait = await attempt(due);
      // A new message is no reason to disturb a receiver that is down.
      if (wait > 0) await pause(wait, signal);
    }
  } finally {
    watcher.close();
  }
}

/** Undefined when somebody else removed it, or when it is none. */
async function readMessage(path: string): Promise<WebhookMessage | undefined> {
  let value: unknown;
  try {
    value = JSON.parse(await fs.readFile(path, 'utf8'));
  } catch (error) {
    if (error instanceof SyntaxError || (error instanceof Error && 'code' in error && error.code === 'ENOENT')) {
      return undefined;
    }
    throw error;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  if (!('id' in value && 'contentType' in value && 'body' in value)) return undefined;
  const { id, contentType, body } = value;
  if (typeof id !== 'string' || typeof contentType !== 'string' || typeof body !== 'string') return undefined;
  return { id, contentType, body: Buffer.from(body, 'utf8') };
}
