import { randomUUID } from 'node:crypto';
import { field } from '../http/core/headers.ts';
import type { Exchange } from '../http/core/port.ts';
import { encodePath, withQuery } from '../http/core/target.ts';
import { type AskedRequest, admitRequest } from './admission/admit.ts';
import { kubernetesError } from './errors.ts';
import type { KubernetesPorts } from './lane-ports.ts';
import type { Followed } from './long-requests.ts';
import type { Understanding } from './meaning/port.ts';
import { present } from './present.ts';
import { createRequestRecord } from './record.ts';
import type { RequestInfo } from './request/request-info.ts';
import {
  STREAM_SUBRESOURCES,
  type StreamAdmission,
  type StreamAsk,
  type StreamCall,
  type StreamKind,
} from './streams/port.ts';
import { serveStream } from './streams/serve.ts';

/** exec, attach and port-forward of a pod; undefined: it is a plain request. */
export function streamKind({ apiGroup, resource, subresource, name }: RequestInfo): StreamKind | undefined {
  if (apiGroup !== '' || resource !== 'pods' || name === '') return undefined;
  return STREAM_SUBRESOURCES.find((kind) => kind === subresource);
}

/** Lets one stream through: the decision is made here, what passes is looked at there. */
export async function handleStream(
  exchange: Exchange,
  understanding: Understanding,
  kind: StreamKind,
  ports: KubernetesPorts,
): Promise<void> {
  const { head, session } = exchange;
  const { info } = understanding;
  let followed: Followed | undefined;
  const signIn = await ports.signIns.of(session.connection, exchange.signal);
  const contentType = field(head.headers, 'content-type');

  async function admit(ask: StreamAsk): Promise<StreamAdmission> {
    const masksNow = () => ports.masks(session);
    const text = canonical(kind, exchange);
    const asked: AskedRequest = {
      seq: exchange.seq,
      understanding,
      refine: (current) => Promise.resolve(current),
      identity: { text, values: [], settings: {} },
      ...(ask.note === undefined ? {} : { note: ask.note }),
      signal: ask.signal,
      async unmaskable() {
        const why = ask.unmaskable(session.scope.masks);
        return why === undefined ? undefined : kubernetesError('SPL013', why);
      },
      async present(verdict, current) {
        const { content } = await masksNow();
        return present(verdict, current, {
          ...{ query: head.query, text, contentType, body: undefined, withoutBody: false, difference: '' },
          hidden: (shown, count) => content?.maskText(shown, count) ?? shown,
        });
      },
      recording: createRequestRecord({
        exchange,
        target: head.target,
        audit: {
          ...{ auditID: randomUUID(), target: head.target, info, method: head.method, identity: exchange.identity },
          ...{ impersonates: signIn.impersonates, peer: session.peer, userAgent: field(head.headers, 'user-agent') },
          ...{ session: session.id, receivedAt: exchange.startedAt },
        },
        contentType,
        body: undefined,
        withoutBodies: true,
        facts: ask.facts,
        syncReads: ports.syncReads,
      }),
    };
    const admission = await admitRequest(session, ports, asked);
    if ('report' in admission) return { denied: admission.report };
    if ('answer' in admission) return { denied: kubernetesError('SPL015') };
    const { limits, approval, verdict } = admission.admitted;
    // Made of the scope that it was judged by, and told of every later one.
    followed = ports.long.follow({ session, verdict, unmaskable: ask.unmaskable });
    const binary = session.scope.masks.binaryOutput;
    const { content } = await masksNow();
    return {
      admitted: {
        seq: exchange.seq,
        limits,
        content,
        binary,
        withdrawn: followed.withdrawn,
        granted: approval !== undefined,
        settle(outcome) {
          approval?.grant
            .settle(outcome)
            .catch((error: Error) => ports.failed(session.id, 'the outcome of an approved command is not kept', error));
        },
      },
    };
  }

  const call: StreamCall = {
    kind,
    namespace: info.namespace,
    pod: info.name,
    exchange,
    upstream: {
      pool: ports.upstreams.pool(signIn.target),
      headers: async () => signIn.headers(exchange.identity, session.id),
    },
    session: {
      id: session.id,
      stream: session.stream,
      audit: session.connection.audit,
      admit,
      failed: (what, error) => ports.failed(session.id, what, error),
    },
  };
  try {
    await serveStream(call);
  } finally {
    followed?.close();
  }
}

/** The same for the same command, whatever carries it: kubectl asks by GET for a WebSocket, and by POST for SPDY. */
function canonical(kind: StreamKind, { head }: Exchange): string {
  const query = [...head.query].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return `${kind} ${withQuery(encodePath(head.segments), query)}`;
}
