import { randomUUID } from 'node:crypto';
import { field } from '../http/core/headers.ts';
import type { Exchange } from '../http/core/port.ts';
import type { KubernetesReport } from './errors.ts';
import type { KubernetesPorts } from './lane-ports.ts';
import { createRequestRecord } from './record.ts';
import type { RequestInfo } from './request/request-info.ts';
import { refusalOf, type StatusObject } from './status.ts';
import { notUnderstood } from './understanding.ts';

/** What a Status says that a request was about. */
export const statusObject = ({ apiGroup, resource, name }: RequestInfo): StatusObject => ({
  group: apiGroup,
  kind: resource,
  name,
});

/** Refuses in the words of Kubernetes' clients. */
export function answerRefusal(
  exchange: Exchange,
  report: KubernetesReport,
  object: StatusObject | undefined,
): Promise<void> {
  const { status, headers, body } = refusalOf(report, exchange.session.id, object);
  return exchange.answer(status, headers.flat(), body);
}

/** What is not understood is in the record, and goes no further. @throws RecorderError */
export async function refuseUnread(
  exchange: Exchange,
  ports: KubernetesPorts,
  report: KubernetesReport,
  reason: string,
  object?: StatusObject,
): Promise<void> {
  const { head, session } = exchange;
  const understanding = notUnderstood(head, reason);
  const record = createRequestRecord({
    exchange,
    target: head.target,
    audit: {
      ...{ auditID: randomUUID(), target: head.target, info: undefined, method: head.method },
      ...{ identity: exchange.identity, impersonates: false, peer: session.peer },
      ...{ userAgent: field(head.headers, 'user-agent'), session: session.id, receivedAt: exchange.startedAt },
    },
    contentType: field(head.headers, 'content-type'),
    body: undefined,
    withoutBodies: true,
    syncReads: ports.syncReads,
  });
  session.denied();
  record.denied(undefined, understanding, report, false);
  await record.sync();
  await answerRefusal(exchange, report, object);
}
