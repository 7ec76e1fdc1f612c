import type { SshOutcome, StreamTotal } from '../../../../record/ssh-events.ts';
import type {
  ChannelObserver,
  ChannelOutlet,
  ChannelOwner,
  ChannelRequest,
  DataStream,
  OwnChannel,
  Side,
} from '../bridge/port.ts';
import { reportOf, reportText, type SshReport, sshError } from '../errors.ts';
import type { ChannelState } from './channel.ts';
import type { Admitted } from './run.ts';
import type { Session } from './session.ts';

/** What stands between a program and its client: masks and records. One for each program. */
export interface OutputStage {
  /** What may go on, in place of the piece. @throws an error with a code: the program is ended, and the client reads why */
  output(piece: Buffer, stream: DataStream): readonly Buffer[] | Promise<readonly Buffer[]>;
  /** The program writes no more: what was kept back. @throws as `output` */
  end(): readonly OutputRest[];
  input(piece: Buffer): void;
  resized(columns: number, rows: number): void;
  /** For the record, once the channel is over. */
  totals(): Pick<SshOutcome, 'stdin' | 'stdout' | 'stderr' | 'masked'>;
}

export interface OutputRest {
  readonly stream: DataStream;
  readonly bytes: Buffer;
}

/** A program of the target that was started for a client: how the bridge treats its channel, and what is told at its end. */
export interface Program {
  readonly forward: { readonly observer: ChannelObserver } | { readonly own: OwnChannel };
  /** The channel is over, for whatever reason. */
  close(): void;
}

export interface ProgramOptions {
  readonly stage?: OutputStage;
  /** Said when `maxDuration` is over. */
  readonly overTime?: (seconds: number) => SshReport;
}

const ABORTED_STATUS = 126;

/**
 * Follows an admitted program from its start to its end: its limits, what it returns, its exit, and the outcome in the record.
 * Without a stage and without limits the bridge only shows what passes.
 */
export function followProgram(
  session: Session,
  { channel }: ChannelState,
  { seq, limits, grant }: Admitted,
  { stage, overTime = (seconds) => sshError('SPS010', seconds) }: ProgramOptions = {},
): Program {
  const startedAt = performance.now();
  const totals = { stdin: 0, stdout: 0, stderr: 0 };
  let ending: Pick<SshOutcome, 'exit' | 'signal' | 'coreDumped'> = {};
  let outlet: ChannelOutlet | undefined;
  let stopped: SshReport | undefined;
  let over = false;
  const { maxDurationMs, maxBytesReturned = Number.POSITIVE_INFINITY } = limits;
  const timer =
    maxDurationMs === undefined ? undefined : setTimeout(() => stop(overTime(maxDurationMs / 1000)), maxDurationMs);
  timer?.unref();

  function stop(report: SshReport): void {
    if (stopped !== undefined || over) return;
    stopped = report;
    outlet?.abort(reportText(report, session.id), ABORTED_STATUS);
  }

  function request(made: ChannelRequest, from: Side): void {
    if (from === 'target' && made.type === 'exit-status') ending = { exit: made.status };
    if (from === 'target' && made.type === 'exit-signal') ending = { signal: made.name, coreDumped: made.coreDumped };
    if (from === 'client' && made.type === 'window-change') stage?.resized(made.columns, made.rows);
  }

  function count(bytes: number, from: Side, stream: DataStream): boolean {
    if (from === 'client') totals.stdin += bytes;
    else if (stream === 'data') totals.stdout += bytes;
    else totals.stderr += bytes;
    return totals.stdout + totals.stderr <= maxBytesReturned;
  }

  const observer: ChannelObserver = {
    data: (piece, from, stream) => void count(piece.length, from, stream),
    request,
  };

  const own: OwnChannel = (given) => {
    outlet = given;
    const owner: ChannelOwner = {
      data(piece, from, stream) {
        if (stopped !== undefined) return undefined;
        if (!count(piece.length, from, stream)) return stop(sshError('SPS011', maxBytesReturned));
        if (from === 'client') {
          stage?.input(piece);
          return given.send('target', 'data', piece);
        }
        if (stage === undefined) return given.send('client', stream, piece);
        return show(() => stage.output(piece, stream), stream);
      },
      end(from) {
        if (from === 'client' || stage === undefined || stopped !== undefined) return undefined;
        try {
          return sendAll(stage.end());
        } catch (error) {
          return broken(error);
        }
      },
      request,
    };
    return owner;
  };

  async function sendAll(rests: readonly OutputRest[]): Promise<void> {
    for (const { stream, bytes } of rests) await outlet?.send('client', stream, bytes);
  }

  async function show(made: () => readonly Buffer[] | Promise<readonly Buffer[]>, stream: DataStream): Promise<void> {
    try {
      const pieces = await made();
      for (const bytes of pieces) await outlet?.send('client', stream, bytes);
    } catch (error) {
      broken(error);
    }
  }

  /** A stage that fails lets nothing pass any more. */
  function broken(error: unknown): void {
    const failure = error instanceof Error ? error : new Error(String(error));
    session.ports.failed(session.id, 'the output of a command could not be passed on', failure);
    stop(reportOf(failure));
  }

  function close(): void {
    if (over) return;
    over = true;
    clearTimeout(timer);
    const counted = { stdin: total(totals.stdin), stdout: total(totals.stdout), stderr: total(totals.stderr) };
    session.record.ended(seq, {
      channel: channel.serial,
      ...ending,
      ...(stopped === undefined ? {} : { code: stopped.code }),
      ...counted,
      ...stage?.totals(),
      durationMicros: (performance.now() - startedAt) * 1000,
    });
    // Of a command whose connection broke nobody knows what it did.
    if (grant === undefined) return;
    if (ending.exit !== undefined) session.holding.settle(grant, ending.exit === 0 ? 'Executed' : 'Failed');
    else if (ending.signal !== undefined || stopped !== undefined) session.holding.settle(grant, 'Failed');
  }

  const owned = stage !== undefined || timer !== undefined || maxBytesReturned !== Number.POSITIVE_INFINITY;
  return { forward: owned ? { own } : { observer }, close };
}

const total = (bytes: number): StreamTotal => ({ bytes });
