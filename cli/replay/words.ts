import type { ResultEnd } from '../../record/replay/results.ts';
import type { Parameter, ReplayStep, Requirement, StepOutcome, Vote } from '../../record/replay/steps.ts';
import { duration } from '../commands/sessions-format.ts';

/** What the terminal and the page say alike, in words. Not yet safe to show: whoever shows it escapes it. */

/** `01:02.345`, with hours when there are any. */
export function clock(micros: number): string {
  const millis = Math.floor(micros / 1000);
  const two = (value: number): string => String(value).padStart(2, '0');
  const seconds = Math.floor(millis / 1000);
  const hours = Math.floor(seconds / 3600);
  const rest = `${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}.${String(millis % 1000).padStart(3, '0')}`;
  return hours === 0 ? rest : `${two(hours)}:${rest}`;
}

type Opened = Extract<ReplayStep, { kind: 'opened' }>;

export function openedWords({ who, onBehalfOf, client, application, database, user, mode }: Opened): readonly string[] {
  return [
    who,
    onBehalfOf === undefined ? undefined : `on behalf of ${onBehalfOf}`,
    client === undefined ? undefined : `from ${client}`,
    application === undefined || application === '' ? undefined : `with ${application}`,
    database === undefined ? undefined : `database ${database}`,
    user === undefined ? undefined : `as ${user}`,
    mode === undefined || mode === 'Enforce' ? undefined : mode,
  ].filter((fact) => fact !== undefined);
}

/** What there is to say of a result beside its rows. @param shown rows of it that are shown */
export function resultWords({ recorded, bytes, problem, rows }: ResultEnd, shown: number): readonly string[] {
  return [
    rows <= shown ? undefined : `${rows - shown} more of ${rows} recorded rows`,
    recorded === undefined
      ? undefined
      : `${recorded} of ${bytes ?? '?'} bytes are recorded, of the rest its length and SHA-256`,
    problem === undefined ? undefined : `not shown: ${problem}`,
  ].filter((note) => note !== undefined);
}

export function ruleWords(rules: readonly string[]): string {
  return rules.length === 0 ? 'no rule' : rules.join(', ');
}

export function maskedWords(masked: StepOutcome['masked']): string | undefined {
  const entries = Object.entries(masked);
  return entries.length === 0 ? undefined : `masked ${entries.map(([name, count]) => `${name} ×${count}`).join(', ')}`;
}

export function outcomeWords({ rows, bytes, micros, masked }: StepOutcome): readonly string[] {
  return [
    rows === undefined ? undefined : `${rows} ${rows === 1 ? 'row' : 'rows'}`,
    bytes === undefined ? undefined : `${bytes} B`,
    micros === undefined ? undefined : duration(micros),
    maskedWords(masked),
  ].filter((fact) => fact !== undefined);
}

/** Bytes of one value that are shown. */
const SHOWN = 200;

export function parameterWords(parameters: readonly Parameter[]): string {
  return parameters.map((value, index) => `$${index + 1} = ${parameterWord(value)}`).join(', ');
}

function parameterWord(value: Parameter): string {
  if (value === null) return 'NULL';
  if (typeof value === 'string') return `'${cut(value)}'`;
  if ('base64' in value) return `\\x${cut(Buffer.from(value.base64, 'base64').toString('hex'))}`;
  return `(${value.bytes} bytes)`;
}

const cut = (text: string): string => (text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text);

export function requirementWords(requirements: readonly Requirement[]): string {
  return requirements
    .map(
      ({ rule, requiredApprovals = 1 }) =>
        `${requiredApprovals} ${requiredApprovals === 1 ? 'approval' : 'approvals'} (${rule})`,
    )
    .join(' and ');
}

/** A request that ended without approval let nothing go. @param state of the request */
export const releasedWord = (state: string | undefined): string =>
  state === undefined || RAN.has(state) ? 'released' : 'not released';
const RAN: ReadonlySet<string> = new Set(['Approved', 'Consumed', 'Executed']);

export function voteWords({ voter, verdict, at, reason }: Vote): string {
  const when = at === undefined ? '' : ` at ${at}`;
  return `${verdict ?? 'approved'} by ${voter}${when}${reason === undefined || reason === '' ? '' : `: ${reason}`}`;
}
