import { Readable } from 'node:stream';
import type { BodyBudget } from './body-budget.ts';
import { HttpRefused, httpError } from './errors.ts';
import type { Incoming } from './wire/incoming.ts';

/** What is read of a body that nobody wants, so that the connection can be used again; in bytes. */
export const DISCARD_BYTES = 1_048_576;

/** The body of a request: but for what came with the head, it is read when somebody wants it. */
export interface RequestBody {
  /** Bytes read of the client so far. */
  readonly bytes: number;
  /** When a piece came last, or somebody began to wait for one; undefined: nobody waits. Milliseconds since 1970. */
  readonly waitingSince: number | undefined;
  /** @throws HttpRefused SPE012, SPE020, SPE026; the signal's reason */
  buffer(limit: number): Promise<Buffer>;
  /** Its destruction leaves the client's connection alone. @param passing sees each piece; what it throws breaks the stream off */
  stream(passing?: (chunk: Buffer) => void): Readable;
  /** No piece of it comes any more, for this reason. */
  fail(error: Error): void;
  /** Reads and forgets what is left, so that the connection can carry another request. Only the first call counts. */
  discard(limit: number): void;
  /** What was read whole is nobody's any more: its memory is free for others. */
  release(): void;
}

/** Of requests that have none, which is most of them: nothing is made for it. */
export const NO_BODY: RequestBody = {
  bytes: 0,
  waitingSince: undefined,
  buffer: async () => Buffer.alloc(0),
  stream: () => Readable.from([]),
  fail: () => {},
  discard: () => {},
  release: () => {},
};

/** In seconds: bodies that are looked at are gone in less, and of those that wait for people some always end. */
const RETRY_AFTER = 5;

/**
 * @param begin called before the first byte is asked for, such as to tell the client that it may send
 * @param budget what is read whole counts there until `release`
 */
export function createRequestBody(incoming: Incoming, begin: () => void, budget: BodyBudget): RequestBody {
  let bytes = 0;
  /** Bytes of the budget. */
  let held = 0;
  let released = false;
  let waitingSince: number | undefined;
  let touched = false;
  let discarding = false;
  let buffered: Promise<Buffer> | undefined;
  let failed: ((error: Error) => void) | undefined;
  let failure: Error | undefined;

  function start(): void {
    if (touched) return;
    touched = true;
    begin();
  }

  function hold(more: number): boolean {
    if (released || !budget.take(more)) return false;
    held += more;
    return true;
  }

  function release(): void {
    released = true;
    budget.give(held);
    held = 0;
  }

  const full = (): HttpRefused =>
    new HttpRefused(httpError('SPE026', [], { headers: ['retry-after', String(RETRY_AFTER)] }));

  const gone = (): Error => failure ?? new HttpRefused(httpError('SPE020'));

  function read(limit: number): Promise<Buffer> {
    const { source } = incoming;
    return new Promise((resolve, reject) => {
      const chunks: Buffer[] = [];
      const settle = (): void => {
        waitingSince = undefined;
        failed = undefined;
        source.off('data', data).off('end', end).off('close', close);
      };
      const fail = (error: Error): void => {
        settle();
        source.pause();
        reject(error);
      };
      const data = (chunk: Buffer): void => {
        bytes += chunk.length;
        waitingSince = Date.now();
        if (bytes > limit) fail(new HttpRefused(httpError('SPE012', limit)));
        else if (hold(chunk.length)) chunks.push(chunk);
        else fail(full());
      };
      const end = (): void => {
        settle();
        resolve(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks));
      };
      const close = (): void => fail(gone());
      if (failure !== undefined || source.destroyed) {
        reject(gone());
        return;
      }
      failed = fail;
      waitingSince = Date.now();
      source.on('data', data).on('end', end).on('close', close);
      source.resume();
    });
  }

  function open(passing?: (chunk: Buffer) => void): Readable {
    const { source } = incoming;
    const stream = new Readable({
      read() {
        start();
        waitingSince = Date.now();
        source.resume();
      },
      destroy(error, done) {
        settle();
        if (!discarding) source.pause();
        done(error);
      },
    });
    // Whoever reads it hears of an error too; where nobody does any more, it is nobody's.
    stream.on('error', () => {});
    const settle = (): void => {
      waitingSince = undefined;
      failed = undefined;
      source.off('data', data).off('end', end).off('close', close);
    };
    const data = (chunk: Buffer): void => {
      bytes += chunk.length;
      try {
        passing?.(chunk);
      } catch (error) {
        stream.destroy(error instanceof Error ? error : new Error(String(error)));
        return;
      }
      if (stream.push(chunk)) waitingSince = Date.now();
      else if (!discarding) {
        waitingSince = undefined;
        source.pause();
      }
    };
    const end = (): void => {
      settle();
      stream.push(null);
    };
    const close = (): void => {
      stream.destroy(gone());
    };
    failed = (error) => stream.destroy(error);
    if (failure !== undefined || source.destroyed) stream.destroy(gone());
    else {
      source.on('end', end).on('close', close).on('data', data);
      source.pause();
    }
    return stream;
  }

  /** The whole body, where it came with the head and nobody has read of it; undefined: it has to be read. */
  function take(): Buffer | undefined {
    const { whole } = incoming;
    if (touched || failure !== undefined || whole === undefined) return undefined;
    touched = true;
    bytes = whole.length;
    return whole;
  }

  return {
    get bytes() {
      return bytes;
    },
    get waitingSince() {
      return waitingSince;
    },
    async buffer(limit) {
      if (buffered === undefined) {
        const whole = take();
        if (whole !== undefined) buffered = hold(whole.length) ? Promise.resolve(whole) : Promise.reject(full());
        else {
          start();
          buffered = incoming.raw.more || !incoming.sourceEnded ? read(limit) : Promise.resolve(Buffer.alloc(0));
        }
      }
      const body = await buffered;
      if (body.length > limit) throw new HttpRefused(httpError('SPE012', limit));
      return body;
    },
    stream: open,
    release,
    fail(error) {
      failure ??= error;
      failed?.(error);
    },
    discard(limit) {
      if (discarding) return;
      discarding = true;
      waitingSince = Date.now();
      discardBody(incoming, limit, () => {
        waitingSince = undefined;
      });
    },
  };
}

/** Reads and forgets what is left of a body; whoever sends more than that is not listened to. @param limit in bytes */
export function discardBody(incoming: Incoming, limit: number, done: () => void = () => {}): void {
  if (incoming.sourceEnded || incoming.whole !== undefined || incoming.source.destroyed) {
    done();
    return;
  }
  const { source } = incoming;
  let left = limit;
  source.on('data', (chunk: Buffer) => {
    left -= chunk.length;
    if (left < 0) incoming.destroy();
  });
  source.on('end', done);
  source.resume();
}
