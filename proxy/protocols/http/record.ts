import type { ApprovalRequirement } from '../../../policy/decision.ts';
import {
  commandDenied,
  commandHeld,
  commandReceived,
  commandReleased,
  credentialEvent,
  type Release,
  sessionFragment,
  textFragment,
} from '../../../record/events.ts';
import {
  BODY_ENCODING,
  bodyReading,
  type ExchangeOutcome,
  exchangeFragment,
  exchangeOutcome,
  exchangeOutcomeType,
  recordedHeaders,
} from '../../../record/exchange-events.ts';
import type { RecordStream } from '../../../record/port.ts';
import type { ApprovalTicket } from '../../ports.ts';
import { createResultCapture, type ResultCapture } from '../../recording/result-capture.ts';
import { field } from './core/headers.ts';
import type { HeaderFields, HttpSession, RequestHead } from './core/port.ts';
import type { SignIn } from './credentials/sign-in.ts';
import type { LaneReport } from './errors.ts';
import type { Verdict } from './verdict.ts';

/** Writes the exchanges of one session. */
export interface SessionRecord {
  readonly stream: RecordStream;
  /** @param body what was read of it before it was decided on */
  received(seq: number, verdict: Verdict | undefined, request: ReceivedRequest): void;
  denied(seq: number, verdict: Verdict | undefined, report: LaneReport): void;
  held(seq: number, ticket: ApprovalTicket, asked: readonly ApprovalRequirement[]): void;
  released(
    seq: number,
    ticket: ApprovalTicket,
    release: Release & { readonly state: string; readonly members: string },
  ): void;
  /** Once for each credential that the session uses. */
  used(signIn: SignIn): void;
  /** Of a body on its way: what was sent in either direction, after masking. */
  capture(seq: number, of: 'request' | 'result', headers: HeaderFields): BodyCapture | undefined;
  ended(seq: number, outcome: ExchangeOutcome, members: string): void;
}

export interface ReceivedRequest {
  readonly head: RequestHead;
  /** Method and URL. */
  readonly text: string;
  readonly host: string;
  readonly body: Buffer | undefined;
}

export interface BodyCapture {
  take(chunk: Buffer): void;
  /** Members of the event that says how the exchange ended, beginning with a comma. */
  end(): string;
}

/** A request is recorded as it is written: which of its words are secrets cannot be known. */
const asWritten = (text: string): string => text;

export function createSessionRecord({ id, stream, connection }: HttpSession): SessionRecord {
  const session = sessionFragment(id);
  const { level, maxResponseBytes } = connection.audit;
  const credentials = new Set<string>();

  /** Requests of a client that have the same fields share them. */
  let last: { readonly fields: HeaderFields; readonly shown: string } | undefined;
  function headersOf(fields: HeaderFields): string {
    if (last?.fields !== fields) last = { fields, shown: recordedHeaders(fields, 'request') };
    return last.shown;
  }

  function capture(seq: number, of: 'request' | 'result', headers: HeaderFields): BodyCapture | undefined {
    if (level !== 'Full') return undefined;
    const type = of === 'request' ? 'request.chunk' : 'result.chunk';
    const made: ResultCapture = createResultCapture(
      (members) => void stream.append(type, `${session},"seq":${seq}${members}`),
      of,
    );
    const reading = bodyReading(field(headers, 'content-type'), field(headers, 'content-encoding'));
    made.begin(maxResponseBytes, BODY_ENCODING, reading);
    return { take: (chunk) => made.take(chunk, 0, chunk.length), end: () => made.end() };
  }

  return {
    stream,
    capture,
    received(seq, verdict, { head, text, host, body }) {
      const { method, target, version, headers, contentLength, upgrade } = head;
      const facts = exchangeFragment(
        { method, host, target, version, headers: headersOf(headers), length: contentLength, upgrade },
        level,
      );
      const shown = textFragment(text, level, asWritten) + (verdict?.recordMembers ?? '') + facts;
      stream.append('command.received', commandReceived(session, seq, shown));
      // What was decided on is in the record before it goes on; a body that streams is there with the outcome.
      const captured = body === undefined || body.length === 0 ? undefined : capture(seq, 'request', headers);
      captured?.take(body as Buffer);
      const short = captured?.end() ?? '';
      if (short !== '') stream.append('request.chunk', `${session},"seq":${seq}${unwrapped(short)}`);
    },
    denied(seq, verdict, { code, message }) {
      const rules = verdict?.decision.verdict === 'Allow' ? [] : (verdict?.decision.rules ?? []);
      // The message quotes what was asked for.
      const said = level === 'Metadata' ? { code, rules } : { code, message, rules };
      stream.append('command.denied', commandDenied(session, seq, said));
    },
    held(seq, { name, hash }, asked) {
      stream.append('command.held', commandHeld(session, seq, name, asked, hash));
    },
    released(seq, { name, hash }, { state, members, ...release }) {
      stream.append('command.released', commandReleased(session, seq, name, state, { hash, ...release }) + members);
    },
    used({ used }) {
      if (used === undefined || credentials.has(used.id)) return;
      credentials.add(used.id);
      const { id: _id, ...event } = used;
      stream.append('credential.used', credentialEvent(session, event));
    },
    ended(seq, outcome, members) {
      stream.append(exchangeOutcomeType(outcome), exchangeOutcome(session, seq, outcome, level) + members);
    },
  };
}

/** `,"request":{…}` as members of an event of its own. */
const unwrapped = (member: string): string => `,${member.slice(',"request":{'.length, -1)}`;
