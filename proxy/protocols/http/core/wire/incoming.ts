import type { Duplex, Readable } from 'node:stream';
import type { RawHead } from '../head.ts';
import type { HeaderFields } from '../port.ts';

/** One request and the way its answer goes, whichever version of HTTP the client speaks. */
export interface Incoming {
  readonly raw: RawHead;
  /** Of the body, where there is one. Paused until somebody reads; made when it is asked for first. */
  readonly source: Readable;
  /** The body, where all of it came with the head and nobody has asked for `source`: nothing has to be waited for. */
  readonly whole: Buffer | undefined;
  /** The body has been read to its end. */
  readonly sourceEnded: boolean;
  /** The head of an answer went out. */
  readonly begun: boolean;
  /** The client cannot be told anything any more. */
  readonly gone: boolean;
  /** `100 Continue`. */
  sendContinue(): void;
  /** @throws when a field cannot be sent */
  writeHead(status: number, headers: HeaderFields): void;
  /** Sends the head now, should it wait for the body. */
  flushHead(): void;
  /**
   * With head and end in one turn it goes out in one write.
   * @param chunk may lie in a shared read buffer: it is valid during the call only
   * @returns false: wait for `onDrain`
   */
  write(chunk: Buffer): boolean;
  /** May call `onClosed` before it returns. */
  end(trailers?: HeaderFields): void;
  /** Breaks off what has begun: the client sees that it is not whole. */
  destroy(): void;
  /** The connection is not used again after this answer. */
  last(): void;
  onDrain: () => void;
  /** Called once: the answer was handed over whole, or not. */
  onClosed: (whole: boolean) => void;
  /** The connection itself, for what follows an upgrade; undefined: it cannot be had. */
  takeOver(): Duplex | undefined;
}

export const nothing = (): void => {};
