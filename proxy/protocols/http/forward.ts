import type { CompiledConnection } from '../../../policy/bundle.ts';
import type { ExchangeOutcome } from '../../../record/exchange-events.ts';
import { recordedHeaders } from '../../../record/exchange-events.ts';
import type { BodyMasks, WriteCheck } from '../../masking/body/port.ts';
import { MaskError } from '../../masking/errors.ts';
import { rewrite } from './answers.ts';
import { HttpRefused } from './core/errors.ts';
import { eachField, field } from './core/headers.ts';
import type {
  Exchange,
  ForwardRequest,
  HeaderFields,
  HttpSession,
  Outcome,
  ResponseHead,
  Rewritten,
  UpstreamPool,
  UpstreamTarget,
} from './core/port.ts';
import type { SignIn } from './credentials/sign-in.ts';
import { laneError } from './errors.ts';
import { maskRefused } from './masks.ts';
import type { AskedRequest } from './port.ts';
import type { BodyCapture, SessionRecord } from './record.ts';
import { signedFields } from './requests.ts';
import type { HttpPorts } from './session.ts';
import { targetHost } from './understand.ts';
import type { Verdict } from './verdict.ts';

/** A request that may go on. */
export interface Passing {
  readonly ports: HttpPorts;
  readonly session: HttpSession;
  readonly record: SessionRecord;
  readonly exchange: Exchange;
  readonly asked: AskedRequest;
  readonly verdict: Verdict;
  readonly signIn: SignIn;
  /** Of the client, as they go on. */
  readonly fields: HeaderFields;
  /** People have approved it. */
  readonly approved: boolean;
}

/** Requests that change nothing (RFC 9110, section 9.2.1). */
const SAFE: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);
/** Longest answer to a request that is sent a second time with a fresh token. */
const AGAIN_BYTES = 1_048_576;

/**
 * Sends a request once it is recorded, and the answer back as the client may see it.
 * @returns whether the target answered. @throws RecorderError, and nothing was sent; HttpRefused
 */
export async function pass(passing: Passing): Promise<boolean> {
  const { ports, session, record, exchange, signIn, verdict } = passing;
  record.used(signIn);
  await recorded(passing);
  const { answers: masks, writes } = await ports.masksOf(session.scope, session.connection);
  const started = performance.now();
  const counts = new Map<string, number>();
  const state: State = { counts, headMicros: undefined, headers: undefined, result: undefined, again: false };
  const sending = sendingOf(passing, { masks, writes }, state, started);
  const { request, captured } = sending;
  const outcome =
    exchange.head.upgrade === undefined ? await exchange.forward(request) : await upgrade(passing, masks, request);
  const result = state.result?.end() ?? '';
  const members = (captured?.end() ?? '') + result;
  record.ended(exchange.seq, outcomeOf(outcome, state, started), members);
  // The end of what changed something is on disk soon; nothing waits for it.
  if (!SAFE.has(verdict.command.statements[0]?.method ?? '')) {
    record.stream.sync().catch((error: unknown) => session.recordFailed(asError(error)));
  }
  return state.headMicros !== undefined;
}

/** What is known of an answer as it goes by. */
interface State {
  readonly counts: Map<string, number>;
  headMicros: number | undefined;
  headers: Readonly<Record<string, string>> | undefined;
  result: BodyCapture | undefined;
  /** It was sent a second time already. */
  again: boolean;
}

/** Handed to the kernel, one write for all that are recorded in this turn; and on disk where something changes by it. */
function recorded({ ports, session, record, exchange, approved }: Passing): Promise<void> {
  const { method, upgrade } = exchange.head;
  const needsSync = ports.syncReads || approved || upgrade !== undefined || !SAFE.has(method);
  return new Promise((resolve, reject) => {
    ports.turn.schedule({
      stream: record.stream,
      needsSync,
      hold() {},
      forward: resolve,
      recordFailed(error) {
        session.recordFailed(error);
        reject(error);
      },
    });
  });
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

function sendingOf(
  of: Passing,
  { masks, writes }: { readonly masks: BodyMasks; readonly writes: WriteCheck | undefined },
  state: State,
  started: number,
): { readonly request: ForwardRequest; readonly captured: BodyCapture | undefined } {
  const { session, record, exchange, asked, verdict, signIn, fields } = of;
  const { head, seq } = exchange;
  const { limits } = verdict.decision;
  const { http } = session.connection;
  const pool = of.ports.upstreams.pool(targetOf(session.connection, signIn));
  const captured = asked.body === undefined && head.hasBody ? record.capture(seq, 'request', head.headers) : undefined;
  const durationMs = limits.maxDurationMs;
  const deadline = Date.now() + (durationMs ?? Number.MAX_SAFE_INTEGER / 2);

  const looked =
    asked.body === undefined && head.hasBody ? writes?.stream(field(head.headers, 'content-type')) : undefined;
  function passing(chunk: Buffer): void {
    try {
      looked?.write(chunk);
    } catch (error) {
      throw error instanceof MaskError ? maskRefused(error, 422) : error;
    }
    captured?.take(chunk);
  }

  function answered(answer: ResponseHead, by: SignIn): Rewritten {
    const rewritten = rewrite(answer, {
      ...{ connection: session.connection, request: head, masks, limits, deadline },
      count: (name) => state.counts.set(name, (state.counts.get(name) ?? 0) + 1),
      concealer: by.concealer,
      respond:
        asked.dialect?.respond === undefined ? undefined : (seen) => asked.dialect?.respond?.(seen, session.scope),
    });
    const { headers } = rewritten.head;
    state.headMicros = (performance.now() - started) * 1000;
    state.headers = recordedHeaders(eachField(headers), 'response');
    const result = record.capture(seq, 'result', headers);
    state.result = result;
    const limit = rewritten.sent;
    return {
      ...rewritten,
      sent: (chunk) => {
        limit?.(chunk);
        result?.take(chunk);
      },
    };
  }

  async function respond(answer: ResponseHead): Promise<Rewritten> {
    const fresh = answer.status === 401 ? await withFreshToken(of, pool) : undefined;
    if (fresh === undefined) return answered(answer, signIn);
    record.used(fresh.signIn);
    const { sent, ...made } = answered(fresh.answer, fresh.signIn);
    const body = whole(fresh.answer.body, made);
    // What it throws refuses the answer, of which nothing went out.
    sent?.(body);
    return { ...made, body };
  }

  return {
    captured,
    request: {
      pool,
      host: targetHost(session.connection),
      headers: signedFields(fields, signIn),
      ...(asked.body === undefined ? {} : { body: asked.body }),
      ...(captured === undefined && looked === undefined ? {} : { passing }),
      // Without a token that could be fetched anew nothing has to be waited for.
      respond: signIn.reject === undefined ? (answer) => answered(answer, signIn) : respond,
      headersTimeoutMs: Math.min(http.responseTimeoutMs, durationMs ?? http.responseTimeoutMs),
      ...(durationMs === undefined ? {} : { bodyTimeoutMs: durationMs }),
    },
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
  { ports, session, exchange, signIn, fields }: Passing,
  pool: UpstreamPool,
): Promise<{ readonly answer: ResponseHead & { readonly body: Buffer }; readonly signIn: SignIn } | undefined> {
  signIn.reject?.();
  const { head } = exchange;
  if (!SAFE.has(head.method) || head.hasBody || head.upgrade !== undefined) return undefined;
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

function outcomeOf(outcome: Outcome, { counts, headMicros, headers }: State, started: number): ExchangeOutcome {
  const { status, report, responseBytes: bytes, requestBytes } = outcome;
  return {
    status,
    bytes,
    requestBytes,
    durationMicros: (performance.now() - started) * 1000,
    ...(report === undefined ? {} : { code: report.code }),
    ...(headMicros === undefined ? {} : { headMicros }),
    ...(headers === undefined ? {} : { headers }),
    ...(counts.size === 0 ? {} : { masked: counts }),
  };
}

const asError = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)));
