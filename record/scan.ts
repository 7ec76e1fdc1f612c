import { promises as fs } from 'node:fs';

/** Where a line begins and ends (its line feed not included), in a block that is valid until the visitor returns. */
export type LineVisitor = (block: Buffer, start: number, end: number) => void;

const BLOCK_BYTES = 1 << 20;

/**
 * Shows every whole line of a file to the visitor, in order, block by block, without making anything of them: what looks at
 * millions of lines to find a few decides by their first bytes. What stands behind the last line feed is left out.
 * @throws the system's error
 */
export async function scanLines(path: string, visit: LineVisitor, signal?: AbortSignal): Promise<void> {
  const file = await fs.open(path, 'r');
  try {
    let block: Buffer = Buffer.allocUnsafeSlow(BLOCK_BYTES);
    let filled = 0;
    while (true) {
      signal?.throwIfAborted();
      // A line that is longer than the block: twice the block.
      if (filled === block.length) block = Buffer.concat([block], block.length * 2);
      const { bytesRead } = await file.read(block, filled, block.length - filled, null);
      if (bytesRead === 0) return;
      const from = filled;
      filled += bytesRead;
      let start = 0;
      for (let end = feed(block, from, filled); end !== -1; end = feed(block, start, filled)) {
        visit(block, start, end);
        start = end + 1;
      }
      block.copyWithin(0, start, filled);
      filled -= start;
    }
  } finally {
    await file.close();
  }
}

/** The line feed in block[from, filled), or -1. */
function feed(block: Buffer, from: number, filled: number): number {
  const at = block.indexOf(0x0a, from);
  return at < filled ? at : -1;
}

/**
 * What every event says in its first bytes, read without making anything of the rest (docs/record.md, "A line"). Most of a large
 * record is passed over by these few comparisons, so they are made on bytes.
 */
export interface LineHead {
  readonly type: string;
  readonly session: string;
  readonly seq: number | undefined;
}

/** `{"v":1,"n":`, and behind the number `,"t":"2026-03-01T10:11:12.123456Z","e":"`. */
const NUMBER_AT = 11;
const TIME_AND_TYPE = 40;
const TYPE_MARK = Buffer.from('Z","e":"');
const SESSION_MARK = Buffer.from('","session":"');
const SEQ_MARK = Buffer.from('","seq":');
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const ZERO = 0x30;
const NINE = 0x39;

/** Longest type of an event. */
const TYPE_BYTES = 64;

/** Types that are there for every command, by the letter behind `command.`: compared, not decoded. */
const FREQUENT: ReadonlyMap<number, { readonly type: string; readonly bytes: Buffer }> = new Map(
  ['command.received', 'command.executed', 'command.denied', 'command.failed'].map((type) => [
    type.charCodeAt('command.'.length),
    { type, bytes: Buffer.from(`${type}"`) },
  ]),
);
const RESULT = Buffer.from('result.chunk"');
const OUTPUT = Buffer.from('output.chunk"');
const REQUEST = Buffer.from('request.chunk"');

function matchesAt(block: Buffer, at: number, bytes: Buffer): boolean {
  for (let i = 0; i < bytes.length; i++) if (block[at + i] !== bytes[i]) return false;
  return true;
}

/** Where the type of the event begins, or -1 for what is not an event's line. */
function typeAt(block: Buffer, start: number, end: number): number {
  let at = start + NUMBER_AT;
  while (at < end && isDigit(block[at])) at++;
  const type = at + TIME_AND_TYPE;
  if (type < end && matchesAt(block, type - TYPE_MARK.length, TYPE_MARK)) return type;
  // Another version, or a time in another precision than ours.
  const head = HEAD.exec(block.toString('latin1', start, Math.min(end, start + HEAD_BYTES)));
  return head === null ? -1 : start + head[0].length;
}

const HEAD = /^\{"v":\d+,"n":\d+,"t":"[^"\\]*","e":"/;
const HEAD_BYTES = 256;

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= ZERO && byte <= NINE;
}

/** Type of the event; undefined for a result, output or body, which is most of the bytes, and for what is not an event's line. */
export function lineType(block: Buffer, start: number, end: number): string | undefined {
  const at = typeAt(block, start, end);
  if (at < 0 || [RESULT, OUTPUT, REQUEST].some((type) => matchesAt(block, at, type))) return undefined;
  const frequent = FREQUENT.get(block[at + 'command.'.length] ?? 0);
  if (frequent !== undefined && matchesAt(block, at, frequent.bytes)) return frequent.type;
  const close = block.indexOf(QUOTE, at);
  return close < 0 || close >= end || close - at > TYPE_BYTES ? undefined : block.toString('latin1', at, close);
}

/** Session and number of an event of that type; undefined when it belongs to none. */
export function lineHead(block: Buffer, start: number, end: number, type: string): LineHead | undefined {
  const mark = typeAt(block, start, end) + type.length;
  if (!matchesAt(block, mark, SESSION_MARK)) return undefined;
  const from = mark + SESSION_MARK.length;
  let to = from;
  while (to < end && block[to] !== QUOTE) {
    if (block[to] === BACKSLASH) return undefined;
    to++;
  }
  const session = block.toString('utf8', from, to);
  if (!matchesAt(block, to, SEQ_MARK)) return { type, session, seq: undefined };
  let seq = 0;
  for (let at = to + SEQ_MARK.length; isDigit(block[at]); at++) seq = seq * 10 + (block[at] ?? ZERO) - ZERO;
  return { type, session, seq };
}
