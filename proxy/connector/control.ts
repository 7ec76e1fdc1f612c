import type { TLSSocket } from 'node:tls';
import { Agent, request } from './builtin.ts';
import { reasonOf } from './errors.ts';

/** The control connection to one replica: made when it is needed, kept while it is. */
export interface Control {
  /** @returns whether the replica is about to stop. @throws Error when it did not take it */
  put(
    path: '/v1/identity' | '/v1/probe',
    token: string,
    body: unknown,
    signal: AbortSignal,
  ): Promise<{ draining: boolean }>;
  close(): void;
}

const ANSWER_MS = 15_000;

export function createControl(dial: (signal: AbortSignal) => Promise<TLSSocket>, version: string): Control {
  const agent = new Agent({ keepAlive: true, maxSockets: 1, maxFreeSockets: 1 });
  const closing = new AbortController();
  agent.createConnection = (_options, created) => {
    dial(closing.signal).then(
      (socket) => created?.(null, socket),
      // The stream is not looked at where there is an error.
      (error: unknown) => created?.(error instanceof Error ? error : new Error(String(error)), undefined as never),
    );
    return undefined;
  };
  return {
    put: (path, token, body, signal) =>
      new Promise((resolve, reject) => {
        const text = body === undefined ? '' : JSON.stringify(body);
        const asked = request(
          {
            agent,
            method: 'PUT',
            path,
            headers: {
              host: 'sallyport-proxy',
              authorization: `Bearer ${token}`,
              'sallyport-connector': version,
              ...(text === '' ? {} : { 'content-type': 'application/json' }),
              'content-length': Buffer.byteLength(text),
            },
            signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]),
          },
          (response) => {
            const status = response.statusCode ?? 0;
            response.resume();
            response.once('error', reject);
            if (status >= 200 && status < 300) resolve({ draining: response.headers['sallyport-draining'] === 'true' });
            else reject(new Error(`HTTP ${status}`));
          },
        );
        asked.once('error', (error) => reject(new Error(reasonOf(error), { cause: error })));
        asked.end(text);
      }),
    close() {
      closing.abort();
      agent.destroy();
    },
  };
}
