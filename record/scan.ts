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

/** What every event says in its first bytes, read without parsing the line: see docs/record.md, "A line". */
export interface LineHead {
  readonly time: string;
  readonly type: string;
  readonly session: string | undefined;
  readonly seq: number | undefined;
}

const HEAD = /^\{"v":\d+,"n":\d+,"t":"([^"\\]*)","e":"([a-z.]+)"(?:,"session":"([^"\\]+)"(?:,"seq":(\d+)(?=[,}]))?)?/;
/** Longer than any head. Session ids are short. */
const HEAD_BYTES = 512;

/** Undefined for what is not an event's line. */
export function lineHead(block: Buffer, start: number, end: number): LineHead | undefined {
  const match = HEAD.exec(block.toString('latin1', start, Math.min(end, start + HEAD_BYTES)));
  if (match === null) return undefined;
  const [, time = '', type = '', session, seq] = match;
  return { time, type, session, seq: seq === undefined ? undefined : Number(seq) };
}
