import { sessionFragment } from '../../../../record/events.ts';
import { createOutputStage } from '../../../recording/output-stage.ts';
import { type KubernetesReport, Refused, reportOf } from '../errors.ts';
import type { CommandClient, CommandUpstream, CommandUpstreamHandlers } from './command-port.ts';
import { streamError } from './errors.ts';
import type { StreamAdmitted, StreamCall } from './port.ts';
import { type ProgramStatus, readStatus, withMessage } from './program-status.ts';
import type { ProgramQuery } from './query.ts';
import { CHANNEL_NUMBER, recordOutcome } from './record.ts';
import type { TerminalSize } from './terminal-size.ts';
import { lines, reportLines, statusBytes } from './told.ts';

/** A program of a container that was admitted, from its start to its end: limits, masks, the record. */
export interface Program {
  /** Of the side of the API server. */
  readonly handlers: CommandUpstreamHandlers;
  stdin(bytes: Buffer): void;
  resized(size: TerminalSize): void;
  started(upstream: CommandUpstream): void;
  /** It ends now, for a reason that its client reads. */
  stop(report: KubernetesReport): void;
  /** Nobody is there any more. */
  clientGone(): void;
  /** The API server ran nothing. @param code ours, or the status of its answer */
  notStarted(code: string): void;
  /** It is over, and in the record. */
  readonly over: Promise<void>;
}

export interface ProgramOptions {
  readonly call: StreamCall;
  readonly asked: ProgramQuery;
  readonly admitted: StreamAdmitted;
  readonly client: () => CommandClient;
  /** The client shows what is written on stderr, and no Status. */
  readonly toStderr: boolean;
}

/** Longest Status. */
const MOST_STATUS_BYTES = 64 * 1024;
/** What people agreed to does not last for ever where no rule says how long: a terminal that somebody types into. */
const APPROVED_TERMINAL_MS = 3_600_000;

export function followProgram({ call, asked, admitted, client, toStderr }: ProgramOptions): Program {
  const { session } = call;
  const { seq, limits, content, binary, granted } = admitted;
  const startedAt = performance.now();
  const over = Promise.withResolvers<void>();
  const stage = createOutputStage({
    ...{ content, binary, audit: session.audit, stream: session.stream, seq },
    session: sessionFragment(session.id),
    channel: CHANNEL_NUMBER,
    terminal: asked.tty,
    terminalFull: (bytes) => new Refused(streamError('SPL103', bytes)),
  });
  let upstream: CommandUpstream | undefined;
  let told = Buffer.alloc(0);
  let status: ProgramStatus | undefined;
  let stopped: KubernetesReport | undefined;
  let code: string | undefined;
  let returned = 0;
  let ended = false;
  const interactive = asked.tty && asked.stdin;
  const { maxBytesReturned = Number.POSITIVE_INFINITY } = limits;
  const maxDurationMs = limits.maxDurationMs ?? (granted && interactive ? APPROVED_TERMINAL_MS : undefined);
  const timer =
    maxDurationMs === undefined
      ? undefined
      : setTimeout(() => stop(streamError('SPL101', maxDurationMs / 1000)), maxDurationMs).unref();

  function stop(report: KubernetesReport): void {
    if (ended || stopped !== undefined) return;
    stopped = report;
    end();
  }

  function show(pieces: readonly Buffer[], stream: 'data' | 'stderr'): Promise<void> | undefined {
    let last: Promise<void> | undefined;
    for (const bytes of pieces) last = client().output(stream, bytes);
    if (stage.failure !== undefined) {
      session.failed('the output of a command could not be passed on', stage.failure);
      stop(reportOf(stage.failure));
    }
    return last;
  }

  /** Everything that it wrote has come. */
  function statusReceived(bytes: Buffer): void {
    if (ended || told.length + bytes.length > MOST_STATUS_BYTES) return;
    told = Buffer.concat([told, bytes]);
    status = readStatus(told);
    if (status === undefined) return;
    for (const { stream, bytes: rest } of stage.end()) show([rest], stream);
    if (stage.failure === undefined) end();
  }

  /** What the API server says of a command may quote what it printed. */
  function masked(bytes: Buffer): Buffer {
    const message = status?.message ?? '';
    const shown = content?.maskText(message);
    return shown === undefined ? bytes : withMessage(bytes, shown);
  }

  function tell(): void {
    const report = stopped ?? (status === undefined ? streamError('SPL105') : undefined);
    if (report === undefined) {
      client().finish(masked(told));
      return;
    }
    if (toStderr) client().output(asked.tty ? 'data' : 'stderr', lines(reportLines(report, session.id), asked.tty));
    client().finish(statusBytes(report, call));
  }

  function end({ silent = false } = {}): void {
    if (ended) return;
    ended = true;
    clearTimeout(timer);
    upstream?.close();
    if (!silent) tell();
    finish();
  }

  function finish(): void {
    const { counts, members } = stage.totals();
    const exit = stopped === undefined ? status?.exit : undefined;
    const why = stopped?.code ?? code ?? (status === undefined ? 'SPL105' : undefined);
    recordOutcome(
      session.stream,
      session.id,
      seq,
      {
        ...(exit === undefined ? {} : { exit }),
        ...(why === undefined ? {} : { code: why }),
        ...(exit !== undefined || status === undefined ? {} : { reason: status.reason }),
        ...counts,
        durationMicros: (performance.now() - startedAt) * 1000,
      },
      members,
    );
    // Of a command whose connection broke nobody knows what it did.
    if (granted && exit !== undefined) admitted.settle(exit === 0 ? 'Executed' : 'Failed');
    else if (granted && (stopped !== undefined || status !== undefined)) admitted.settle('Failed');
    over.resolve();
  }

  return {
    over: over.promise,
    handlers: {
      output(stream, bytes) {
        if (ended) return undefined;
        returned += bytes.length;
        if (returned > maxBytesReturned) {
          stop(streamError('SPL102', maxBytesReturned));
          return undefined;
        }
        return show(stage.output(bytes, stream), stream);
      },
      status: statusReceived,
      closed: (error) => {
        if (error !== undefined && !ended) session.failed('a stream from the API server broke off', error);
        if (!ended) for (const { stream, bytes } of stage.end()) show([bytes], stream);
        end();
      },
    },
    stdin: stage.input,
    resized: ({ columns, rows }) => stage.resized(columns, rows),
    started(made) {
      upstream = made;
      if (ended) made.close();
    },
    stop,
    clientGone() {
      code = 'SPL106';
      end({ silent: true });
    },
    notStarted(why) {
      // It was stopped before it had begun.
      if (ended) return;
      code = why;
      if (granted) admitted.settle('Failed');
      ended = true;
      clearTimeout(timer);
      recordOutcome(session.stream, session.id, seq, {
        code: why,
        ...stage.totals().counts,
        durationMicros: (performance.now() - startedAt) * 1000,
      });
      over.resolve();
    },
  };
}
