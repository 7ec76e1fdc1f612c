import { randomUUID } from 'node:crypto';
import type { EffectiveLimits } from '../../../policy/decision.ts';
import { HttpRefused } from '../http/core/errors.ts';
import { field, withField, withoutFields } from '../http/core/headers.ts';
import type { AskAnswer, Exchange, HeaderFields, ResponseHead, Rewritten, UpstreamPool } from '../http/core/port.ts';
import { acceptJson } from './accept.ts';
import { type Admitted, type AskedRequest, admitRequest, judge } from './admission/admit.ts';
import { approvedWarning } from './admission/words.ts';
import { type KubernetesReport, kubernetesError, reportOf } from './errors.ts';
import type { KubernetesPorts } from './lane-ports.ts';
import type { ObjectMasks } from './masking/port.ts';
import type { SubjectMasks } from './masks.ts';
import type { AskApiServer, MeaningAnswer, Understanding } from './meaning/port.ts';
import { present } from './present.ts';
import { differenceOf } from './preview-text.ts';
import { createRequestRecord, type RequestEnd, type RequestRecord } from './record.ts';
import type { RequestInfo } from './request/request-info.ts';
import { refusalOf, type StatusObject } from './status.ts';
import { withParameter } from './target.ts';
import { notUnderstood } from './understanding.ts';
import { passedHeaders } from './upstream/headers.ts';
import type { SignIn } from './upstream/sign-in.ts';

/** Longest answer of the API server to a question of ours, in bytes: an object is no longer than 3 MiB in JSON, with room for its Status. */
const ASK_BYTES = 4 * 1024 * 1024;

/** How often a write is tried whose object others write too. */
const WRITES = 5;
const CONFLICT = 409;
const LENGTH: ReadonlySet<string> = new Set(['content-length']);

interface WriteInit {
  readonly understanding: Understanding;
  readonly masks: SubjectMasks;
  readonly approval: Admitted['approval'];
  readonly limits: EffectiveLimits;
}

/** One request that is understood, on its way from the client to the API server and back. */
export interface PlainRequest {
  readonly exchange: Exchange;
  readonly understanding: Understanding;
  /** As the client sent it; undefined: there is none. */
  readonly body: Buffer | undefined;
}

export const statusObject = ({ apiGroup, resource, name }: RequestInfo): StatusObject => ({
  group: apiGroup,
  kind: resource,
  name,
});

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
  let kept: Buffer | undefined;
  try {
    signIn = await ports.signIns.of(session.connection, exchange.signal);
    kept = withoutMasked(body, contentType, (await ports.masks(session)).objects, info);
  } catch (error) {
    if (exchange.signal.aborted) throw error;
    ports.failed(session.id, 'what a request needs cannot be had', asError(error));
    await refuseUndecided(reportOf(error));
    return;
  }
  const found = signIn;
  const identity = found.headers(exchange.identity, session.id);
  const pool = ports.upstreams.pool(found.target);
  const record = recordOf(found.impersonates);
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
    async unmaskable() {
      if (body === undefined || body.length === 0) return undefined;
      const error = (await masksNow()).objects.write(body, contentType, info);
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
  if ('answer' in admission) {
    await passOn(admission.answer);
    return;
  }
  await forward(admission.admitted);

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

  /** What the API server said to the dry run is what it would say: nothing is sent again. */
  async function passOn({ status, contentType: type, body: said }: MeaningAnswer): Promise<void> {
    const masks = await masksNow();
    const answered: ResponseHead = { status, headers: ['content-type', type ?? 'application/json'] };
    const masked = masks.objects.answer(answered, info, () => undefined);
    if (masked.body === 'refused') {
      end({ code: masked.error.code, bytes: 0, requestBytes: 0 });
      await answerRefusal(exchange, unmaskableReport(masked.error), object);
      return;
    }
    const shown = masked.body === 'untouched' ? said : whole(masked.transform, said);
    end({ status, bytes: shown.length, requestBytes: 0, headers: masked.head.headers });
    await exchange.answer(masked.head.status, masked.head.headers, shown);
  }

  function end(ending: RequestEnd): void {
    record.ended(ending);
  }

  async function forward({ verdict, understanding: decided, limits, approval }: Admitted): Promise<void> {
    const masks = await masksNow();
    if (decided.body?.pinned === true) {
      await write({ understanding: decided, masks, approval, limits });
      return;
    }
    const sent = decided.body?.bytes ?? body;
    const long = ports.long.begin({ exchange, command: decided.command, verdict });
    const counts = new Map<string, number>();
    let answered: ResponseHead | undefined;
    let ours: KubernetesReport | undefined;
    const { maxDurationMs, maxBytesReturned = Number.POSITIVE_INFINITY } = limits;
    const timer =
      maxDurationMs === undefined
        ? undefined
        : setTimeout(() => long.end(kubernetesError('SPL016', maxDurationMs / 1000)), maxDurationMs);
    timer?.unref();
    const startedAt = performance.now();
    let headMicros: number | undefined;

    function respond(from: ResponseHead): Rewritten {
      headMicros = (performance.now() - startedAt) * 1000;
      if (from.status === 401) {
        // Ours was refused, not the agent's: told so, its client would throw its own token away.
        ports.signIns.refused(session.connection);
        ours = kubernetesError('SPL014', 'the API server does not know it');
        return replaced(ours);
      }
      const count = (name: string): void => void counts.set(name, (counts.get(name) ?? 0) + 1);
      const masked = masks.objects.answer(from, info, count);
      if (masked.body === 'refused') {
        ours = unmaskableReport(masked.error);
        return replaced(ours);
      }
      const headOut = approval === undefined ? masked.head : withWarning(masked.head, approval);
      answered = headOut;
      const keep = verdict.harmless ? undefined : record.answerBegins(headOut.headers);
      let returned = 0;
      return {
        head: headOut,
        ...(masked.body === 'masked' ? { transform: masked.transform } : {}),
        sent(chunk) {
          long.sent(chunk);
          returned += chunk.length;
          if (returned > maxBytesReturned) {
            ours = kubernetesError('SPL017', maxBytesReturned);
            throw new HttpRefused({ ...ours });
          }
          keep?.(chunk);
        },
      };
    }

    function replaced(report: KubernetesReport): Rewritten {
      const { status, headers, body: text } = refusalOf(report, session.id, object);
      return { head: { status, headers: headers.flat() }, body: Buffer.from(text) };
    }

    try {
      const outcome = await exchange.forward({
        pool,
        target: targetOf(masks),
        headers: [...headersOf(masks, decided), 'audit-id', auditID, ...identity],
        ...(sent === undefined ? {} : { body: sent }),
        respond,
        // A watch is silent for as long as nothing happens.
        headersTimeoutMs: 0,
        onBegin: long.began,
      });
      const code = ours?.code ?? long.ended?.code ?? outcome.report?.code;
      end({
        ...(outcome.status === 0 ? {} : { status: outcome.status }),
        ...(code === undefined || code === 'SPE020' ? {} : { code }),
        bytes: outcome.responseBytes,
        requestBytes: outcome.requestBytes,
        ...(answered === undefined ? {} : { headers: answered.headers }),
        ...(headMicros === undefined ? {} : { headMicros }),
        masked: counts,
      });
      settle(approval, outcome.status, outcome.complete && ours === undefined);
    } finally {
      clearTimeout(timer);
      long.close();
    }
  }

  /**
   * A write that was judged on one version of its object, which its body names. Where somebody else has written meanwhile the API server
   * says so, and all of it is asked and decided anew: the client has done nothing wrong.
   */
  async function write({ understanding: first, masks, approval, limits }: WriteInit): Promise<void> {
    let current = first;
    for (let left = approval === undefined ? WRITES : 1; ; left--) {
      const sent = current.body?.bytes ?? Buffer.alloc(0);
      let answer: AskAnswer;
      try {
        answer = await exchange.ask({
          ...{ pool, method: head.method, target: targetOf(masks), limit: ASK_BYTES, body: sent },
          headers: [...headersOf(masks, current), 'accept-encoding', 'identity', 'audit-id', auditID, ...identity],
        });
      } catch (error) {
        end({ code: reportOf(error).code, bytes: 0, requestBytes: sent.length });
        throw error;
      }
      const again = answer.status === CONFLICT && left > 1 ? await decideAnew() : undefined;
      if (again === undefined) {
        await answerWrite(answer, sent.length, masks, approval, limits.maxBytesReturned);
        return;
      }
      current = again;
    }
  }

  /** Undefined: it is not what was allowed any more, so the conflict is the client's. */
  async function decideAnew(): Promise<Understanding | undefined> {
    const refined = await asked.refine(understanding);
    const allowed = judge(session, refined.command).decision.verdict === 'Allow' && refined.refused === undefined;
    return allowed && refined.body?.pinned === true ? refined : undefined;
  }

  async function answerWrite(
    answer: AskAnswer,
    requestBytes: number,
    { objects }: SubjectMasks,
    approval: Admitted['approval'],
    most = Number.POSITIVE_INFINITY,
  ): Promise<void> {
    const counts = new Map<string, number>();
    const count = (name: string): void => void counts.set(name, (counts.get(name) ?? 0) + 1);
    const { status } = answer;
    if (status === 401) ports.signIns.refused(session.connection);
    const masked = objects.answer({ status, headers: answer.headers }, info, count);
    settle(approval, status, true);
    if (status === 401 || masked.body === 'refused') {
      const ours =
        masked.body === 'refused'
          ? unmaskableReport(masked.error)
          : kubernetesError('SPL014', 'the API server does not know it');
      end({ status: ours.status, code: ours.code, bytes: 0, requestBytes });
      await answerRefusal(exchange, ours, object);
      return;
    }
    const shown = masked.body === 'untouched' ? answer.body : whole(masked.transform, answer.body);
    if (shown.length > most) {
      // It was done; what came of it is more than may be shown.
      const ours = kubernetesError('SPL017', most);
      end({ status: ours.status, code: ours.code, bytes: 0, requestBytes });
      await answerRefusal(exchange, ours, object);
      return;
    }
    const headOut = approval === undefined ? masked.head : withWarning(masked.head, approval);
    const headers = withoutFields(headOut.headers, LENGTH);
    record.answerBegins(headers)?.(shown);
    end({ status, bytes: shown.length, requestBytes, headers, masked: counts });
    await exchange.answer(status, headers, shown);
  }

  function targetOf({ objects }: SubjectMasks): string {
    return objects.wantsObjectsInTables(info) ? withParameter(head, 'includeObject', 'Object') : head.target;
  }

  function headersOf({ objects }: SubjectMasks, decided: Understanding): HeaderFields {
    const proxied = info.subresource === 'proxy' || info.verb === 'proxy';
    let headers = passedHeaders(head.headers, proxied);
    if (decided.body !== undefined) headers = withField(headers, 'content-type', decided.body.contentType);
    if (objects.empty) return headers;
    headers = objects.request(headers);
    // Discovery and OpenAPI have forms of their own, and nothing in them is masked. Logs are text whatever is asked for.
    if (!info.isResourceRequest || info.subresource === 'log' || proxied) return headers;
    return withField(headers, 'accept', acceptJson(field(headers, 'accept')));
  }

  function settle(approval: Admitted['approval'], status: number, complete: boolean): void {
    if (approval === undefined) return;
    // Of a request whose answer did not come nobody knows what it did.
    if (status === 0 || (!complete && status >= 500)) return;
    approval.grant
      .settle(status < 400 ? 'Executed' : 'Failed')
      .catch((error: unknown) =>
        ports.failed(session.id, 'the outcome of an approved request is not kept', asError(error)),
      );
  }
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

function withWarning(head: ResponseHead, { grant, ticket }: NonNullable<Admitted['approval']>): ResponseHead {
  const warning = approvedWarning(
    ticket,
    grant.votes.map(({ voter }) => voter),
  );
  return { ...head, headers: [...head.headers, 'warning', warning] };
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

function unmaskableReport(error: Error & { readonly code: string }): KubernetesReport {
  return { ...kubernetesError('SPL021', error.message), code: error.code };
}

function whole(
  transform: { write(chunk: Buffer): Buffer | undefined; end(): Buffer | undefined },
  body: Buffer,
): Buffer {
  return Buffer.concat([transform.write(body) ?? Buffer.alloc(0), transform.end() ?? Buffer.alloc(0)]);
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
