import type { Duplex } from 'node:stream';
import type { Dispatcher } from 'undici';
import { HttpRefused, httpError } from '../errors.ts';
import type { AskAnswer, AskRequest, Upgraded, UpstreamPool } from '../port.ts';
import { upstreamReport } from './failure.ts';
import { responseHead } from './fields.ts';
import { rawOf } from './relay.ts';

/** Requests of our own to a target: small answers, read whole. */

const TIMEOUT_MS = 30_000;
/** Of an answer that declines an upgrade. */
const DECLINED_BYTES = 65_536;

interface Collected {
  readonly status: number;
  readonly headers: readonly string[];
  readonly body: Buffer;
  readonly socket?: Duplex;
}

function collect(
  pool: UpstreamPool,
  options: Dispatcher.DispatchOptions,
  limit: number,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Collected> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    let controller: Dispatcher.DispatchController | undefined;
    let head: { status: number; headers: readonly string[] } | undefined;
    const chunks: Buffer[] = [];
    let bytes = 0;
    let failure: Error | undefined;
    const { label } = pool.target;
    const stop = (error: Error): void => {
      failure ??= error;
      controller?.abort(error);
      finish(() => reject(error));
    };
    const aborted = (): void => stop(signal.reason instanceof Error ? signal.reason : new Error('aborted'));
    const deadline = setTimeout(
      () => stop(new HttpRefused(httpError('SPE017', [label, 'no answer'])) as Error),
      timeoutMs,
    );
    const finish = (settle: () => void): void => {
      clearTimeout(deadline);
      signal.removeEventListener('abort', aborted);
      settle();
    };
    signal.addEventListener('abort', aborted, { once: true });
    pool.dispatcher.dispatch(
      { ...options, headersTimeout: timeoutMs, bodyTimeout: timeoutMs },
      {
        onRequestStart(made) {
          controller = made;
          if (failure !== undefined) made.abort(failure);
        },
        onRequestUpgrade(made, status, _headers, socket) {
          // Until whoever asked listens, an error is nobody's; its close tells of it.
          socket.on('error', () => {});
          if (failure !== undefined) socket.destroy();
          else
            finish(() => resolve({ ...responseHead(status, rawOf(made.rawHeaders)), body: Buffer.alloc(0), socket }));
        },
        onResponseStart(made, status) {
          if (status >= 200) head = responseHead(status, rawOf(made.rawHeaders));
        },
        onResponseData(_made, chunk) {
          bytes += chunk.length;
          if (bytes > limit) stop(new HttpRefused(httpError('SPE023', `it has more than ${limit} bytes`)));
          else chunks.push(chunk);
        },
        onResponseEnd() {
          if (head !== undefined) {
            const { status, headers } = head;
            finish(() => resolve({ status, headers, body: Buffer.concat(chunks) }));
          }
        },
        onResponseError(_made, error) {
          finish(() => reject(failure ?? new HttpRefused(upstreamReport(label, error), error)));
        },
      },
    );
  });
}

/** @throws HttpRefused; the signal's reason */
export async function ask(
  request: AskRequest,
  options: Dispatcher.DispatchOptions,
  signal: AbortSignal,
): Promise<AskAnswer> {
  const { status, headers, body } = await collect(
    request.pool,
    options,
    request.limit,
    request.timeoutMs ?? TIMEOUT_MS,
    signal,
  );
  return { status, headers, body };
}

/** @throws HttpRefused; the signal's reason */
export async function connectUpgrade(
  pool: UpstreamPool,
  options: Dispatcher.DispatchOptions,
  signal: AbortSignal,
): Promise<Upgraded> {
  const { status, headers, body, socket } = await collect(pool, options, DECLINED_BYTES, TIMEOUT_MS, signal);
  return socket === undefined ? { status, headers, body } : { status: 101, headers, socket };
}
