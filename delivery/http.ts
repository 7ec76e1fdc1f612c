import http from 'node:http';
import https from 'node:https';
import { causeOf, DeliveryError } from './errors.ts';

/** What is sent, and within which bounds. */
export interface Outgoing {
  readonly method: 'POST' | 'PUT' | 'GET';
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  /** Milliseconds from the first byte to the last of the answer. */
  readonly timeoutMs: number;
  /** More of an answer than this is not read. */
  readonly maxAnswerBytes: number;
}

export interface Answer {
  readonly status: number;
  /** As much of it as was asked for. */
  readonly body: Buffer;
  /** Milliseconds that the receiver asks to be left alone (RFC 9110, section 10.2.3). */
  readonly retryAfterMs: number | undefined;
}

/** PEM of what proves who we are, and of whom we believe. */
export interface ClientTls {
  readonly ca?: string;
  readonly certificate?: string;
  readonly key?: string;
}

/** Connections to one place, kept open between requests. */
export interface HttpClient {
  /**
   * Resolves with any answer, whatever its status. Redirects are answers too: a signed or credentialled message goes where it was
   * meant to or nowhere. @throws DeliveryError SPD001, SPD002; the signal's reason
   */
  send(outgoing: Outgoing, signal: AbortSignal): Promise<Answer>;
  close(): void;
}

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/;

/** https, or http to this machine. @throws DeliveryError SPD004 */
export function deliverableUrl(text: string): URL {
  const url = URL.parse(text);
  if (url === null) throw new DeliveryError('SPD004', [text]);
  if (url.protocol === 'https:' || (url.protocol === 'http:' && LOOPBACK.test(url.hostname))) return url;
  throw new DeliveryError('SPD004', [placeOf(url)]);
}

/** For messages: without user, path and query, any of which may hold a secret. */
export const placeOf = (url: URL): string => url.origin;

export function createHttpClient(credentials: ClientTls = {}): HttpClient {
  const { ca, certificate, key } = credentials;
  const secure = new https.Agent({
    keepAlive: true,
    maxSockets: 4,
    minVersion: 'TLSv1.2',
    ...(ca === undefined ? {} : { ca }),
    ...(certificate === undefined ? {} : { cert: certificate }),
    ...(key === undefined ? {} : { key }),
  });
  const plain = new http.Agent({ keepAlive: true, maxSockets: 4 });

  function send(outgoing: Outgoing, signal: AbortSignal): Promise<Answer> {
    const { url, method, headers, body } = outgoing;
    return new Promise((resolve, reject) => {
      const deadline = AbortSignal.timeout(outgoing.timeoutMs);
      const all = AbortSignal.any([signal, deadline]);
      const failed = (error: unknown): void => {
        if (signal.aborted) reject(signal.reason);
        else if (deadline.aborted) reject(new DeliveryError('SPD002', [placeOf(url), outgoing.timeoutMs]));
        else reject(new DeliveryError('SPD001', [placeOf(url), causeOf(error)], error));
      };
      if (all.aborted) return failed(all.reason);
      const options = { method, headers: { ...headers, 'content-length': String(body.byteLength) }, signal: all };
      const request =
        url.protocol === 'https:'
          ? https.request(url, { ...options, agent: secure })
          : http.request(url, { ...options, agent: plain });
      request.on('error', failed);
      request.on('response', (response) => {
        const chunks: Buffer[] = [];
        let bytes = 0;
        const done = (): void =>
          resolve({
            status: response.statusCode ?? 0,
            body: Buffer.concat(chunks),
            retryAfterMs: retryAfter(response.headers['retry-after']),
          });
        response.on('error', failed);
        response.on('data', (chunk: Buffer) => {
          const room = outgoing.maxAnswerBytes - bytes;
          bytes += chunk.length;
          if (room > 0) chunks.push(chunk.subarray(0, room));
          if (bytes <= outgoing.maxAnswerBytes) return;
          // The status is what counts: the rest is not waited for, and its connection cannot be used again.
          done();
          response.destroy();
        });
        response.on('end', done);
      });
      request.end(body);
    });
  }

  return {
    send,
    close() {
      secure.destroy();
      plain.destroy();
    },
  };
}

/** Seconds or a date. What is in the past, or no time at all, asks for nothing. */
function retryAfter(header: string | undefined): number | undefined {
  if (header === undefined) return undefined;
  const milliseconds = /^\d{1,9}$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now();
  return milliseconds > 0 ? milliseconds : undefined;
}
