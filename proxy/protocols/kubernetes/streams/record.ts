import { type AuditLevel, sessionFragment } from '../../../../record/events.ts';
import type { RecordStream } from '../../../../record/port.ts';
import { type SshOutcome, sshOutcome, sshOutcomeType } from '../../../../record/ssh-events.ts';
import type { ProgramQuery } from './query.ts';

/** Events of streams have the members that those of programs over SSH have: whoever replays one, replays the other. */

/** A command has a stream of its own, so channels tell nothing apart. */
export const CHANNEL_NUMBER = 0;

/** A terminal whose size nobody has told yet: it comes with the first part of the recording. */
const TERMINAL = { columns: 80, rows: 24 };

/** Members of `command.received`, beginning with a comma. At `Metadata` nothing that the client wrote. */
export function programFacts(operation: 'Exec' | 'Attach', asked: ProgramQuery, level: AuditLevel): string {
  const { argv, container, tty } = asked;
  return tail({
    channel: CHANNEL_NUMBER,
    operation,
    ...(level === 'Metadata' || argv.length === 0 ? {} : { argv: [argv] }),
    ...(container === '' ? {} : { container }),
    ...(tty ? { terminal: TERMINAL } : {}),
  });
}

/** @param ports where they are known before a connection is made */
export function forwardFacts(ports: readonly number[]): string {
  return tail({
    channel: CHANNEL_NUMBER,
    operation: 'PortForward',
    ...(ports.length === 0 ? {} : { destination: ports.join(',') }),
  });
}

export interface StreamOutcome extends Omit<SshOutcome, 'channel'> {
  /** Of a Status without an exit code, such as `InternalError`. */
  readonly reason?: string;
  /** Ports that were connected to. */
  readonly ports?: readonly number[];
}

/** @param members more of the outcome, beginning with a comma */
export function recordOutcome(
  stream: RecordStream,
  session: string,
  seq: number,
  { reason, ports, ...outcome }: StreamOutcome,
  members = '',
): void {
  const more = tail({ ...(reason === undefined ? {} : { reason }), ...(ports === undefined ? {} : { ports }) });
  const told = { channel: CHANNEL_NUMBER, ...outcome };
  stream.append(sshOutcomeType(told), sshOutcome(sessionFragment(session), seq, told) + more + members);
}

function tail(members: object): string {
  const json = JSON.stringify(members);
  return json === '{}' ? '' : `,${json.slice(1, -1)}`;
}
