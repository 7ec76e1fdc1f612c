import { gateReport, type LaneReport, laneError } from '../errors.ts';
import type { Verdict } from '../judge.ts';
import * as encode from '../wire/encode.ts';
import { STATUS } from '../wire/messages.ts';
import { Approvals } from './approval.ts';
import type { AskedCommand } from './hold.ts';
import type { Obtainer, Stall } from './obtain.ts';
import { FAILING_SQL, type Outbound } from './outbound.ts';
import { Reply } from './replies.ts';
import type { LaneSession } from './session-state.ts';

/** How often a command under a limit of time that is not running yet is looked at. */
const PIPELINE_LOOK_MS = 20;

/**
 * From a verdict to a command that runs, is held or is denied: the same steps for both protocols, each with its record.
 */
export class Admission {
  readonly #session: LaneSession;
  readonly #out: Outbound;
  readonly #obtain: Obtainer;
  readonly approvals: Approvals;

  constructor(session: LaneSession, out: Outbound, obtain: Obtainer) {
    this.#session = session;
    this.#out = out;
    this.#obtain = obtain;
    this.approvals = new Approvals(session, out);
  }

  /** Why a command that was decided must not run. */
  refused(verdict: Verdict): LaneReport | undefined {
    if (verdict.denial !== undefined) return verdict.denial;
    const suspended = this.#session.ports.gate.suspension(this.#session.connection);
    return suspended === undefined ? undefined : gateReport(suspended);
  }

  /** Counts a command that is about to run. Preparing and binding are no commands. */
  overRate(verdict: Verdict): LaneReport | undefined {
    const rate = verdict.decision.limits.commandsPerMinute;
    if (rate === undefined || this.approvals.underWay) return undefined;
    const count = this.#session.ports.countCommand(this.#session.connection, this.#session.identity.subject.username);
    return count > rate ? laneError('SPG013', String(rate)) : undefined;
  }

  /** Undefined: no approval is needed, or it was given. */
  approval(verdict: Verdict, command: AskedCommand): LaneReport | Stall | undefined {
    return this.approvals.admit(verdict, command);
  }

  received(verdict: Verdict, command: AskedCommand): number {
    const session = this.#session;
    if (verdict.writes || session.ports.syncReads) this.#out.needsSync = true;
    const held = this.approvals.released(verdict, command);
    if (held !== undefined) {
      this.#out.needsSync = true;
      return held;
    }
    const number = ++session.commands;
    session.record.received(number, command.text, verdict, command.portal);
    return number;
  }

  runs(reply: Reply, verdict: Verdict, command: number): void {
    reply.verdict = verdict;
    reply.command = command;
    // It was put into the record just now.
    reply.startedAt = this.#session.record.stream.takenAt;
    this.#session.ranInBatch = true;
    this.approvals.outcomes.follow(reply);
    const seconds = verdict.decision.limits.maxDurationMs;
    if (seconds !== undefined) this.#watchDuration(reply, seconds);
    this.#out.push(reply);
    if (this.#obtain.fences(verdict)) this.#obtain.fenceNext = true;
  }

  #watchDuration(reply: Reply, milliseconds: number): void {
    const session = this.#session;
    const tooLong = (): void => {
      if (session.ended) return;
      reply.failed = true;
      reply.substitute = session.errorBytes(laneError('SPG012', String(milliseconds / 1000)));
      session.cancelForLimit();
    };
    // The time of what stands before it in the pipeline is not its own, and a cancel would hit that.
    const begin = (): void => {
      const running = session.replies.head === reply;
      timer = running ? setTimeout(tooLong, milliseconds) : setTimeout(begin, PIPELINE_LOOK_MS);
      timer.unref();
    };
    let timer = setTimeout(begin, 0);
    timer.unref();
    const settled = reply.settled;
    reply.settled = (ok) => {
      clearTimeout(timer);
      settled?.(ok);
    };
  }

  /** Sends Flush, waits for the count, and lets the server fail when it is too high. `then` goes on afterwards. */
  runLimited(reply: Reply, verdict: Verdict, command: number, then: () => void): void {
    const limit = verdict.decision.limits.maxRowsAffected!;
    reply.withholdComplete = true;
    const settled = new Promise<void>((resolve) => {
      reply.settled = (ok) => {
        // The completion is judged after the backend has finished with the message that settles it.
        queueMicrotask(() => {
          if (ok && reply.withheld !== undefined) this.#judgeCount(reply, limit);
          then();
          resolve();
        });
      };
    });
    this.runs(reply, verdict, command);
    this.#out.inject(encode.flush());
    this.#out.extended();
    this.#out.waitFor = settled;
  }

  #judgeCount(reply: Reply, limit: number): void {
    const session = this.#session;
    if (reply.rows <= limit) {
      session.client.write(reply.withheld!);
      return;
    }
    const failing = new Reply('parse');
    failing.substitute = session.errorBytes(laneError('SPG011', String(limit)));
    this.#out.push(failing);
    this.#out.inject(encode.parse('', FAILING_SQL));
  }

  /** A command that was held is in the record already. */
  recordDenied(text: string, verdict: Verdict | undefined, report: LaneReport): void {
    const session = this.#session;
    const held = this.approvals.denied();
    session.record.denied(held ?? ++session.commands, text, verdict, report, held !== undefined);
  }

  /** Denies a Query or Parse: answered here when nothing is under way, otherwise the server is made to fail in its place. */
  deny(kind: 'query' | 'parse', name: string, text: string, report: LaneReport, verdict: Verdict | undefined): void {
    const session = this.#session;
    this.recordDenied(text, verdict, report);
    const bytes = session.errorBytes(report);
    const idle = session.status === STATUS.idle && session.replies.size === 0 && !session.inBatch && !session.skipping;
    if (kind === 'query' && idle) {
      const answer = Buffer.concat([bytes, encode.readyForQuery(STATUS.idle)]);
      this.#out.waitFor = session.record.stream.sync().then(
        () => void session.client.write(answer),
        (error: Error) => session.recordFailed(error),
      );
      return;
    }
    this.#out.needsSync = true;
    const reply = new Reply(kind);
    reply.substitute = bytes;
    this.#out.push(reply);
    this.#out.inject(kind === 'query' ? encode.query(FAILING_SQL) : encode.parse(name, FAILING_SQL));
    if (kind === 'parse') this.#out.extended();
    else this.#out.batchEnded();
  }
}
