import { linkOf } from '../chain.ts';

/** What the verification needs of a line; nothing else of it is decoded. */
export interface ChainedLine {
  readonly file: string;
  /** Line of the file, from 1. */
  readonly line: number;
  /** With the line feed. */
  readonly bytes: Buffer;
  readonly n: number;
  readonly time: string;
  readonly event: string;
  readonly prev: string;
  /** Its own hash: what `prev` of the next line must be. */
  readonly link: string;
}

const NUMBER = Buffer.from('{"v":1,"n":');
const TIME = Buffer.from(',"t":"');
const EVENT = Buffer.from('","e":"');
const PREV = Buffer.from(',"prev":"');
const END = Buffer.from('"}\n');
/** `2026-03-01T10:11:12.123456Z` */
const TIME_BYTES = 27;
const LINK_BYTES = 43;
const TAIL_BYTES = PREV.length + LINK_BYTES + END.length;
const MAX_DIGITS = 15;
const MAX_EVENT_BYTES = 40;

/** Undefined when the bytes are no line that the writer makes. By hand, byte for byte: this runs for each line of gigabytes. */
export function chainedLine(file: string, line: number, bytes: Buffer): ChainedLine | undefined {
  const tail = bytes.length - TAIL_BYTES;
  if (tail < 0 || !stands(PREV, bytes, tail) || !stands(END, bytes, bytes.length - END.length)) return undefined;
  if (!stands(NUMBER, bytes, 0)) return undefined;
  let n = 0;
  let at = NUMBER.length;
  for (let byte = bytes[at] ?? 0; isDigit(byte) && at <= NUMBER.length + MAX_DIGITS; byte = bytes[++at] ?? 0) {
    n = n * 10 + (byte - DIGIT_0);
  }
  if (at !== NUMBER.length + String(n).length || !stands(TIME, bytes, at)) return undefined;
  const timeAt = at + TIME.length;
  if (!stands(EVENT, bytes, timeAt + TIME_BYTES)) return undefined;
  const eventAt = timeAt + TIME_BYTES + EVENT.length;
  let eventEnd = eventAt;
  while (bytes[eventEnd] !== QUOTE && eventEnd - eventAt <= MAX_EVENT_BYTES) eventEnd++;
  if (bytes[eventEnd] !== QUOTE) return undefined;
  const time = bytes.toString('latin1', timeAt, timeAt + TIME_BYTES);
  const event = bytes.toString('latin1', eventAt, eventEnd);
  const prev = bytes.toString('latin1', tail + PREV.length, tail + PREV.length + LINK_BYTES);
  return { file, line, bytes, n, time, event, prev, link: linkOf(bytes) };
}

const DIGIT_0 = 0x30;
const QUOTE = 0x22;

function isDigit(byte: number): boolean {
  return byte >= DIGIT_0 && byte <= 0x39;
}

function stands(expected: Buffer, bytes: Buffer, at: number): boolean {
  for (let index = 0; index < expected.length; index++) if (bytes[at + index] !== expected[index]) return false;
  return true;
}

/** The members of a line, or undefined when it is no JSON object. */
export function membersOf(line: ChainedLine): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(line.bytes.toString('utf8'));
    return typeof value === 'object' && value !== null ? { ...value } : undefined;
  } catch {
    // Only lines that were altered: the caller names them.
    return undefined;
  }
}
