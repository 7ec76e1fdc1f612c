import { tokenOf } from '../http/core/connection.ts';
import { field } from '../http/core/headers.ts';
import type { Exchange, HttpApplication } from '../http/core/port.ts';
import { kubernetesError, reportOf } from './errors.ts';
import { ofHttp } from './http-report.ts';
import type { KubernetesPorts } from './lane-ports.ts';
import { understand } from './meaning/understand.ts';
import { handleRequest } from './plain-request.ts';
import { answerRefusal, refuseUnread, statusObject } from './refuse.ts';
import { parseRequestInfo } from './request/request-info.ts';
import { refusalOf } from './status.ts';
import { handleStream, streamKind } from './stream-request.ts';
import { websocketToken } from './upstream/headers.ts';

/** Longest body of a request, in bytes: the API server's own limit (k8s.io/apiserver, MaxRequestBodyBytes). */
const MAX_BODY_BYTES = 3 * 1024 * 1024;

/** What an answer to a plain request would be of no use to. Of a proxied one nobody could say what passes. */
const STREAMS = /^(websocket|spdy\b)/i;

/** What the Kubernetes lane does with the requests that come to it. */
export function createKubernetesApplication(ports: KubernetesPorts): HttpApplication {
  async function handle(exchange: Exchange): Promise<void> {
    const { head } = exchange;
    const info = parseRequestInfo(head);
    if ('refusal' in info) return refuseUnread(exchange, ports, kubernetesError('SPL008', info.refusal), info.refusal);
    const kind = streamKind(info);
    if (kind === undefined && STREAMS.test(head.upgrade ?? '')) {
      const why = `a connection of ${head.upgrade} is carried for exec, attach and port-forward of pods alone`;
      return refuseUnread(exchange, ports, kubernetesError('SPL008', why), why, statusObject(info));
    }
    // The body of a stream begins once it is one.
    const body = kind === undefined ? await bodyOf(exchange) : undefined;
    const understanding = understand(
      { ...head, contentType: field(head.headers, 'content-type') },
      info,
      body ?? Buffer.alloc(0),
    );
    if ('refusal' in understanding) {
      const report = kubernetesError('SPL008', understanding.refusal);
      return refuseUnread(exchange, ports, report, understanding.refusal, statusObject(info));
    }
    if (kind !== undefined) return handleStream(exchange, understanding, kind, ports);
    return handleRequest({ exchange, understanding, body }, ports);
  }

  return {
    protocol: 'Kubernetes',
    async handle(exchange) {
      try {
        await handle(exchange);
      } catch (error) {
        const report = reportOf(error);
        if (report.code.startsWith('SPR')) exchange.session.recordFailed(asError(error));
        else if (!exchange.signal.aborted && (report.code === 'SPL015' || report.code.startsWith('SPU')))
          ports.failed(exchange.session.id, 'a request could not be carried out', asError(error));
        if (exchange.answered || exchange.signal.aborted) throw error;
        await answerRefusal(exchange, report, undefined);
      }
    },
    refuse(report, { session = '' }) {
      const { status, headers, body } = refusalOf(ofHttp(report), session);
      const others = report.headers ?? [];
      const own = headers.filter(([name]) => !others.includes(name));
      return { status, headers: [...own.flat(), ...others], body };
    },
    token: (fields) => websocketToken(fields) ?? tokenOf(fields),
  };
}

/** Everything but an upgrade may have one, and what has none says so: a GET with a body is not what it seems. */
async function bodyOf(exchange: Exchange): Promise<Buffer | undefined> {
  return exchange.head.hasBody ? exchange.readBody(MAX_BODY_BYTES) : undefined;
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
