import type { AuditLevel } from './events.ts';

/**
 * Members of events of an exchange: a request over HTTP and its answer, whatever the lane. What is decided on it is recorded as in every
 * lane (`commandReceived`, `commandDenied`, `commandHeld`, `commandReleased` of events.ts); its text is `METHOD HOST/PATH?QUERY`.
 *
 * Headers are recorded by allow-list: whatever is not known to be harmless could be a secret. Bodies are recorded as the client got
 * them, after masking, and as the client sent them, up to `audit.maxResponseBytes`, with length and SHA-256 of longer ones:
 * `request.chunk` and `result.chunk`, or with the event itself where they are short.
 */
export interface ExchangeReceived {
  readonly method: string;
  /** `HOST[:PORT]` that the client named, in lower case. */
  readonly host: string;
  /** Path and query as they go to the target. */
  readonly target: string;
  /** `1.0`, `1.1` or `2`: what the client spoke. */
  readonly version: string;
  /** By the allow-list, as `recordedHeaders` gives them. */
  readonly headers?: string | undefined;
  /** Content-Length, where the client gave one. */
  readonly length?: number | undefined;
  /** Such as `websocket`. */
  readonly upgrade?: string | undefined;
  /** What a lane knows besides, such as an event in the form of audit.k8s.io. It has left out what the level does not show. */
  readonly details?: ExchangeDetails | undefined;
}

/** The name of a lane, and JSON. */
export type ExchangeDetails = Readonly<Record<string, unknown>>;

/** The rest of `command.received`, after `textFragment` and `decisionFragment`. At `Metadata` without target and headers. */
export function exchangeFragment(received: ExchangeReceived, level: AuditLevel): string {
  const { method, host, target, version, headers, length, upgrade, details } = received;
  const where = level === 'Metadata' ? '' : `,"target":${JSON.stringify(target)}`;
  let text = `,"method":${JSON.stringify(method)},"host":${JSON.stringify(host)}${where},"version":${JSON.stringify(version)}`;
  if (level !== 'Metadata') text += headersMember(headers);
  if (length !== undefined) text += `,"length":${length}`;
  if (upgrade !== undefined) text += `,"upgrade":${JSON.stringify(upgrade)}`;
  if (details !== undefined) text += `,"details":${JSON.stringify(details)}`;
  return text;
}

export interface ExchangeOutcome {
  /** Status code that the client got; absent when there was no answer. */
  readonly status?: number | undefined;
  /** Our own code, when it was the gateway that ended it, or that answered for the target. */
  readonly code?: string | undefined;
  /** Of the answer's body as the client got it, and of the request's body as the target got it. */
  readonly bytes: number;
  readonly requestBytes: number;
  /** As `recordedHeaders` gives them. */
  readonly headers?: string | undefined;
  readonly durationMicros: number;
  /** Until the head of the answer was there. */
  readonly headMicros?: number | undefined;
  /** Values replaced, by rule or detector. */
  readonly masked?: ReadonlyMap<string, number> | undefined;
  readonly details?: ExchangeDetails | undefined;
}

/** Members of `command.executed` and `command.failed`. */
export function exchangeOutcome(session: string, seq: number, outcome: ExchangeOutcome, level: AuditLevel): string {
  const { status, code, bytes, requestBytes, headers, durationMicros, headMicros, masked, details } = outcome;
  let event = `${session},"seq":${seq}`;
  if (status !== undefined) event += `,"status":${status}`;
  if (code !== undefined) event += `,"code":${JSON.stringify(code)}`;
  event += `,"bytes":${bytes},"requestBytes":${requestBytes}`;
  if (level !== 'Metadata') event += headersMember(headers);
  event += `,"us":${Math.round(durationMicros)}`;
  if (headMicros !== undefined) event += `,"headUs":${Math.round(headMicros)}`;
  if (masked !== undefined && masked.size > 0) event += `,"masked":${JSON.stringify(Object.fromEntries(masked))}`;
  if (details !== undefined) event += `,"details":${JSON.stringify(details)}`;
  return event;
}

/** The target answered, whatever it answered; `command.failed`: no whole answer came, or not from the target. */
export function exchangeOutcomeType({ status, code }: ExchangeOutcome): 'command.executed' | 'command.failed' {
  return status !== undefined && code === undefined ? 'command.executed' : 'command.failed';
}

/**
 * What the bytes of a body's capture are: as they were on the wire after decoding of the transfer. `reading` goes with them
 * (`createResultCapture`): a reader needs the type to show them.
 */
export const BODY_ENCODING = 'http-body+base64';

/** @param coding Content-Encoding, where the body was recorded compressed */
export function bodyReading(contentType: string | undefined, coding?: string): string {
  const type = contentType === undefined ? '' : `,"contentType":${JSON.stringify(shortened(contentType))}`;
  return coding === undefined ? type : `${type},"contentEncoding":${JSON.stringify(shortened(coding))}`;
}

const MAX_HEADER = 512;

/** By name: how it begins as a member of JSON, and a bit of its own. */
type AllowList = ReadonlyMap<string, { readonly member: string; readonly bit: number }>;

function allowList(names: readonly string[]): AllowList {
  return new Map(names.map((name, index) => [name, { member: `${JSON.stringify(name)}:`, bit: 1 << index }]));
}

/** Harmless by what they are for. No header that carries a credential, a cookie, or an address of the client's network. */
const REQUEST_HEADERS = allowList([
  'accept',
  'accept-encoding',
  'accept-language',
  'cache-control',
  'content-encoding',
  'content-language',
  'content-type',
  'expect',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'mcp-protocol-version',
  'prefer',
  'range',
  'traceparent',
  'user-agent',
  'x-request-id',
]);

const RESPONSE_HEADERS = allowList([
  'age',
  'allow',
  'audit-id',
  'cache-control',
  'content-disposition',
  'content-encoding',
  'content-language',
  'content-range',
  'content-type',
  'date',
  'deprecation',
  'expires',
  'last-modified',
  'mcp-protocol-version',
  'preference-applied',
  'retry-after',
  'server',
  'sunset',
  'vary',
  'warning',
  'x-request-id',
]);

/**
 * The headers that are recorded, as a JSON object by name in lower case; several of one name joined as one. Of a value its first 512
 * characters. Empty: there are none.
 * @param fields names in lower case and values in turn
 */
export function recordedHeaders(fields: readonly string[], of: 'request' | 'response'): string {
  const allowed = of === 'request' ? REQUEST_HEADERS : RESPONSE_HEADERS;
  let seen = 0;
  let shown = '';
  for (let index = 0; index + 1 < fields.length; index += 2) {
    const known = allowed.get(fields[index] ?? '');
    if (known === undefined) continue;
    if ((seen & known.bit) !== 0) return joinedHeaders(fields, allowed);
    seen |= known.bit;
    const value = fields[index + 1] ?? '';
    shown += (shown === '' ? '{' : ',') + known.member + JSON.stringify(shortened(value));
  }
  return shown === '' ? '' : `${shown}}`;
}

/** Where a name is there more than once. */
function joinedHeaders(fields: readonly string[], allowed: AllowList): string {
  const kept: Record<string, string> = {};
  for (let index = 0; index + 1 < fields.length; index += 2) {
    const name = fields[index] ?? '';
    const value = fields[index + 1] ?? '';
    if (!allowed.has(name)) continue;
    const before = kept[name];
    kept[name] = shortened(before === undefined ? value : `${before}, ${value}`);
  }
  return JSON.stringify(kept);
}

const shortened = (value: string): string => (value.length > MAX_HEADER ? value.slice(0, MAX_HEADER) : value);

const headersMember = (headers: string | undefined): string =>
  headers === undefined || headers === '' ? '' : `,"headers":${headers}`;
