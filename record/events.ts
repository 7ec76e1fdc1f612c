import { isUtf8 } from 'node:buffer';
import type { CompiledConnection } from '../policy/bundle.ts';
import type { ApprovalRequirement, Decision, RuleRef } from '../policy/decision.ts';
import type { Subject } from '../policy/subject.ts';
import type { LineWriter } from './line-writer.ts';

/**
 * Builders of event members: strings for `RecordStream.append`, without braces. What repeats (a session, a decision, a cached
 * text) is made once by a `…Fragment` function and kept by the lane; the hot path then only joins strings.
 */

export type AuditLevel = CompiledConnection['audit']['level'];

/** What a client says of itself is free text: this much of it is kept, in UTF-16 units. */
const CLAIMED_CHARACTERS = 256;

/** `"session":"ID"`: begins the members of every event that belongs to a session. */
export function sessionFragment(session: string): string {
  return `"session":${JSON.stringify(session)}`;
}

export interface SessionStart {
  readonly session: string;
  readonly connection: Pick<CompiledConnection, 'namespace' | 'name' | 'uid' | 'protocol' | 'mode'>;
  /** `ADDRESS:PORT` of the peer. */
  readonly client: string;
  /** Known here when identity came before the session, as it does with PostgreSQL. */
  readonly subject?: Subject;
  /** As claimed by the client; decides nothing. */
  readonly application?: string;
  readonly database?: string;
  /** SSH: the user on the target. */
  readonly user?: string;
  readonly bundle: string;
}

/** Members of `session.start`. */
export function sessionStart(start: SessionStart): string {
  const { namespace, name, uid, protocol, mode } = start.connection;
  return members(start.session, {
    connection: { namespace, name, uid },
    protocol,
    mode,
    ...(start.subject === undefined ? {} : { who: who(start.subject) }),
    client: start.client,
    application: claimed(start.application),
    database: start.database,
    user: start.user,
    bundle: start.bundle,
  });
}

export interface SessionAuthenticated {
  readonly session: string;
  readonly subject: Subject;
  /** Such as `password`, `OAUTHBEARER`. */
  readonly method: string;
  /** `jti` or a digest of the token; never the token. */
  readonly tokenId: string;
  readonly sessionExpiresAt: Date;
}

/** Members of `session.authenticated`. */
export function sessionAuthenticated(event: SessionAuthenticated): string {
  return members(event.session, {
    who: who(event.subject),
    method: event.method,
    tokenId: event.tokenId,
    expires: event.sessionExpiresAt.toISOString(),
    groups: event.subject.groups,
  });
}

export interface SessionRefused {
  readonly session: string;
  readonly client: string;
  /** Stable code of the error, such as `SPI004`. */
  readonly code: string;
  readonly message: string;
  readonly subject?: Subject;
  /** The user name as sent: free text that decides nothing. */
  readonly claimedUser?: string;
}

/** Members of `session.refused`: no session came of it. */
export function sessionRefused(event: SessionRefused): string {
  return members(event.session, {
    client: event.client,
    code: event.code,
    message: event.message,
    ...(event.subject === undefined ? {} : { who: who(event.subject) }),
    claimedUser: claimed(event.claimedUser),
  });
}

export interface SessionEnd {
  readonly session: string;
  /** Such as `client closed`, `token expired`, `drained`. */
  readonly reason: string;
  readonly code?: string;
  readonly commands: number;
  readonly denied: number;
}

/** Members of `session.end`. */
export function sessionEnd(event: SessionEnd): string {
  return members(event.session, {
    reason: event.reason,
    code: event.code,
    commands: event.commands,
    denied: event.denied,
  });
}

/** Replaces secrets in a statement, such as the literal of `ALTER ROLE … PASSWORD`. The lane's: it knows the language. */
export type Redact = (text: string) => string;

/** The text of a command as its connection's audit level records it: empty at `Metadata`. */
export function textFragment(text: string, level: AuditLevel, redact: Redact): string {
  switch (level) {
    case 'Metadata':
      return '';
    case 'Commands':
    case 'Full':
      return `,"text":${JSON.stringify(redact(text))}`;
    default:
      return unreachable(level);
  }
}

/** Writes what `textFragment` returns. */
export function writeText(line: LineWriter, text: string, level: AuditLevel, redact: Redact): void {
  if (level === 'Metadata') return;
  line.copy(TEXT);
  line.text(JSON.stringify(redact(text)));
}

const TEXT = Buffer.from(',"text":');

/** What was decided, by which rules, with which limits and masking rules. Depends on the decision alone. */
export function decisionFragment(decision: Decision, masks: readonly string[] = []): string {
  const limits = Object.keys(decision.limits).length === 0 ? undefined : decision.limits;
  return tail({
    verdict: decision.verdict,
    observed: decision.observed,
    rules: decision.rules.map(ruleName),
    limits,
    masks: masks.length === 0 ? undefined : masks,
  });
}

/** Text and decision in one, for a cache by exact text. */
export function receivedFragment(
  text: string,
  decision: Decision,
  level: AuditLevel,
  redact: Redact,
  masks: readonly string[] = [],
): string {
  return textFragment(text, level, redact) + decisionFragment(decision, masks);
}

/**
 * Members of `command.received`; with an Allow, also the decision.
 * @param seq the command's number in the session, from 1
 * @param received `receivedFragment`, or `textFragment` + `decisionFragment`
 */
export function commandReceived(session: string, seq: number, received: string): string {
  return `${session},"seq":${seq}${received}`;
}

/** Values of a message, where they lie in it. */
export interface BoundValues {
  readonly bytes: Buffer;
  /** What `start` counts from. */
  readonly origin: number;
  /** Length -1: NULL. Format 0 text, 1 binary. */
  readonly places: readonly { readonly start: number; readonly length: number; readonly format: 0 | 1 }[];
}

/**
 * Bound parameters: text where they are valid UTF-8 in text format, else base64; beyond `maxBytes` in all, their length alone.
 * Nothing at `Metadata`.
 */
export function writeParameters(line: LineWriter, values: BoundValues, level: AuditLevel, maxBytes: number): void {
  const { bytes, origin, places } = values;
  if (level === 'Metadata' || places.length === 0) return;
  let room = maxBytes;
  line.copy(PARAMETERS);
  for (let i = 0; i < places.length; i++) {
    const { start, length, format } = places[i]!;
    if (i > 0) line.copy(COMMA);
    if (length < 0) {
      line.text('null');
      continue;
    }
    room -= length;
    const from = start - origin;
    if (room < 0) line.text(`{"bytes":${length}}`);
    else if (format === 1) line.text(binaryValue(bytes, from, from + length));
    else writeTextValue(line, bytes, from, from + length);
  }
  line.copy(BRACKET);
}

const PARAMETERS = Buffer.from(',"parameters":[');
const COMMA = Buffer.from(',');
const BRACKET = Buffer.from(']');

function binaryValue(bytes: Buffer, start: number, end: number): string {
  return `{"base64":"${bytes.toString('base64', start, end)}"}`;
}

/** Up to here looking at each byte is faster than having the engine do it. */
const SHORT_VALUE = 64;

function writeTextValue(line: LineWriter, bytes: Buffer, start: number, end: number): void {
  if (end - start <= SHORT_VALUE && line.plain(bytes, start, end)) return;
  // Not text after all, such as SQL_ASCII bytes: shown as bytes.
  if (!isUtf8(bytes.subarray(start, end))) line.text(binaryValue(bytes, start, end));
  else line.text(JSON.stringify(bytes.toString('utf8', start, end)));
}

export interface CommandDenied {
  /** Stable code or SQLSTATE that the client was given. */
  readonly code: string;
  /** `Delete on public.orders`. */
  readonly denied?: string;
  readonly message?: string;
  readonly rules: readonly RuleRef[];
}

/** Members of `command.denied`. `session` as `sessionFragment` gives it, here and below. */
export function commandDenied(session: string, seq: number, event: CommandDenied): string {
  const { code, denied, message, rules } = event;
  return `${session},"seq":${seq}${tail({ code, denied, message, rules: rules.map(ruleName) })}`;
}

/** Members of `command.held`: it waits for people. */
export function commandHeld(
  session: string,
  seq: number,
  name: string,
  requirements: readonly ApprovalRequirement[],
  hash?: string,
): string {
  const needed = requirements.map(({ rule, requiredApprovals }) => ({ rule: ruleName(rule), requiredApprovals }));
  return `${session},"seq":${seq}${tail({ request: name, hash, requirements: needed })}`;
}

/** How the wait of a held command ended. */
export interface Release {
  readonly hash?: string;
  /** Of a command that runs now: who approved it. */
  readonly votes?: readonly { readonly voter: string; readonly at: string; readonly reason?: string }[];
  /** Of one that does not: why. */
  readonly reason?: string;
}

/** Members of `command.released`. @param state `Consumed`: it runs now; otherwise `Denied`, `Expired` or `Withdrawn` */
export function commandReleased(
  session: string,
  seq: number,
  name: string,
  state: string,
  { hash, votes, reason }: Release = {},
): string {
  return `${session},"seq":${seq}${tail({ request: name, state, hash, votes, reason })}`;
}

/** What the target did: rows and bytes of the result as the client got it. */
export interface Outcome {
  readonly rows: number;
  readonly bytes: number;
  readonly durationMicros: number;
  /** Values replaced, by rule or detector. */
  readonly masked?: ReadonlyMap<string, number>;
}

/** Members of `command.executed`. */
export function commandExecuted(session: string, seq: number, outcome: Outcome): string {
  const { rows, bytes, durationMicros, masked } = outcome;
  const counts = maskedFragment(masked);
  return `${session},"seq":${seq},"rows":${rows},"bytes":${bytes},"us":${Math.round(durationMicros)}${counts}`;
}

/** The members of `Outcome` alone, for a lane to which strings and an object for each command are too dear. */
export function writeExecuted(
  line: LineWriter,
  rows: number,
  bytes: number,
  durationMicros: number,
  masked: Outcome['masked'] | undefined,
): void {
  line.copy(ROWS);
  line.integer(rows);
  line.copy(BYTES);
  line.integer(bytes);
  line.copy(MICROS);
  line.integer(Math.round(durationMicros));
  const counts = maskedFragment(masked);
  if (counts !== '') line.text(counts);
}

const ROWS = Buffer.from(',"rows":');
const BYTES = Buffer.from(',"bytes":');
const MICROS = Buffer.from(',"us":');

function maskedFragment(masked: Outcome['masked'] | undefined): string {
  return masked === undefined || masked.size === 0 ? '' : `,"masked":${JSON.stringify(Object.fromEntries(masked))}`;
}

export interface CommandFailed extends Partial<Outcome> {
  readonly sqlstate?: string;
  /** Our own code, when it was the gateway that ended the command. */
  readonly code?: string;
}

/** Members of `command.failed`. The target's message is left out: it may quote protected values. */
export function commandFailed(session: string, seq: number, event: CommandFailed): string {
  const { sqlstate, code, rows, bytes, durationMicros, masked } = event;
  const us = durationMicros === undefined ? undefined : Math.round(durationMicros);
  const counts = masked === undefined || masked.size === 0 ? undefined : Object.fromEntries(masked);
  return `${session},"seq":${seq}${tail({ sqlstate, code, rows, bytes, us, masked: counts })}`;
}

export interface CredentialEvent {
  readonly type: string;
  /** The role or user at the target; never a value that signs in. */
  readonly username: string;
  /** Where it came from, such as `Secret shop/db`. */
  readonly reference: string;
  /** When it stops to sign in; absent for a standing secret. */
  readonly expires?: Date;
  /** Why it was revoked, when not because its session or command ended. */
  readonly reason?: string;
}

/** Members of `credential.issued`, `credential.used` and `credential.revoked`. */
export function credentialEvent(session: string | undefined, event: CredentialEvent): string {
  const { type, username, reference, reason } = event;
  const rest = tail({ type, username, reference, expires: event.expires?.toISOString(), reason });
  return session === undefined ? rest.slice(1) : session + rest;
}

/** `NAMESPACE/POLICY/RULE@GENERATION`. */
export function ruleName(rule: RuleRef): string {
  return `${rule.namespace}/${rule.policy}/${rule.rule}@${rule.generation}`;
}

/** Who, as far as it identifies: claims stay out. */
function who(subject: Subject): Readonly<Record<string, unknown>> {
  const { username, serviceAccount, issuer, onBehalfOf, pod } = subject;
  return { username, serviceAccount, issuer, onBehalfOf, pod };
}

function claimed(text: string | undefined): string | undefined {
  return text?.slice(0, CLAIMED_CHARACTERS);
}

function members(session: string, rest: Readonly<Record<string, unknown>>): string {
  return sessionFragment(session) + tail(rest);
}

/** `,"a":1,"b":2`: what is undefined is left out. */
function tail(rest: Readonly<Record<string, unknown>>): string {
  const json = JSON.stringify(rest);
  return json === '{}' ? '' : `,${json.slice(1, -1)}`;
}

function unreachable(value: never): never {
  throw new TypeError(`unexpected ${String(value)}`);
}
