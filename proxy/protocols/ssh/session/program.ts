import type { SshOutcome } from '../../../../record/ssh-events.ts';
import { createOutputStage } from '../../../recording/output-stage.ts';
import type {
  ChannelObserver,
  ChannelOutlet,
  ChannelOwner,
  ChannelRequest,
  DataStream,
  OwnChannel,
  Side,
} from '../bridge/port.ts';
import { Refused, reportOf, reportText, type SshReport, sshError } from '../errors.ts';
import { isMachineProtocol } from '../output/unmaskable.ts';
import type { ChannelState } from './channel.ts';
import type { Admitted } from './run.ts';
import type { Session } from './session.ts';

/** A program of the target that was started for a client: how the bridge treats its channel, and what is told at its end. */
export interface Program {
  readonly forward: { readonly observer: ChannelObserver } | { readonly own: OwnChannel };
  /** The channel is over, for whatever reason. */
  close(): void;
}

export interface ProgramOptions {
  /** Said when `maxDuration` is over. */
  readonly overTime?: (seconds: number) => SshReport;
}

const ABORTED_STATUS = 126;

/**
 * Follows an admitted program from its start to its end: its limits, what it returns, its exit, and the outcome in the record.
 * Without masks and without limits the bridge only shows what passes.
 */
export function followProgram(
  session: Session,
  { channel, terminal }: ChannelState,
  { seq, verdict, limits, grant }: Admitted,
  { overTime = (seconds) => sshError('SPS010', seconds) }: ProgramOptions = {},
): Program {
  const startedAt = performance.now();
  const stage = createOutputStage({
    content: isMachineProtocol(verdict.command) ? undefined : session.masks.content,
    binary: session.judgement.scope.masks.binaryOutput,
    audit: session.connection.audit,
    ...{ stream: session.record.stream, session: session.record.session, seq },
    channel: channel.serial,
    terminal: terminal !== undefined,
    terminalFull: (bytes) => new Refused(sshError('SPS028', bytes)),
  });
  let returned = 0;
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
    if (from === 'client' && made.type === 'window-change') stage.resized(made.columns, made.rows);
  }

  const observer: ChannelObserver = {
    data(piece, from, stream) {
      if (from === 'client') stage.input(piece);
      else stage.output(piece, stream);
    },
    request,
  };

  const own: OwnChannel = (given) => {
    outlet = given;
    const owner: ChannelOwner = {
      data(piece, from, stream) {
        if (stopped !== undefined) return undefined;
        if (from === 'client') {
          stage.input(piece);
          return given.send('target', 'data', piece);
        }
        returned += piece.length;
        if (returned > maxBytesReturned) return stop(sshError('SPS011', maxBytesReturned));
        return show(stage.output(piece, stream), stream);
      },
      async end(from) {
        if (from === 'client' || stopped !== undefined) return;
        for (const { stream, bytes } of stage.end()) await given.send('client', stream, bytes);
        checkStage();
      },
      request,
    };
    return owner;
  };

  function show(pieces: readonly Buffer[], stream: DataStream): void | Promise<void> {
    const sent = pieces.map((bytes) => outlet?.send('client', stream, bytes));
    checkStage();
    return sent.at(-1);
  }

  /** What cannot be masked, or recorded, is not shown: nothing passes any more. */
  function checkStage(): void {
    if (stage.failure === undefined || stopped !== undefined) return;
    session.ports.failed(session.id, 'the output of a command could not be passed on', stage.failure);
    stop(reportOf(stage.failure));
  }

  function close(): void {
    if (over) return;
    over = true;
    clearTimeout(timer);
    const { counts, members } = stage.totals();
    const outcome = {
      channel: channel.serial,
      ...ending,
      ...(stopped === undefined ? {} : { code: stopped.code }),
      ...counts,
      durationMicros: (performance.now() - startedAt) * 1000,
    };
    session.record.ended(seq, outcome, members);
    // Of a command whose connection broke nobody knows what it did.
    if (grant === undefined) return;
    if (ending.exit !== undefined) session.holding.settle(grant, ending.exit === 0 ? 'Executed' : 'Failed');
    else if (ending.signal !== undefined || stopped !== undefined) session.holding.settle(grant, 'Failed');
  }

  const owned =
    stage.masks || terminal !== undefined || timer !== undefined || maxBytesReturned !== Number.POSITIVE_INFINITY;
  return { forward: owned ? { own } : { observer }, close };
}
