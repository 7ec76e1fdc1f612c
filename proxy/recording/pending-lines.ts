import type { PendingLine } from '../../record/chain.ts';
import { beginLine, type EventHead, endLine, eventHead, TAIL_LENGTH } from '../../record/format.ts';
import { LineWriter } from '../../record/line-writer.ts';
import type { RecordEventType } from '../../record/port.ts';
import type { Timestamps } from '../../record/timestamp.ts';

/** A turn of one client fits. A stream holds it for as long as it is open. */
const FIRST_BYTES = 4096;
/** What grew beyond this is given back once turns need less than an eighth of it. */
const KEPT_BYTES = 256 * 1024;

/** Heads without a session, for members that come as one string. */
const heads = new Map<RecordEventType, EventHead>();

function headOf(event: RecordEventType): EventHead {
  let head = heads.get(event);
  if (head === undefined) {
    head = eventHead(event, '');
    heads.set(event, head);
  }
  return head;
}

/**
 * Events of the turn, and those that a failure keeps from the disk, in order: whole lines as they will be written, with room for their links.
 * A class for the sake of speed: two lines of every command go through it.
 */
export class PendingLines {
  #line = new LineWriter(FIRST_BYTES);
  /** Where the lines begin. Only the first `length` count: setting the length of an array leaves the compiled code. */
  readonly #starts: number[] = [];
  /** End of the last whole line. */
  #end = 0;
  #length = 0;
  /** Those that are to be signed, by their index. */
  #signed: { readonly index: number; readonly n: number; readonly time: string }[] = [];

  /** How many. */
  get length(): number {
    return this.#length;
  }

  /** Bytes of all of them together, their links included. */
  get size(): number {
    return this.#end;
  }

  /** With `size` bytes that count. */
  get bytes(): Buffer {
    return this.#line.bytes;
  }

  /** Where each begins; only the first `length` count. */
  get starts(): readonly number[] {
    return this.#starts;
  }

  /** One of them gets a note, which makes it longer: `lines` gives them one by one. */
  get toBeSigned(): boolean {
    return this.#signed.length > 0;
  }

  /** Begins a line behind those that are whole. What was begun and not ended before is dropped. */
  begin(n: number, times: Timestamps, head: EventHead): LineWriter {
    const line = this.#line;
    line.length = this.#end;
    beginLine(line, n, times, head);
    return line;
  }

  end(): void {
    endLine(this.#line);
    this.#starts[this.#length++] = this.#end;
    this.#end = this.#line.length;
  }

  /** A line whose members are there. */
  push(n: number, times: Timestamps, event: RecordEventType, members: string): void {
    const line = this.begin(n, times, headOf(event));
    // No comma without members.
    if (members === '') line.length--;
    else line.text(members);
    this.end();
  }

  /** A line that is to be signed. @param time as in its body */
  pushSigned(n: number, time: string, body: string): void {
    this.#signed.push({ index: this.#length, n, time });
    this.#line.length = this.#end;
    this.#line.text(body);
    this.end();
  }

  /** One by one, without their links. */
  lines(): PendingLine[] {
    return Array.from({ length: this.#length }, (_, index) => {
      const stop = index + 1 < this.#length ? this.#starts[index + 1] : this.#end;
      const body = this.bytes.toString('utf8', this.#starts[index], (stop ?? 0) - TAIL_LENGTH);
      const signed = this.#signed.find((line) => line.index === index);
      return signed === undefined ? body : { n: signed.n, time: signed.time, body };
    });
  }

  /** Removes the first `count`. */
  drop(count: number): void {
    if (count >= this.#length) {
      this.clear();
      return;
    }
    const gone = this.#starts[count] ?? 0;
    this.bytes.copyWithin(0, gone, this.#end);
    this.#end -= gone;
    this.#length -= count;
    for (let index = 0; index < this.#length; index++) this.#starts[index] = (this.#starts[index + count] ?? 0) - gone;
    this.#signed = this.#signed
      .filter(({ index }) => index >= count)
      .map((line) => ({ ...line, index: line.index - count }));
  }

  clear(): void {
    if (this.bytes.length > KEPT_BYTES && this.#end < this.bytes.length / 8) this.#line = new LineWriter(FIRST_BYTES);
    this.#end = 0;
    this.#length = 0;
    if (this.#signed.length > 0) this.#signed = [];
  }
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
