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
  /** By the allow-list: see `recordedHeaders`. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Content-Length, where the client gave one. */
  readonly length?: number;
  /** Such as `websocket`. */
  readonly upgrade?: string;
  /** Why it is a retry, such as the name of a request that was approved. */
  readonly grant?: string;
  /** What a lane knows besides, such as an event in the form of audit.k8s.io. It has left out what the level does not show. */
  readonly details?: ExchangeDetails;
}

/** The name of a lane, and JSON. */
export type ExchangeDetails = Readonly<Record<string, unknown>>;

/** The rest of `command.received`, after `textFragment` and `decisionFragment`. At `Metadata` without target and headers. */
export function exchangeFragment(received: ExchangeReceived, level: AuditLevel): string {
  const { method, host, target, version, headers, length, upgrade, grant, details } = received;
  if (level === 'Metadata') return tail({ method, host, version, length, upgrade, grant, details });
  return tail({ method, host, target, version, headers: someOf(headers), length, upgrade, grant, details });
}

export interface ExchangeOutcome {
  /** Status code that the client got; absent when there was no answer. */
  readonly status?: number;
  /** Our own code, when it was the gateway that ended it, or that answered for the target. */
  readonly code?: string;
  /** Of the answer's body as the client got it, and of the request's body as the target got it. */
  readonly bytes: number;
  readonly requestBytes: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly durationMicros: number;
  /** Until the head of the answer was there. */
  readonly headMicros?: number;
  /** Values replaced, by rule or detector. */
  readonly masked?: ReadonlyMap<string, number>;
  readonly details?: ExchangeDetails;
}

/** Members of `command.executed` and `command.failed`. */
export function exchangeOutcome(session: string, seq: number, outcome: ExchangeOutcome, level: AuditLevel): string {
  const { status, code, bytes, requestBytes, headers, durationMicros, headMicros, masked, details } = outcome;
  const counts = masked === undefined || masked.size === 0 ? undefined : Object.fromEntries(masked);
  return `${session},"seq":${seq}${tail({
    status,
    code,
    bytes,
    requestBytes,
    headers: level === 'Metadata' ? undefined : someOf(headers),
    us: Math.round(durationMicros),
    headUs: headMicros === undefined ? undefined : Math.round(headMicros),
    masked: counts,
    details,
  })}`;
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
  return tail({ contentType: contentType?.slice(0, MAX_HEADER), contentEncoding: coding?.slice(0, MAX_HEADER) });
}

const MAX_HEADER = 512;

/** Harmless by what they are for. No header that carries a credential, a cookie, or an address of the client's network. */
const REQUEST_HEADERS: ReadonlySet<string> = new Set([
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

const RESPONSE_HEADERS: ReadonlySet<string> = new Set([
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
 * The headers that are recorded, by name in lower case; several of one name joined as one. Of a value its first 512 characters.
 * @param headers name and value, names in lower case
 */
export function recordedHeaders(
  headers: Iterable<readonly [name: string, value: string]>,
  of: 'request' | 'response',
): Readonly<Record<string, string>> {
  const allowed = of === 'request' ? REQUEST_HEADERS : RESPONSE_HEADERS;
  const kept: Record<string, string> = {};
  for (const [name, value] of headers) {
    if (!allowed.has(name)) continue;
    const before = kept[name];
    kept[name] = (before === undefined ? value : `${before}, ${value}`).slice(0, MAX_HEADER);
  }
  return kept;
}

function someOf(headers: ExchangeReceived['headers']): ExchangeReceived['headers'] {
  return headers === undefined || Object.keys(headers).length === 0 ? undefined : headers;
}

/** `,"a":1,"b":2`: what is undefined is left out. */
function tail(rest: Readonly<Record<string, unknown>>): string {
  const json = JSON.stringify(rest);
  return json === '{}' ? '' : `,${json.slice(1, -1)}`;
}
