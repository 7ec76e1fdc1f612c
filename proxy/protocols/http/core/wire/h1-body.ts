import { Readable } from 'node:stream';
import { ChunkReader } from './chunks.ts';
import { nothing } from './incoming.ts';
import { CHUNKED } from './request-head.ts';

/** The body of a request of HTTP/1.x as it comes from the wire. */

/** How a body has its connection read on, or not. */
export interface BodyFlow {
  resume(): void;
  pause(): void;
}

const READ_AHEAD_BYTES = 65_536;

/** A class for the sake of speed: one object, and a stream only where somebody asks for one. */
export class Http1Body {
  readonly #flow: BodyFlow;
  readonly #chunks: ChunkReader | undefined;
  /** Bytes that are missing, where the client has said how many there are. */
  #left: number;
  /** What came before anybody asked for it. */
  #early: Buffer[] = [];
  #source: Readable | undefined;
  #wanted = false;
  #failure: Error | undefined;
  /** All of it has come from the wire. */
  received = false;

  /** @param length in bytes, or `CHUNKED` */
  constructor(length: number, flow: BodyFlow) {
    this.#flow = flow;
    this.#left = length;
    this.#chunks = length === CHUNKED ? new ChunkReader() : undefined;
  }

  /** All of it, when it came with the head; undefined: somebody has to wait for it, or asked for `source` before. */
  get whole(): Buffer | undefined {
    if (!this.received || this.#source !== undefined) return undefined;
    if (this.#early.length !== 1) this.#early = [Buffer.concat(this.#early)];
    return this.#early[0];
  }

  /** The consumer has had all of it. */
  get ended(): boolean {
    if (!this.received) return false;
    const source = this.#source;
    if (source === undefined) return this.#early.every(({ length }) => length === 0);
    return source.readableEnded || source.readableLength === 0;
  }

  get source(): Readable {
    if (this.#source === undefined) {
      this.#source = new Readable({ highWaterMark: READ_AHEAD_BYTES, read: () => this.#pull() });
      this.#source.on('error', nothing);
      if (this.#failure !== undefined) this.#source.destroy(this.#failure);
    }
    return this.#source;
  }

  #pull(): void {
    if (!this.#wanted) {
      this.#wanted = true;
      const early = this.#early;
      this.#early = [];
      for (const piece of early) this.#source?.push(piece);
      if (this.received) this.#source?.push(null);
    }
    if (!this.received) this.#flow.resume();
  }

  /**
   * Takes what belongs to it of bytes that are valid during the call only.
   * @returns where the body has ended in them, or their end
   * @throws BadChunk
   */
  take(bytes: Buffer, from: number): number {
    let end: number;
    if (this.#chunks === undefined) {
      end = Math.min(bytes.length, from + this.#left);
      this.#left -= end - from;
      if (end > from) this.#pass(bytes.subarray(from, end));
      this.received = this.#left === 0;
    } else {
      end = this.#chunks.read(bytes, from, (piece) => this.#pass(piece));
      this.received = this.#chunks.ended;
    }
    if (this.received && this.#wanted) this.#source?.push(null);
    return end;
  }

  #pass(piece: Buffer): void {
    const copy = Buffer.from(piece);
    if (!this.#wanted) this.#early.push(copy);
    else if (this.#source?.push(copy) === false) this.#flow.pause();
  }

  /** Nothing more comes of it. */
  fail(error: Error): void {
    this.#failure = error;
    this.#source?.destroy(error);
  }
}
