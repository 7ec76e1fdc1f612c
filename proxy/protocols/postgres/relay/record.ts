import { performance } from 'node:perf_hooks';
import type { CompiledConnection } from '../../../../policy/bundle.ts';
import type { ApprovalRequirement } from '../../../../policy/decision.ts';
import {
  commandDenied,
  commandFailed,
  commandHeld,
  commandReceived,
  commandReleased,
  decisionFragment,
  type Release,
  sessionFragment,
  textFragment,
  writeExecuted,
  writeParameters,
  writeText,
} from '../../../../record/events.ts';
import { type EventHead, eventHead } from '../../../../record/format.ts';
import type { CommandStream, RecordEventType } from '../../../../record/port.ts';
import type { ApprovalTicket } from '../../../ports.ts';
import { createResultCapture, type ResultCapture } from '../../../recording/result-capture.ts';
import type { LaneReport } from '../errors.ts';
import type { Verdict } from '../judge.ts';
import { withoutSecrets } from '../sql/secrets.ts';
import type { Portal, Reply } from './replies.ts';

/** Bytes of bound values that one event shows; of more, only the lengths are. */
const SHOWN_VALUES = 65_536;
const ROWS = 'postgres-messages+base64';

/** Writes one session's events. What repeats is made once. */
export class SessionRecord {
  readonly stream: CommandStream;
  readonly #session: string;
  readonly #receivedHead: EventHead;
  readonly #executedHead: EventHead;
  readonly #level: CompiledConnection['audit']['level'];
  readonly #maxResponse: number;
  readonly #capture: ResultCapture;
  #capturing = false;
  #capturedFor = 0;
  denials = 0;

  constructor(stream: CommandStream, sessionId: string, audit: CompiledConnection['audit']) {
    this.stream = stream;
    this.#session = sessionFragment(sessionId);
    this.#receivedHead = eventHead('command.received', `${this.#session},"seq":`);
    this.#executedHead = eventHead('command.executed', `${this.#session},"seq":`);
    this.#level = audit.level;
    this.#maxResponse = audit.level === 'Full' ? audit.maxResponseBytes : 0;
    this.#capture = createResultCapture((members) => {
      stream.append('result.chunk', `${this.#session},"seq":${this.#capturedFor}${members}`);
    });
  }

  get capturesResults(): boolean {
    return this.#maxResponse > 0;
  }

  event(type: RecordEventType, members: string): void {
    this.stream.append(type, members);
  }

  /** A statement that is only prepared: written before its Parse is forwarded. */
  parsed(text: string, verdict: Verdict): void {
    this.stream.append(
      'statement.parsed',
      this.#session + textFragment(text, this.#level, withoutSecrets) + verdict.recordMembers,
    );
  }

  received(seq: number, text: string, verdict: Verdict, portal: Portal | undefined): void {
    const line = this.stream.begin(this.#receivedHead);
    line.integer(seq);
    if (text === verdict.analysis.command.text) {
      // A text that is run again is made ready for the record once.
      verdict.recordBytes ??= Buffer.from(textFragment(text, this.#level, withoutSecrets) + verdict.recordMembers);
      line.copy(verdict.recordBytes);
    } else {
      writeText(line, text, this.#level, withoutSecrets);
      verdict.decisionBytes ??= Buffer.from(verdict.recordMembers);
      line.copy(verdict.decisionBytes);
    }
    if (portal !== undefined) writeParameters(line, portal.bound, this.#level, SHOWN_VALUES);
    this.stream.end();
  }

  /** It waits for people, or will have to come again once they have decided. */
  held(seq: number, { name, hash }: ApprovalTicket, requirements: readonly ApprovalRequirement[]): void {
    this.stream.append('command.held', commandHeld(this.#session, seq, name, requirements, hash));
  }

  /** @param members what is decided on the command now, as `recordMembers` of its verdict */
  released(
    seq: number,
    { name, hash }: ApprovalTicket,
    { state, members, ...release }: Release & { readonly state: string; readonly members: string },
  ): void {
    const event = commandReleased(this.#session, seq, name, state, { hash, ...release });
    this.stream.append('command.released', event + members);
  }

  /** @param received it is in the record already, since it was held */
  denied(seq: number, text: string, verdict: Verdict | undefined, report: LaneReport, received = false): void {
    this.denials++;
    if (!received) {
      const shown = textFragment(text, this.#level, withoutSecrets);
      const decided = verdict === undefined ? '' : decisionFragment(verdict.decision);
      this.stream.append('command.received', commandReceived(this.#session, seq, shown + decided));
    }
    const rules = verdict?.decision.verdict === 'Allow' ? [] : (verdict?.decision.rules ?? []);
    const code =
      verdict?.analysis.refusal !== undefined && verdict.denial === report
        ? verdict.analysis.refusal.code
        : report.code;
    this.stream.append('command.denied', commandDenied(this.#session, seq, { code, message: report.message, rules }));
  }

  /** A response is being captured: its rows are that of one command until it is executed or failed. */
  get capturing(): boolean {
    return this.#capturing;
  }

  /** @param columns `,"columns":…` as ResultColumns gives it, or nothing */
  beginCapture(seq: number, columns: string): void {
    this.#capturing = true;
    this.#capturedFor = seq;
    this.#capture.begin(this.#maxResponse, ROWS, columns);
  }

  /** Rows of the response, after masking. */
  capture(bytes: Buffer, start: number, end: number): void {
    this.#capture.take(bytes, start, end);
  }

  #result(): string {
    if (!this.#capturing) return '';
    this.#capturing = false;
    return this.#capture.end();
  }

  executed(reply: Reply, rows: number, masked: ReadonlyMap<string, number> | undefined): void {
    // What is left of a long result is an event of its own, before this one.
    const short = this.#capturing && this.#capture.finish();
    this.#capturing = false;
    const line = this.stream.begin(this.#executedHead);
    line.integer(reply.command);
    writeExecuted(line, rows, reply.bytes, (this.stream.takenAt - reply.startedAt) * 1000, masked);
    if (short) this.#capture.write(line);
    this.stream.end();
  }

  failed(reply: Reply, sqlstate: string): void {
    const result = this.#result();
    const event = {
      sqlstate,
      rows: reply.rows,
      bytes: reply.bytes,
      durationMicros: (performance.now() - reply.startedAt) * 1000,
    };
    this.stream.append('command.failed', commandFailed(this.#session, reply.command, event) + result);
  }
}
