import type { CompiledConnection } from '../../../policy/bundle.ts';
import type { EffectiveLimits } from '../../../policy/decision.ts';
import type { ExchangeOutcome } from '../../../record/exchange-events.ts';
import { recordedHeaders } from '../../../record/exchange-events.ts';
import type { RecordStream } from '../../../record/port.ts';
import type { BodyMasks, WriteCheck } from '../../masking/body/port.ts';
import { MaskError } from '../../masking/errors.ts';
import type { CountMask } from '../../masking/port.ts';
import type { TurnParticipant } from '../../session/turn.ts';
import { type AnswerRules, rewrite } from './answers.ts';
import { HttpRefused } from './core/errors.ts';
import { SAFE_METHODS } from './core/head.ts';
import { field } from './core/headers.ts';
import type {
  Exchange,
  ForwardRequest,
  HeaderFields,
  Outcome,
  RequestHead,
  ResponseHead,
  Rewritten,
  UpstreamPool,
  UpstreamTarget,
} from './core/port.ts';
import type { Concealer } from './credentials/conceal.ts';
import type { SignIn } from './credentials/sign-in.ts';
import { laneError } from './errors.ts';
import { maskRefused, type ScopeMasks } from './masks.ts';
import type { AskedRequest } from './port.ts';
import type { BodyCapture, SessionRecord } from './record.ts';
import { requestFields, signedFields } from './requests.ts';
import type { HttpPorts } from './session.ts';
import { targetHost } from './understand.ts';
import type { Verdict } from './verdict.ts';

/** A request that may go on. */
export interface Passing {
  readonly ports: HttpPorts;
  readonly record: SessionRecord;
  readonly exchange: Exchange;
  readonly asked: AskedRequest;
  /** Whole; undefined: it streams, where there is one. */
  readonly body: Buffer | undefined;
  readonly verdict: Verdict;
  readonly signIn: SignIn;
  readonly masks: ScopeMasks;
  /** People have approved it. */
  readonly approved: boolean;
}

/** Longest answer to a request that is sent a second time with a fresh token. */
const AGAIN_BYTES = 1_048_576;

/**
 * Sends a request once it is recorded, and the answer back as the client may see it.
 * @returns whether the target answered. @throws RecorderError, and nothing was sent; HttpRefused
 */
export async function pass(passing: Passing): Promise<boolean> {
  const { record, exchange, signIn } = passing;
  record.used(signIn);
  const sending = new Sending(passing);
  await sending.recorded();
  const request = sending.outgoing();
  const outcome = await (exchange.head.upgrade === undefined
    ? exchange.forward(request)
    : upgrade(passing, passing.masks.answers, request));
  sending.ended(outcome);
  return sending.answered;
}

/** One object for as long as nothing of it changes: pools are found by it without a look at what it says. */
const targets = new WeakMap<CompiledConnection, UpstreamTarget>();

function targetOf(connection: CompiledConnection, signIn: SignIn): UpstreamTarget {
  const { certificateAuthorities, clientCertificate } = signIn;
  const { target, namespace, name } = connection;
  const { mode, serverName } = target.tls;
  const known = targets.get(connection);
  const tls = known?.tls;
  const same = tls?.certificateAuthorities === certificateAuthorities && tls?.clientCertificate === clientCertificate;
  if (known !== undefined && (mode === 'Disable' || same)) return known;
  const made: UpstreamTarget = {
    label: `${namespace}/${name}`,
    host: target.host,
    port: target.port,
    ...(mode === 'Disable' ? {} : { tls: { mode, serverName, certificateAuthorities, clientCertificate } }),
  };
  targets.set(connection, made);
  return made;
}

/**
 * One request on its way, its answer on its way back, and what the record is to say of them. A class for the sake of speed: one object is
 * the participant of its turn and the rules for its answer.
 */
class Sending implements TurnParticipant, AnswerRules {
  readonly stream: RecordStream;
  readonly needsSync: boolean;
  readonly connection: CompiledConnection;
  readonly request: RequestHead;
  readonly masks: BodyMasks;
  readonly limits: EffectiveLimits;
  readonly count: CountMask;
  concealer: Concealer | undefined;
  deadline = Number.POSITIVE_INFINITY;
  readonly #of: Passing;
  #release: () => void = () => {};
  #fail: (error: Error) => void = () => {};
  #started = 0;
  #masked: Map<string, number> | undefined;
  #headMicros: number | undefined;
  #headers: string | undefined;
  #captured: BodyCapture | undefined;
  #result: BodyCapture | undefined;

  constructor(of: Passing) {
    const { ports, record, exchange, verdict, masks, approved } = of;
    const { method, upgrade } = exchange.head;
    this.#of = of;
    this.stream = record.stream;
    this.needsSync = ports.syncReads || approved || upgrade !== undefined || !SAFE_METHODS.has(method);
    this.connection = exchange.session.connection;
    this.request = exchange.head;
    this.masks = masks.answers;
    this.limits = verdict.decision.limits;
    this.count = masks.answers.empty ? nothingCounted : (name) => this.#count(name);
  }

  #count(name: string): void {
    this.#masked ??= new Map();
    this.#masked.set(name, (this.#masked.get(name) ?? 0) + 1);
  }

  /** Handed to the kernel, one write for all that are recorded in this turn; and on disk where something changes by it. */
  recorded(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#release = resolve;
      this.#fail = reject;
      this.#of.ports.turn.schedule(this);
    });
  }

  hold(): void {}

  forward(): void {
    this.#release();
  }

  recordFailed(error: Error): void {
    this.#of.exchange.session.recordFailed(error);
    this.#fail(error);
  }

  /** The target answered. */
  get answered(): boolean {
    return this.#headMicros !== undefined;
  }

  /** What goes to the target now. */
  outgoing(): ForwardRequest {
    const { ports, asked, body, signIn, masks } = this.#of;
    const { connection, request, limits } = this;
    const { responseTimeoutMs } = connection.http;
    const { maxDurationMs } = limits;
    this.#started = performance.now();
    if (maxDurationMs !== undefined) this.deadline = Date.now() + maxDurationMs;
    const fields = requestFields(request, connection, signIn, masks.answers, asked.dialect !== undefined);
    const pool = ports.upstreams.pool(targetOf(connection, signIn));
    return {
      pool,
      host: targetHost(connection),
      headers: signedFields(fields, signIn),
      body,
      passing: body === undefined && request.hasBody ? this.#passing(masks.writes) : undefined,
      // Without a token that could be fetched anew nothing has to be waited for.
      respond:
        signIn.reject === undefined
          ? (answer) => this.#rewritten(answer, signIn)
          : (answer) => this.#respond(answer, fields, pool),
      headersTimeoutMs: maxDurationMs === undefined ? responseTimeoutMs : Math.min(responseTimeoutMs, maxDurationMs),
      bodyTimeoutMs: maxDurationMs,
    };
  }

  /** Looks at a body that streams. */
  #passing(writes: WriteCheck | undefined): ((chunk: Buffer) => void) | undefined {
    const { record, exchange } = this.#of;
    const { headers } = this.request;
    const captured = record.capture(exchange.seq, 'request', headers);
    const looked = writes?.stream(field(headers, 'content-type'));
    this.#captured = captured;
    if (captured === undefined && looked === undefined) return undefined;
    return (chunk) => {
      try {
        looked?.write(chunk);
      } catch (error) {
        throw error instanceof MaskError ? maskRefused(error, 422) : error;
      }
      captured?.take(chunk);
    };
  }

  respond(answer: ResponseHead): ReturnType<AnswerRules['respond']> {
    const { asked, exchange } = this.#of;
    return asked.dialect?.respond?.(answer, exchange.session.scope);
  }

  #rewritten(answer: ResponseHead, by: SignIn): Rewritten {
    const { record, exchange } = this.#of;
    this.concealer = by.concealer;
    const { head, transform, keepsLength, trailers, sent: limit } = rewrite(answer, this);
    this.#headMicros = (performance.now() - this.#started) * 1000;
    this.#headers = recordedHeaders(head.headers, 'response');
    const result = record.capture(exchange.seq, 'result', head.headers);
    this.#result = result;
    return { head, transform, keepsLength, trailers, sent: both(limit, result) };
  }

  async #respond(answer: ResponseHead, fields: HeaderFields, pool: UpstreamPool): Promise<Rewritten> {
    const { signIn, record } = this.#of;
    const fresh = answer.status === 401 ? await withFreshToken(this.#of, fields, pool) : undefined;
    if (fresh === undefined) return this.#rewritten(answer, signIn);
    record.used(fresh.signIn);
    const { sent, ...made } = this.#rewritten(fresh.answer, fresh.signIn);
    const body = whole(fresh.answer.body, made);
    // What it throws refuses the answer, of which nothing went out.
    sent?.(body);
    return { ...made, body };
  }

  /** Records how it ended. */
  ended(outcome: Outcome): void {
    const { record, exchange } = this.#of;
    const result = this.#result?.end() ?? '';
    const members = (this.#captured?.end() ?? '') + result;
    record.ended(exchange.seq, this.#outcome(outcome), members);
    // The end of what changed something is on disk soon; nothing waits for it.
    if (!SAFE_METHODS.has(this.request.method)) {
      const { session } = exchange;
      record.stream.sync().catch((error: unknown) => session.recordFailed(asError(error)));
    }
  }

  #outcome({ status, report, responseBytes, requestBytes }: Outcome): ExchangeOutcome {
    return {
      status,
      code: report?.code,
      bytes: responseBytes,
      requestBytes,
      headers: this.#headers,
      durationMicros: (performance.now() - this.#started) * 1000,
      headMicros: this.#headMicros,
      masked: this.#masked,
    };
  }
}

const nothingCounted: CountMask = () => {};

function both(
  limit: ((chunk: Buffer) => void) | undefined,
  result: BodyCapture | undefined,
): ((chunk: Buffer) => void) | undefined {
  if (result === undefined) return limit;
  if (limit === undefined) return (chunk) => result.take(chunk);
  return (chunk) => {
    limit(chunk);
    result.take(chunk);
  };
}

/** A body that is there already, as it would have gone by. */
function whole(body: Buffer, { transform }: Rewritten): Buffer {
  if (transform === undefined) return body;
  const first = transform.write(body);
  const parts = [first === undefined ? undefined : Buffer.from(first), transform.end()];
  return Buffer.concat(parts.filter((part) => part !== undefined));
}

/**
 * The target did not take the token: the next request gets a fresh one, and this one too where sending it again changes nothing.
 * Undefined: its answer stands.
 */
async function withFreshToken(
  { ports, exchange, signIn }: Passing,
  fields: HeaderFields,
  pool: UpstreamPool,
): Promise<{ readonly answer: ResponseHead & { readonly body: Buffer }; readonly signIn: SignIn } | undefined> {
  signIn.reject?.();
  const { head, session } = exchange;
  if (!SAFE_METHODS.has(head.method) || head.hasBody || head.upgrade !== undefined) return undefined;
  try {
    const fresh = await ports.signIns.of(session.connection, exchange);
    const host = targetHost(session.connection);
    const answer = await exchange.ask({ pool, host, headers: signedFields(fields, fresh), limit: AGAIN_BYTES });
    return { answer, signIn: fresh };
  } catch (error) {
    ports.failed(session.id, 'a request could not be sent again with a fresh token', asError(error));
    return undefined;
  }
}

/** WebSockets: what goes by in their frames is neither judged nor masked, so that rules about contents keep them away. */
async function upgrade({ exchange, signIn }: Passing, masks: BodyMasks, request: ForwardRequest): Promise<Outcome> {
  if (!masks.empty) throw new HttpRefused(laneError('SPE113', 'what goes through a WebSocket cannot be masked'));
  const { concealer } = signIn;
  let before: Buffer = Buffer.alloc(0);
  return exchange.splice({
    ...request,
    watch(from, chunk) {
      if (concealer === undefined || from === 'client') return;
      const bytes = Buffer.concat([before, chunk]);
      if (!concealer.isClean(bytes)) throw new HttpRefused(laneError('SPE112'));
      before = Buffer.from(bytes.subarray(Math.max(0, bytes.length - concealer.longest)));
    },
  });
}

const asError = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)));
