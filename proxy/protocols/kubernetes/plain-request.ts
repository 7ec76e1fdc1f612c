import { randomUUID } from 'node:crypto';
import { MaskError } from '../../masking/errors.ts';
import { field } from '../http/core/headers.ts';
import type { Exchange, HeaderFields, UpstreamPool } from '../http/core/port.ts';
import { type AskedRequest, admitRequest } from './admission/admit.ts';
import { type KubernetesReport, reportOf } from './errors.ts';
import { ASK_BYTES, createForwarding } from './forward-request.ts';
import type { KubernetesPorts } from './lane-ports.ts';

import type { ObjectMasks } from './masking/port.ts';
import type { SubjectMasks } from './masks.ts';
import type { AskApiServer, Understanding } from './meaning/port.ts';
import { isCustom } from './meaning/scale.ts';
import { present } from './present.ts';
import { differenceOf } from './preview-text.ts';
import { createRequestRecord, type RequestRecord } from './record.ts';
import { answerRefusal, statusObject } from './refuse.ts';
import type { RequestInfo } from './request/request-info.ts';
import type { SignIn } from './upstream/sign-in.ts';

/** One request that is understood, on its way from the client to the API server and back. */
export interface PlainRequest {
  readonly exchange: Exchange;
  readonly understanding: Understanding;
  /** As the client sent it; undefined: there is none. */
  readonly body: Buffer | undefined;
}

/** Of these nothing is recorded and nobody is shown anything: their contents are secrets. */
const SECRET_RESOURCES: ReadonlySet<string> = new Set([
  '/secrets',
  'authentication.k8s.io/tokenreviews',
  '/serviceaccounts/token',
]);

function holdsSecrets({ apiGroup, resource, subresource }: RequestInfo): boolean {
  const whole = `${apiGroup}/${resource}`;
  return SECRET_RESOURCES.has(whole) || (subresource !== '' && SECRET_RESOURCES.has(`${whole}/${subresource}`));
}

/** Decides, holds, records, forwards and masks one request that is no stream. @throws RecorderError */
export async function handleRequest(request: PlainRequest, ports: KubernetesPorts): Promise<void> {
  const { exchange, understanding, body } = request;
  const { head, session } = exchange;
  const { info } = understanding;
  const object = statusObject(info);
  const contentType = field(head.headers, 'content-type');
  const userAgent = field(head.headers, 'user-agent');
  const auditID = randomUUID();
  let signIn: SignIn;
  let identity: HeaderFields;
  let kept: Buffer | undefined;
  try {
    signIn = await ports.signIns.of(session.connection, exchange.signal);
    identity = signIn.headers(exchange.identity, session.id);
    kept = withoutMasked(body, contentType, (await ports.masks(session)).objects, info);
  } catch (error) {
    if (exchange.signal.aborted) throw error;
    ports.failed(session.id, 'what a request needs cannot be had', asError(error));
    await refuseUndecided(reportOf(error));
    return;
  }
  const pool = ports.upstreams.pool(signIn.target);
  const record = recordOf(signIn.impersonates);
  const masksNow = (): Promise<SubjectMasks> => ports.masks(session);
  const ask = askOf(exchange, pool, identity);

  const asked: AskedRequest = {
    seq: exchange.seq,
    understanding,
    refine: async (current) =>
      (await current.refine?.({ ask, discovery: ports.discovery(session.connection), signal: exchange.signal })) ??
      current,
    identity: {
      text: `${head.method} ${head.target}`,
      values: body === undefined ? [] : [{ format: 'binary', bytes: body }],
      settings: { 'content-type': contentType ?? '' },
    },
    signal: exchange.signal,
    needsOutcome: async () => mayReveal((await masksNow()).objects, info),
    async unmaskable(current) {
      const { objects } = await masksNow();
      // What is forwarded, which is JSON where YAML came.
      const { bytes = body, contentType: type = contentType } = current.body ?? {};
      const written = bytes === undefined || bytes.length === 0 ? undefined : objects.write(bytes, type, info);
      const error = written ?? objects.selects(info) ?? revealed(current, objects, bytes);
      return error === undefined ? undefined : { ...reportOf(error), status: 403, reason: 'Forbidden' };
    },
    async present(verdict, current) {
      const { content, objects } = await masksNow();
      return present(verdict, current, {
        query: head.query,
        text: `${head.method} ${head.target}`,
        contentType,
        body: holdsSecrets(info) ? body : (withoutMasked(body, contentType, objects, info) ?? body),
        withoutBody:
          holdsSecrets(info) || (body !== undefined && withoutMasked(body, contentType, objects, info) === undefined),
        hidden: (text, count) => content?.maskText(text, count) ?? text,
        difference: holdsSecrets(info) ? '' : differenceOf(current, objects, () => undefined),
      });
    },
    recording: record,
  };
  const admission = await admitRequest(session, ports, asked);
  if ('report' in admission) {
    await answerRefusal(exchange, admission.report, object);
    return;
  }
  const forwarding = createForwarding({
    ...{ exchange, understanding, body, object, record, pool, identity, auditID, ports },
    refine: asked.refine,
    unmaskable: asked.unmaskable,
  });
  await ('answer' in admission ? forwarding.passOn(admission.answer) : forwarding.forward(admission.admitted));

  function recordOf(impersonates: boolean): RequestRecord {
    return createRequestRecord({
      exchange,
      target: head.target,
      audit: {
        ...{ auditID, target: head.target, info, method: head.method, identity: exchange.identity, impersonates },
        ...{ peer: session.peer, userAgent, session: session.id, receivedAt: exchange.startedAt },
      },
      contentType,
      body: kept,
      withoutBodies: holdsSecrets(info) || !info.isResourceRequest,
      syncReads: ports.syncReads,
    });
  }

  async function refuseUndecided(report: KubernetesReport): Promise<void> {
    const written = recordOf(false);
    session.denied();
    written.denied(undefined, understanding, report, false);
    await written.sync();
    await answerRefusal(exchange, report, object);
  }
}

/**
 * Whether a patch may take away what a value is masked by. In objects of Kubernetes' own nothing but a JSON patch can, which is read; what
 * stands where in a custom resource is not known, and a patch of it may give a pair of name and value another name.
 */
function mayReveal(objects: ObjectMasks, info: RequestInfo): boolean {
  return info.verb === 'patch' && isCustom(info) && objects.isAbout(info);
}

/** Why what a patch makes of its object may show a value that is masked now. */
function revealed(
  { info, dryRun, refused }: Understanding,
  objects: ObjectMasks,
  sent: Buffer = Buffer.alloc(0),
): MaskError | undefined {
  if (refused !== undefined || !mayReveal(objects, info)) return undefined;
  if (dryRun?.pinned !== true)
    return new MaskError('SPM013', `a patch of ${info.resource}, whose outcome is not known`);
  // What could not be read was refused before.
  return objects.reveals({ ...dryRun, said: JSON.parse(sent.toString('utf8')) }, info);
}

/** A body as people may read it, under the masks of whoever sent it; undefined where that cannot be told. */
function withoutMasked(
  body: Buffer | undefined,
  contentType: string | undefined,
  objects: ObjectMasks,
  info: RequestInfo,
): Buffer | undefined {
  if (body === undefined || body.length === 0 || objects.empty) return body;
  if (!/^application\/([^;]+\+)?json\b/.test(contentType ?? '')) return undefined;
  try {
    return objects.document(body, info, () => undefined);
  } catch {
    // What is no JSON is refused elsewhere, and shown to nobody.
    return undefined;
  }
}

/** A question of ours, in the caller's name. */
function askOf(exchange: Exchange, pool: UpstreamPool, identity: HeaderFields): AskApiServer {
  return async ({ method, target, contentType, body }) => {
    const {
      status,
      headers,
      body: said,
    } = await exchange.ask({
      ...{ pool, method, target, limit: ASK_BYTES },
      headers: [
        ...['accept', 'application/json', 'accept-encoding', 'identity', 'user-agent', 'sallyport'],
        ...(contentType === undefined ? [] : ['content-type', contentType]),
        ...identity,
      ],
      ...(body === undefined ? {} : { body }),
    });
    return { status, contentType: field(headers, 'content-type'), body: said };
  };
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
