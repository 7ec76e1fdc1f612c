import { LENGTH, NOT_OF_A_VALUE, TOKEN, trimmed } from '../field-syntax.ts';
import type { HeaderFields } from '../port.ts';
import { TargetFailure } from './failure.ts';

/**
 * Fields of answers (RFC 9110, section 5; RFC 9112, section 5), read strictly: a target that writes what two readers could read in two
 * ways is not relayed. What is between two neighbours is told apart in the same pass.
 */

/** Of one head, or one set of trailers. */
const MAX_FIELDS = 256;

/** What a field is to whoever relays it. */
const PASSED = 0;
/** Of a connection, not of the answer (RFC 9110, section 7.6.1), or ours to say. */
const DROPPED = 1;
const CONNECTION = 2;
const KEEP_ALIVE = 3;
const TRANSFER_ENCODING = 4;
const CONTENT_LENGTH = 5;

const ROLES: ReadonlyMap<string, number> = new Map([
  ['connection', CONNECTION],
  ['keep-alive', KEEP_ALIVE],
  ['transfer-encoding', TRANSFER_ENCODING],
  ['content-length', CONTENT_LENGTH],
  ...[
    'proxy-connection',
    'proxy-authenticate',
    'te',
    'trailer',
    'upgrade',
    'http2-settings',
    // Where else the target could be reached is none of the client's business: it would go past us.
    'alt-svc',
  ].map((name) => [name, DROPPED] as const),
]);

/** What a trailer never changes (RFC 9110, section 6.5.1): framing, routing, authentication, control. */
const NO_TRAILERS: ReadonlySet<string> = new Set([
  ...ROLES.keys(),
  'content-type',
  'content-encoding',
  'content-range',
  'host',
  'authorization',
  'proxy-authorization',
  'www-authenticate',
  'set-cookie',
  'cookie',
  'location',
  'cache-control',
  'expect',
  'max-forwards',
  'range',
  'age',
  'date',
  'expires',
  'retry-after',
  'vary',
]);

const CRLF = '\r\n';

interface FieldName {
  readonly lower: string;
  readonly role: number;
  readonly mayTrail: boolean;
}

/** By what targets write. A head has few names, and they are always the same. */
const NAMES = new Map<string, FieldName>();
const MAX_NAMES = 2048;

/** @throws TargetFailure */
function nameOf(written: string): FieldName {
  const known = NAMES.get(written);
  if (known !== undefined) return known;
  if (!TOKEN.test(written)) throw new TargetFailure('malformed', 'the name of a field');
  // A copy: what is cut out of a text would keep all of it.
  const own = Buffer.from(written, 'latin1').toString('latin1');
  const lower = own.toLowerCase();
  const made = { lower, role: ROLES.get(lower) ?? PASSED, mayTrail: !NO_TRAILERS.has(lower) };
  if (NAMES.size >= MAX_NAMES) NAMES.clear();
  NAMES.set(own, made);
  return made;
}

/** What the fields of a head say of the message and its connection. A class: one for each connection, filled anew by each head. */
export class Framing {
  /** Bytes of the body; -1: it does not say. */
  length = -1;
  chunked = false;
  /** The connection says that it closes, or stays. */
  close = false;
  keep = false;
  /** How long an idle connection is kept by the target, in milliseconds; -1: it does not say. */
  keepMs = -1;

  reset(): void {
    this.length = -1;
    this.chunked = false;
    this.close = false;
    this.keep = false;
    this.keepMs = -1;
  }
}

/** Heads longer than this, in characters, are not remembered, and of none more lines than this. */
export const REMEMBERED_LENGTH = 4096;
const REMEMBERED_LINES = 32;

interface Line {
  /** With its CRLF. */
  readonly text: string;
  readonly name: FieldName;
  readonly value: string;
}

/**
 * The lines of the last head on a connection, each in its place. Almost every line of the next one is the same, and is then known by one
 * comparison: it was found to be right before.
 */
export type KnownLines = Line[];

/**
 * Names in lower case and values in turn, without what is of the connection.
 * @param text lines, each with its CRLF, from `start` to its end, in Latin-1
 * @throws TargetFailure
 */
export function readFields(text: string, start: number, framing: Framing, known: KnownLines): HeaderFields {
  const fields: string[] = [];
  let named: Set<string> | undefined;
  let count = 0;
  for (let at = start; at < text.length; count++) {
    let line = known[count];
    if (line === undefined || !text.startsWith(line.text, at)) {
      line = readLine(text, at, 'a field without a colon');
      if (text.length <= REMEMBERED_LENGTH && count < REMEMBERED_LINES) known[count] = line;
    }
    at += line.text.length;
    const { name, value } = line;
    switch (name.role) {
      case PASSED:
        fields.push(name.lower, value);
        break;
      case CONTENT_LENGTH:
        if (setLength(framing, value)) fields.push(name.lower, value);
        break;
      case TRANSFER_ENCODING:
        // Another coding, or chunks twice, cannot be undone and passed on.
        if (framing.chunked || value.toLowerCase() !== 'chunked')
          throw new TargetFailure('malformed', 'its transfer encoding');
        framing.chunked = true;
        break;
      case CONNECTION:
        named = setConnection(framing, value, named);
        break;
      case KEEP_ALIVE: {
        const seconds = /(?:^|[,;\s])timeout\s*=\s*"?(\d{1,6})/i.exec(value)?.[1];
        if (seconds !== undefined) framing.keepMs = Number(seconds) * 1000;
        break;
      }
      default:
        break;
    }
    if (count >= MAX_FIELDS) throw new TargetFailure('malformed', 'its head has too many fields');
  }
  return named === undefined ? fields : withoutNamed(fields, named);
}

/** Those trailers that may go on. @throws TargetFailure */
export function readTrailers(text: string): HeaderFields {
  const fields: string[] = [];
  let count = 0;
  for (let at = 0; at < text.length; ) {
    const { text: line, name, value } = readLine(text, at, 'a trailer without a colon');
    at += line.length;
    if (name.mayTrail) fields.push(name.lower, value);
    if (++count > MAX_FIELDS) throw new TargetFailure('malformed', 'it has too many trailers');
  }
  return fields;
}

function readLine(text: string, at: number, otherwise: string): Line {
  const end = text.indexOf(CRLF, at);
  const colon = text.indexOf(':', at);
  if (colon < 0 || colon > end) throw new TargetFailure('malformed', otherwise);
  return {
    text: text.slice(at, end + CRLF.length),
    name: nameOf(text.slice(at, colon)),
    value: valueIn(text, colon + 1, end),
  };
}

function valueIn(text: string, from: number, to: number): string {
  const value = trimmed(text, from, to);
  if (NOT_OF_A_VALUE.test(value)) throw new TargetFailure('malformed', 'the value of a field');
  return value;
}

/** @returns whether it is the first: one that is said twice alike goes on once (RFC 9110, section 8.6) */
function setLength(framing: Framing, value: string): boolean {
  if (!LENGTH.test(value)) throw new TargetFailure('malformed', 'its content length');
  const length = Number(value);
  if (framing.length !== -1 && framing.length !== length) throw new TargetFailure('malformed', 'two content lengths');
  const first = framing.length === -1;
  framing.length = length;
  return first;
}

function setConnection(framing: Framing, value: string, before: Set<string> | undefined): Set<string> | undefined {
  const lower = value.toLowerCase();
  if (lower === 'keep-alive') framing.keep = true;
  else if (lower === 'close') framing.close = true;
  else {
    const named = before ?? new Set();
    for (const element of lower.split(',')) {
      const option = element.trim();
      if (option === 'keep-alive') framing.keep = true;
      else if (option === 'close') framing.close = true;
      else named.add(option);
    }
    return named;
  }
  return before;
}

function withoutNamed(fields: readonly string[], named: ReadonlySet<string>): HeaderFields {
  const kept: string[] = [];
  for (let index = 0; index + 1 < fields.length; index += 2) {
    const name = fields[index] ?? '';
    if (!named.has(name)) kept.push(name, fields[index + 1] ?? '');
  }
  return kept;
}
