import type { Duplex } from 'node:stream';
import { HttpRefused, httpError } from '../errors.ts';
import type {
  AnswerHandler,
  AskAnswer,
  AskRequest,
  HeaderFields,
  SendControl,
  Upgraded,
  UpstreamPool,
  UpstreamSend,
} from '../port.ts';
import { upstreamReport } from './failure.ts';

/** Requests of our own to a target: small answers, read whole. */

const TIMEOUT_MS = 30_000;
/** Of an answer that declines an upgrade. */
const DECLINED_BYTES = 65_536;

interface Collected {
  readonly status: number;
  readonly headers: HeaderFields;
  readonly body: Buffer;
  readonly socket?: Duplex;
}

function collect(
  pool: UpstreamPool,
  send: UpstreamSend,
  limit: number,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Collected> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    let control: SendControl | undefined;
    let head: { status: number; headers: HeaderFields } | undefined;
    const chunks: Buffer[] = [];
    let bytes = 0;
    const { label } = pool.target;
    const stop = (error: Error): void => {
      control?.abort();
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
    const handler: AnswerHandler = {
      onUpgrade(headers, socket) {
        // Until whoever asked listens, an error is nobody's; its close tells of it.
        socket.on('error', () => {});
        finish(() => resolve({ status: 101, headers, body: Buffer.alloc(0), socket }));
      },
      onHead(status, headers) {
        if (status >= 200) head = { status, headers };
      },
      onData(chunk) {
        bytes += chunk.length;
        if (bytes > limit) stop(new HttpRefused(httpError('SPE023', `it has more than ${limit} bytes`)));
        else chunks.push(Buffer.from(chunk));
      },
      onPartial() {},
      onEnd() {
        if (head !== undefined) {
          const { status, headers } = head;
          finish(() => resolve({ status, headers, body: Buffer.concat(chunks) }));
        }
      },
      onError(error) {
        finish(() => reject(new HttpRefused(upstreamReport(label, error), error)));
      },
    };
    try {
      control = pool.send({ ...send, headersTimeoutMs: timeoutMs, bodyTimeoutMs: timeoutMs }, handler);
    } catch (error) {
      finish(() => reject(error));
    }
  });
}

/** @throws HttpRefused; the signal's reason */
export async function ask(request: AskRequest, send: UpstreamSend, signal: AbortSignal): Promise<AskAnswer> {
  const { status, headers, body } = await collect(
    request.pool,
    send,
    request.limit,
    request.timeoutMs ?? TIMEOUT_MS,
    signal,
  );
  return { status, headers, body };
}

/** @throws HttpRefused; the signal's reason */
export async function connectUpgrade(pool: UpstreamPool, send: UpstreamSend, signal: AbortSignal): Promise<Upgraded> {
  const { status, headers, body, socket } = await collect(pool, send, DECLINED_BYTES, TIMEOUT_MS, signal);
  return socket === undefined ? { status, headers, body } : { status: 101, headers, socket };
}
