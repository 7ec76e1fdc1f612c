import type { CommandView } from '../../record/commands.ts';
import { neutralise } from '../../record/display.ts';
import type { SessionSummary } from '../../record/sessions.ts';
import { wrap } from '../replay/cells.ts';
import { clientWords } from '../replay/exchange-words.ts';
import { fileWords, statusWords } from '../replay/program-words.ts';
import { sessionFacts } from '../replay/session-facts.ts';
import { table } from '../table.ts';

/** Sessions as a table, the oldest first. Every cell is safe on a terminal. */
export function sessionTable(sessions: readonly SessionSummary[]): string {
  const head = ['SESSION', 'WHO', 'CONNECTION', 'START', 'DURATION', 'COMMANDS', 'DENIED', 'STATE'];
  const rows = sessions.map((session) =>
    [
      session.session,
      session.who ?? '-',
      session.connection,
      seconds(session.start),
      session.durationMs === undefined ? '-' : duration(session.durationMs * 1000),
      String(session.commands),
      String(session.denied),
      session.state,
    ].map(neutralise),
  );
  return table([head, ...rows]);
}

/** A client's own words must not begin a line. */
const HEAD_WIDTH = 64;

/** What stands above the commands of a session. */
export function sessionHead(session: SessionSummary): string {
  const facts = [['Session', session.session] as const, ...sessionFacts(session)];
  return facts
    .map(
      ([name, value]) => `${`${name}:`.padEnd(14)}${wrap(neutralise(value), HEAD_WIDTH).join(`\n${' '.repeat(14)}`)}\n`,
    )
    .join('');
}

/** One command: in a line what became of it and by which rule, below it its text, and where they are other words, those of its client. */
export function commandLines(command: CommandView): string {
  const facts = [
    `#${command.seq}`,
    command.time.slice(11, 26),
    command.outcome === 'unknown' ? 'outcome unknown' : command.outcome,
    command.verdict === undefined || command.outcome === 'denied' ? undefined : `by ${verdict(command)}`,
    command.outcome === 'denied' ? denial(command) : undefined,
    command.sqlstate ?? command.code,
    command.exit === undefined ? undefined : `exit ${command.exit}`,
    command.signal === undefined ? undefined : `killed by ${command.signal}`,
    statusOf(command),
    command.requestBytes === undefined || command.requestBytes === 0 ? undefined : `${command.requestBytes} B sent`,
    command.bytesRead === undefined ? undefined : `${command.bytesRead} B read`,
    command.bytesWritten === undefined ? undefined : `${command.bytesWritten} B written`,
    command.rows === undefined ? undefined : `${command.rows} ${command.rows === 1 ? 'row' : 'rows'}`,
    command.bytes === undefined ? undefined : `${command.bytes} B`,
    command.durationMicros === undefined ? undefined : duration(command.durationMicros),
    command.masked === undefined ? undefined : `masked ${masked(command.masked)}`,
  ];
  const line = facts
    .filter((fact) => fact !== undefined)
    .map(neutralise)
    .join('  ');
  const what = command.text ?? fileWords(command.operation, command.accesses);
  const below = [...clientWords(command.details), ...(what === undefined ? [] : [what])];
  return [line, ...below.map((one) => `    ${neutralise(one)}`)].map((one) => `${one}\n`).join('');
}

/** Of HTTP as it is; of files only where it is no success. */
function statusOf({ status, method }: CommandView): string | undefined {
  if (status === undefined) return undefined;
  if (method !== undefined) return `status ${status}`;
  return status <= 1 ? undefined : statusWords(status);
}

function verdict(command: CommandView): string {
  const observed = command.observed === undefined ? '' : ` (observed: ${command.observed})`;
  const rules = command.rules?.join(', ') ?? '';
  return `${command.verdict}${observed} ${rules}`.trimEnd();
}

function denial(command: CommandView): string {
  const rules =
    command.rules === undefined || command.rules.length === 0 ? 'no rule allows it' : command.rules.join(', ');
  const what = command.denied === undefined ? '' : `${command.denied}: `;
  return `${what}${rules}${command.message === undefined ? '' : ` (${command.message})`}`;
}

function masked(counts: Readonly<Record<string, number>>): string {
  return Object.entries(counts)
    .map(([name, count]) => `${name} ×${count}`)
    .join(', ');
}

/** `2026-03-01 10:11:12` of an RFC 3339 time: UTC, as all times of the record. */
function seconds(time: string): string {
  return time.slice(0, 19).replace('T', ' ');
}

/** `412 µs`, `3.1 ms`, `12 s`, `4 min`, `3.5 h`. */
export function duration(micros: number): string {
  if (micros < 1_000) return `${Math.round(micros)} µs`;
  if (micros < 1_000_000) return `${short(micros / 1_000)} ms`;
  if (micros < 120_000_000) return `${short(micros / 1_000_000)} s`;
  if (micros < 7_200_000_000) return `${short(micros / 60_000_000)} min`;
  return `${short(micros / 3_600_000_000)} h`;
}

function short(value: number): string {
  return value < 10 ? value.toFixed(1) : String(Math.round(value));
}
