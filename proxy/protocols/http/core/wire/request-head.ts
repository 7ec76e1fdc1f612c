import { METHODS } from 'node:http';
import { type HttpReport, httpError } from '../errors.ts';
import { LENGTH, TOKEN_PATTERN, trimmed, VALUE_PATTERN } from '../field-syntax.ts';
import { type FieldsMemo, MAX_FIELDS } from '../head.ts';

/**
 * The head of a request of HTTP/1.x as bytes (RFC 9112, sections 2 to 6): what is read here is read in one way only, and where there
 * could be a second, it is refused. `parseHead` believes nothing of it and looks once more.
 */

/** Longest head of a request, in bytes. */
export const MAX_HEAD_BYTES = 16_384;
/** As the length of a body: it comes in chunks. */
export const CHUNKED = -1;

/** The fields of a request, and what they say of what follows. */
export interface FieldsBlock {
  /** Names and values in turn, as sent, without white space around them. */
  readonly fields: readonly string[];
  readonly version: '1.0' | '1.1';
  /** Bytes of the body, or `CHUNKED`. */
  readonly bodyLength: number;
  /** The client wants to go on with this connection. */
  readonly keepAlive: boolean;
  /** It asks for an upgrade to something that passes through here: what follows is no HTTP, whatever the answer is. */
  readonly upgrade: boolean;
  /** `Expect: 100-continue`. */
  readonly expects: boolean;
  /** The bytes, with the empty line at their end. */
  readonly bytes: Buffer;
  readonly memo: FieldsMemo;
}

export interface ReadHead {
  readonly method: string;
  readonly target: string;
  readonly block: FieldsBlock;
  /** Where it ends in the bytes. */
  readonly end: number;
}

const CR = 0x0d;
const LF = 0x0a;
const END_OF_HEAD = Buffer.from('\r\n\r\n');
const KNOWN_METHODS: ReadonlySet<string> = new Set(METHODS);
/** One space before the version; several before the target are some clients' habit, and mean nothing else to anybody. */
const REQUEST_LINE = /^([A-Z]+(?:-[A-Z]+)?) +([\u0021-\u007e]+) HTTP\/1\.([01])\r\n$/;
/** A line of its own: one that begins with a space would be part of the one before it (obs-fold), and does not match. */
const FIELD = new RegExp(`(${TOKEN_PATTERN}):(${VALUE_PATTERN})\r\n`, 'y');
const UPGRADES = /^(?:websocket|spdy\/3\.1)$/i;

const malformed = (what: string): HttpReport => httpError('SPE001', what);
const ambiguous = (what: string): HttpReport => httpError('SPE002', what);
const TOO_LARGE: HttpReport = httpError('SPE004', 'more than 16 KiB');

/**
 * @param known the fields of the request before on this connection: clients send the same with almost every request, and what is equal
 *   byte for byte is not read again
 * @returns undefined: it is not whole yet, and what there is of it is right so far. The result does not depend on where the bytes were
 *   split on their way.
 */
export function readHead(
  bytes: Buffer,
  from: number,
  known: FieldsBlock | undefined,
): ReadHead | HttpReport | undefined {
  const limit = Math.min(bytes.length, from + MAX_HEAD_BYTES);
  const incomplete = limit === from + MAX_HEAD_BYTES ? TOO_LARGE : undefined;
  // One empty line before a request is what some clients end the one before it with (RFC 9112, section 2.2).
  const start = bytes[from] === CR && bytes[from + 1] === LF ? from + 2 : from;
  const lineEnd = bytes.indexOf(LF, start);
  if (lineEnd === -1 || lineEnd >= limit) return incomplete;
  const line = REQUEST_LINE.exec(bytes.toString('latin1', start, lineEnd + 1));
  if (line === null) return malformed('the request line');
  const [, method = '', target = '', minor = ''] = line;
  if (!KNOWN_METHODS.has(method)) return malformed('the method');
  const version = minor === '1' ? '1.1' : '1.0';
  const begin = lineEnd + 1;
  if (known !== undefined && known.version === version && isAt(bytes, begin, limit, known.bytes))
    return { method, target, block: known, end: begin + known.bytes.length };
  const end = bytes.indexOf(END_OF_HEAD, lineEnd - 1);
  const whole = end !== -1 && end + 4 <= limit;
  const fields = readFields(bytes.toString('latin1', begin, whole ? end + 4 : limit));
  if (fields === undefined) return incomplete;
  if ('code' in fields) return fields;
  // A head that is right to its last line has its end where the search for it has found it.
  const block = framed(fields, version, Buffer.from(bytes.subarray(begin, end + 4)));
  return 'code' in block ? block : { method, target, block, end: end + 4 };
}

const isAt = (bytes: Buffer, at: number, limit: number, wanted: Buffer): boolean =>
  at + wanted.length <= limit && bytes.compare(wanted, 0, wanted.length, at, at + wanted.length) === 0;

/** @param text from the first field to the end of the head, or as far as there is */
function readFields(text: string): string[] | HttpReport | undefined {
  const fields: string[] = [];
  let at = 0;
  while (!text.startsWith('\r\n', at)) {
    FIELD.lastIndex = at;
    const found = FIELD.exec(text);
    if (found === null) return text.includes('\n', at) ? malformed('a field of its head') : undefined;
    if (fields.length >= 2 * MAX_FIELDS) return httpError('SPE004', `more than ${MAX_FIELDS} fields`);
    fields.push(found[1] ?? '', trimmed(found[2] ?? ''));
    at = FIELD.lastIndex;
  }
  return fields;
}

/** What the fields say of the connection and of the body (RFC 9112, sections 6 and 9). */
function framed(fields: readonly string[], version: '1.0' | '1.1', bytes: Buffer): FieldsBlock | HttpReport {
  let length: string | undefined;
  let coding: string | undefined;
  let connection = '';
  let upgrade: string | undefined;
  let expect: string | undefined;
  for (let index = 0; index + 1 < fields.length; index += 2) {
    const name = fields[index] ?? '';
    const value = fields[index + 1] ?? '';
    switch (name.length) {
      case 6:
        if (name.toLowerCase() === 'expect') expect = value;
        break;
      case 7:
        if (name.toLowerCase() === 'upgrade') upgrade = upgrade === undefined ? value : `${upgrade}, ${value}`;
        break;
      case 10:
        if (name.toLowerCase() === 'connection') connection = `${connection},${value}`;
        break;
      case 14:
        if (name.toLowerCase() !== 'content-length') break;
        if (length !== undefined) return ambiguous('content-length is there twice');
        length = value;
        break;
      case 17:
        if (name.toLowerCase() !== 'transfer-encoding') break;
        if (coding !== undefined) return ambiguous('transfer-encoding is there twice');
        coding = value;
        break;
      default:
        break;
    }
  }
  const bodyLength = lengthOf(length, coding, version);
  if (typeof bodyLength !== 'number') return bodyLength;
  const options =
    connection === ''
      ? []
      : connection
          .toLowerCase()
          .split(',')
          .map((option) => trimmed(option));
  return {
    ...{ fields, version, bodyLength, bytes },
    keepAlive: !options.includes('close') && (version === '1.1' || options.includes('keep-alive')),
    upgrade:
      upgrade !== undefined &&
      version === '1.1' &&
      bodyLength === 0 &&
      options.includes('upgrade') &&
      UPGRADES.test(upgrade),
    expects: expect?.toLowerCase() === '100-continue',
    memo: {},
  };
}

function lengthOf(length: string | undefined, coding: string | undefined, version: '1.0' | '1.1'): number | HttpReport {
  if (length !== undefined && !LENGTH.test(length)) return ambiguous('the value of content-length');
  if (coding === undefined) return length === undefined ? 0 : Number(length);
  if (length !== undefined) return ambiguous('it has both transfer-encoding and content-length');
  if (version !== '1.1') return ambiguous(`transfer-encoding in HTTP/${version}`);
  if (coding.toLowerCase() !== 'chunked') return ambiguous('a transfer-encoding other than chunked');
  return CHUNKED;
}
