import type { Decision } from '../policy/decision.ts';
import { type AuditLevel, decisionFragment } from './events.ts';

/**
 * Members of events that only sessions of SSH have, or that say more there. What is decided on commands is recorded as in every lane
 * (`commandReceived`, `commandDenied`, `commandHeld`, `commandReleased` of events.ts). Whatever was typed is in none of them: stdin
 * shows its length and, from some length on, a digest.
 */

/** What policy calls the operation of a command: `Exec`, `Shell`, `LocalForward`, … */
export interface SshReceived {
  /** Serial of the channel in its connection, from 0. */
  readonly channel: number;
  readonly operation: string;
  /** Who runs it at the target. */
  readonly user: string;
  /** Simple commands of an exec that was understood, as policy judged them. */
  readonly argv?: readonly (readonly string[])[];
  /** Files that it reads or writes, where that is known. */
  readonly paths?: readonly string[];
  /** `HOST:PORT` or a socket's path, of a forward. */
  readonly destination?: string;
  /** The pseudo-terminal that it runs on. */
  readonly terminal?: TerminalSize & { readonly type: string };
  /** Variables that were passed on. */
  readonly env?: Readonly<Record<string, string>>;
}

export interface TerminalSize {
  readonly columns: number;
  readonly rows: number;
}

/** The rest of `command.received`, after `textFragment`. At `Metadata` nothing that the client wrote, the terminal's type included. */
export function sshFragment(received: SshReceived, level: AuditLevel): string {
  const { channel, operation, user, argv, paths, destination, terminal, env } = received;
  if (level === 'Metadata') {
    const size = terminal === undefined ? undefined : { columns: terminal.columns, rows: terminal.rows };
    return tail({ channel, operation, user, terminal: size });
  }
  return tail({ channel, operation, user, argv, paths, destination, terminal, env });
}

/** One stream of a command as the client got it or sent it. */
export interface StreamTotal {
  readonly bytes: number;
  /** Of all of it, in hex; absent where it would tell a short secret. */
  readonly sha256?: string;
  /** Bytes of it that the record holds, when not all. */
  readonly recorded?: number;
}

export interface SshOutcome {
  readonly channel: number;
  /** Exit status of the program. */
  readonly exit?: number;
  /** The signal that ended it, without `SIG` (RFC 4254, section 6.10). */
  readonly signal?: string;
  readonly coreDumped?: boolean;
  /** Our own code, when it was the gateway that ended it. */
  readonly code?: string;
  readonly stdin?: StreamTotal;
  readonly stdout?: StreamTotal;
  readonly stderr?: StreamTotal;
  /** A forward: bytes from and to the client. */
  readonly bytesIn?: number;
  readonly bytesOut?: number;
  readonly durationMicros: number;
  /** Values replaced, by rule or detector. */
  readonly masked?: ReadonlyMap<string, number>;
}

/** Members of `command.executed` (the program ended with a status, a forward was closed) and `command.failed` (a signal, or no status). */
export function sshOutcome(session: string, seq: number, outcome: SshOutcome): string {
  const { durationMicros, masked, stdout, stderr, bytesIn, bytesOut, ...rest } = outcome;
  const bytes = bytesOut ?? (stdout?.bytes ?? 0) + (stderr?.bytes ?? 0);
  const counts = masked === undefined || masked.size === 0 ? undefined : Object.fromEntries(masked);
  const us = Math.round(durationMicros);
  return `${session},"seq":${seq}${tail({ ...rest, bytes, bytesIn, bytesOut, stdout, stderr, us, masked: counts })}`;
}

/** `command.executed` or `command.failed`, by how it ended. */
export function sshOutcomeType(outcome: SshOutcome): 'command.executed' | 'command.failed' {
  const ended = outcome.exit !== undefined || (outcome.bytesOut !== undefined && outcome.code === undefined);
  return ended ? 'command.executed' : 'command.failed';
}

/** One request of a file protocol, decided, before it goes on. */
export interface FileOperationEvent {
  readonly channel: number;
  /** As in SFTP's own words: `open`, `remove`, `rename`, …; `send` and `receive` of scp. */
  readonly operation: string;
  readonly user: string;
  /** Absolute and normalised. */
  readonly accesses: readonly { readonly access: string; readonly path: string }[];
  readonly detail?: string;
  readonly decision: Decision;
  /** MaskingRules by which the contents are masked. */
  readonly masks?: readonly string[];
}

/** Members of `file.operation`. At `Metadata` without paths and detail. */
export function fileOperation(session: string, seq: number, event: FileOperationEvent, level: AuditLevel): string {
  const { channel, operation, user, accesses, detail, decision, masks } = event;
  const what =
    level === 'Metadata'
      ? { channel, operation, user, accesses: accesses.map(({ access }) => ({ access })) }
      : { channel, operation, user, accesses, detail };
  return `${session},"seq":${seq}${tail(what)}${decisionFragment(decision, masks)}`;
}

export interface FileDenied extends Omit<FileOperationEvent, 'masks'> {
  /** Our stable code. */
  readonly code: string;
  readonly message: string;
}

/** Members of `file.denied`: the one event of an operation that was not passed on. */
export function fileDenied(session: string, seq: number, event: FileDenied, level: AuditLevel): string {
  const { code, message } = event;
  const said = level === 'Metadata' ? { code } : { code, message };
  return fileOperation(session, seq, event, level) + tail(said);
}

export interface FileClosed {
  /** Status code of SFTP (0 OK, 2 no such file, …); absent when the channel ended before an answer. */
  readonly status?: number;
  readonly bytesRead?: number;
  readonly bytesWritten?: number;
  readonly sha256?: string;
  /** The channel ended with the file still open. */
  readonly interrupted?: boolean;
  readonly durationMicros?: number;
  readonly masked?: ReadonlyMap<string, number>;
}

/**
 * Members of `file.closed`: totals of a file that was open, or that the target refused an operation. An operation that succeeded and
 * moved no contents has no such event: `file.operation` says all of it.
 */
export function fileClosed(session: string, seq: number, event: FileClosed): string {
  const { durationMicros, masked, ...rest } = event;
  const us = durationMicros === undefined ? undefined : Math.round(durationMicros);
  const counts = masked === undefined || masked.size === 0 ? undefined : Object.fromEntries(masked);
  return `${session},"seq":${seq}${tail({ ...rest, us, masked: counts })}`;
}

/** `,"a":1,"b":2`: what is undefined is left out. */
function tail(rest: Readonly<Record<string, unknown>>): string {
  const json = JSON.stringify(rest);
  return json === '{}' ? '' : `,${json.slice(1, -1)}`;
}
