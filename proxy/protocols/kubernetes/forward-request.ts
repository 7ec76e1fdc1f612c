import type { EffectiveLimits } from '../../../policy/decision.ts';
import { HttpRefused } from '../http/core/errors.ts';
import { field, withField, withoutFields } from '../http/core/headers.ts';
import type { AskAnswer, Exchange, HeaderFields, ResponseHead, Rewritten, UpstreamPool } from '../http/core/port.ts';
import { acceptJson } from './accept.ts';
import { type Admitted, judge } from './admission/admit.ts';
import { approvedWarning } from './admission/words.ts';
import { type KubernetesReport, kubernetesError, reportOf } from './errors.ts';
import type { KubernetesPorts } from './lane-ports.ts';
import type { SubjectMasks } from './masks.ts';
import type { MeaningAnswer, Understanding } from './meaning/port.ts';
import type { RequestEnd, RequestRecord } from './record.ts';
import { answerRefusal } from './refuse.ts';
import { refusalOf, type StatusObject } from './status.ts';
import { withParameter } from './target.ts';
import { passedHeaders } from './upstream/headers.ts';

/** What a request needs on its way to the API server and back. */
export interface ForwardingContext {
  readonly exchange: Exchange;
  /** As the client sent it. */
  readonly understanding: Understanding;
  readonly body: Buffer | undefined;
  readonly object: StatusObject;
  readonly record: RequestRecord;
  readonly pool: UpstreamPool;
  /** `authorization` and `impersonate-*`. */
  readonly identity: HeaderFields;
  readonly auditID: string;
  readonly ports: KubernetesPorts;
  refine(understanding: Understanding): Promise<Understanding>;
  /** Why what it became cannot be forwarded under the masks in force. */
  unmaskable(understanding: Understanding): Promise<KubernetesReport | undefined>;
}

export interface Forwarding {
  /** Sends what was admitted, and answers. */
  forward(admitted: Admitted): Promise<void>;
  /** Answers with what the API server said to a dry run that it refused. */
  passOn(answer: MeaningAnswer): Promise<void>;
}

/** Longest answer of the API server to a question or a write of ours, in bytes: an object is no longer than 3 MiB in JSON. */
export const ASK_BYTES = 4 * 1024 * 1024;
/** How often a write is tried whose object others write too. */
const WRITES = 5;
const CONFLICT = 409;
const LENGTH: ReadonlySet<string> = new Set(['content-length']);

/** A write that was judged on one version of its object. */
interface WriteInit {
  readonly understanding: Understanding;
  readonly masks: SubjectMasks;
  readonly approval: Admitted['approval'];
  readonly limits: EffectiveLimits;
}

/** The way of one request from its admission to the end of its answer. */
export function createForwarding(context: ForwardingContext): Forwarding {
  const { exchange, understanding, body, object, record, pool, identity, auditID, ports } = context;
  const { head, session } = exchange;
  const { info } = understanding;
  const masksNow = (): Promise<SubjectMasks> => ports.masks(session);

  return { forward, passOn };

  function end(ending: RequestEnd): void {
    record.ended(ending);
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
      const { report } = outcome;
      if (report?.code.startsWith('SPU')) {
        ports.failed(
          session.id,
          'the API server did not answer a request',
          new Error(`${report.code} ${report.message}`),
        );
      }
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
    const refined = await context.refine(understanding);
    const allowed = judge(session, refined.command).decision.verdict === 'Allow' && refined.refused === undefined;
    if (!allowed || refined.body?.pinned !== true) return undefined;
    return (await context.unmaskable(refined)) === undefined ? refined : undefined;
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

function withWarning(head: ResponseHead, { grant, ticket }: NonNullable<Admitted['approval']>): ResponseHead {
  const warning = approvedWarning(
    ticket,
    grant.votes.map(({ voter }) => voter),
  );
  return { ...head, headers: [...head.headers, 'warning', warning] };
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
