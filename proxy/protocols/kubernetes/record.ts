import type { ApprovalRequirement } from '../../../policy/decision.ts';
import {
  commandDenied,
  commandHeld,
  commandReceived,
  commandReleased,
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
import type { ApprovalTicket } from '../../ports.ts';
import { createResultCapture, type ResultCapture } from '../../recording/result-capture.ts';
import { field } from '../http/core/headers.ts';
import type { Exchange, HeaderFields } from '../http/core/port.ts';
import type { RequestRecording } from './admission/admit.ts';
import type { Verdict } from './admission/verdict.ts';
import { type AuditedRequest, auditEnd, auditReceived } from './audit.ts';
import { describeRequest } from './describe.ts';
import type { Understanding } from './meaning/port.ts';

/** How one request was answered, for its record. */
export interface RequestEnd extends Pick<ExchangeOutcome, 'status' | 'code' | 'bytes' | 'requestBytes' | 'headMicros'> {
  readonly headers?: HeaderFields;
  readonly masked?: ReadonlyMap<string, number>;
}

export interface RequestRecord extends RequestRecording {
  /** Bytes of the answer as the client gets them, from here on. Undefined: this answer is not kept. */
  answerBegins(headers: HeaderFields): ((chunk: Buffer) => void) | undefined;
  /** Once, after `received`. */
  ended(end: RequestEnd): void;
}

export interface RecordedRequest {
  readonly exchange: Exchange;
  /** As it goes to the API server. */
  readonly target: string;
  readonly audit: Omit<AuditedRequest, 'verdict'>;
  readonly contentType: string | undefined;
  /** What the client sent, where it was read. */
  readonly body: Buffer | undefined;
  /** Nothing of the bodies is kept: Secrets, tokens, and what is not worth it. */
  readonly withoutBodies: boolean;
  /** More members of `command.received`, beginning with a comma. */
  readonly facts?: string;
  readonly syncReads: boolean;
}

/** What asks for nothing but to see. Everything else is on the disk before it is forwarded. */
const READS: ReadonlySet<string> = new Set(['get', 'list', 'watch', 'head', 'options']);

/** A command is recorded as it is written: whether a name in a URL is a secret cannot be known. */
const asWritten = (text: string): string => text;

/** The events of one request. */
export function createRequestRecord(request: RecordedRequest): RequestRecord {
  const { exchange, audit, body } = request;
  const { session, seq, head } = exchange;
  const { stream } = session;
  const { level, maxResponseBytes } = session.connection.audit;
  const fragment = sessionFragment(session.id);
  let capture: ResultCapture | undefined;

  function receivedMembers(verdict: Verdict | undefined, understanding: Understanding): string {
    const { command, info } = understanding;
    const shown = textFragment(command.text, level, asWritten) + (verdict?.recordMembers ?? '');
    const words = describeRequest(info, { query: head.query, contentType: request.contentType, command });
    const details = {
      kubernetes: {
        // In the caller's own words: the names of its objects.
        ...(level === 'Metadata' ? {} : { words }),
        audit: auditReceived({ ...audit, verdict }, level, Date.now()),
      },
    };
    return (
      shown +
      exchangeFragment(
        {
          method: head.method,
          host: head.authority,
          target: request.target,
          version: head.version,
          headers: recordedHeaders(head.headers, 'request'),
          length: head.contentLength,
          upgrade: head.upgrade,
          details,
        },
        level,
      ) +
      requestBody() +
      (request.facts ?? '')
    );
  }

  /** A body that is short stands with the request; of a longer one the pieces go before it. */
  function requestBody(): string {
    if (body === undefined || body.length === 0 || request.withoutBodies || level !== 'Full') return '';
    const sent = createResultCapture(
      (members) => void stream.append('request.chunk', `${fragment},"seq":${seq}${members}`),
      'request',
    );
    sent.begin(maxResponseBytes, BODY_ENCODING, bodyReading(request.contentType));
    sent.take(body, 0, body.length);
    return sent.end();
  }

  const append = (verdict: Verdict | undefined, understanding: Understanding): void => {
    stream.append('command.received', commandReceived(fragment, seq, receivedMembers(verdict, understanding)));
  };

  return {
    received: append,
    denied(verdict, understanding, { code, message }, received) {
      if (!received) append(verdict, understanding);
      const rules = verdict?.decision.verdict === 'Allow' ? [] : (verdict?.decision.rules ?? []);
      // The message quotes what was asked for.
      const said = level === 'Metadata' ? { code, rules } : { code, message, rules };
      stream.append('command.denied', commandDenied(fragment, seq, said));
    },
    held(ticket: ApprovalTicket, { asked }: { readonly asked: readonly ApprovalRequirement[] }) {
      stream.append('command.held', commandHeld(fragment, seq, ticket.name, asked, ticket.hash));
    },
    released(_seq, { name, hash }, { state, members, ...release }) {
      stream.append('command.released', commandReleased(fragment, seq, name, state, { hash, ...release }) + members);
    },
    async flush(verdict) {
      const reads = verdict.command.statements.every(({ verb, operation }) => READS.has(verb) && operation === '');
      if (reads && !request.syncReads) stream.flush();
      else await stream.sync();
    },
    sync: () => stream.sync(),
    answerBegins(headers) {
      if (request.withoutBodies || level !== 'Full' || maxResponseBytes === 0) return undefined;
      const made = createResultCapture(
        (members) => void stream.append('result.chunk', `${fragment},"seq":${seq}${members}`),
      );
      const reading = bodyReading(field(headers, 'content-type'), field(headers, 'content-encoding'));
      made.begin(maxResponseBytes, BODY_ENCODING, reading);
      capture = made;
      return (chunk) => made.take(chunk, 0, chunk.length);
    },
    ended({ headers, ...end }) {
      const result = capture?.end() ?? '';
      capture = undefined;
      const outcome: ExchangeOutcome = {
        ...end,
        ...(headers === undefined ? {} : { headers: recordedHeaders(headers, 'response') }),
        durationMicros: (Date.now() - exchange.startedAt) * 1000,
        details: { kubernetes: { audit: auditEnd(audit.auditID, end.status, Date.now()) } },
      };
      stream.append(exchangeOutcomeType(outcome), exchangeOutcome(fragment, seq, outcome, level) + result);
    },
  };
}
