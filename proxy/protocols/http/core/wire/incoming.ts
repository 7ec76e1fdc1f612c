import type { Duplex, Readable } from 'node:stream';
import type { RawHead } from '../head.ts';
import type { HeaderFields } from '../port.ts';

/** One request and the way its answer goes, whichever version of HTTP the client speaks. */
export interface Incoming {
  readonly raw: RawHead;
  /** Of the body. Paused until somebody reads. */
  readonly source: Readable;
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
  /** False: wait for `onDrain`. The chunk may lie in a shared read buffer: it is valid during the call only. */
  write(chunk: Buffer): boolean;
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
