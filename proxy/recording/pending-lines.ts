import type { PendingLine } from '../../record/chain.ts';

/** Events of the turn, and those that a failure keeps from the disk, in order. */
export interface PendingLines {
  readonly lines: readonly PendingLine[];
  readonly length: number;
  /** Length of all of them together. */
  readonly characters: number;
  push(line: PendingLine): void;
  /** Removes the first `count`. */
  drop(count: number): void;
  clear(): void;
}

export function createPendingLines(): PendingLines {
  let lines: PendingLine[] = [];
  let characters = 0;
  return {
    get lines() {
      return lines;
    },
    get length() {
      return lines.length;
    },
    get characters() {
      return characters;
    },
    push(line) {
      lines.push(line);
      characters += lengthOf(line);
    },
    drop(count) {
      for (const line of lines.splice(0, count)) characters -= lengthOf(line);
    },
    clear() {
      lines = [];
      characters = 0;
    },
  };
}

function lengthOf(line: PendingLine): number {
  return typeof line === 'string' ? line.length : line.body.length;
}

/** How many lines stand in the first `length` bytes, which end with one, and where the last of them begins. */
export function linesIn(bytes: Buffer, length: number): { readonly count: number; readonly start: number } {
  let count = 0;
  let start = 0;
  for (let at = 0; at < length; at = bytes.indexOf(0x0a, at) + 1) {
    start = at;
    count++;
  }
  return { count, start };
}
