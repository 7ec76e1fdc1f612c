import type { Duplex, Readable } from 'node:stream';
import type { Wire } from '../../../../listener/wire.ts';
import type { RawHead } from '../head.ts';
import type { HeaderFields } from '../port.ts';
import { answerHead, trailerLines } from './answer-head.ts';
import type { Http1Body } from './h1-body.ts';
import { type Incoming, nothing } from './incoming.ts';
import { writeTogether } from './output.ts';
import type { FieldsBlock, ReadHead } from './request-head.ts';

/** What a request needs of its connection. */
export interface Http1Turn {
  readonly wire: Wire;
  /** The answer was handed over. */
  answered(): void;
  takeOver(): Duplex;
}

/** Pieces of a body up to this size wait for the end of the turn, so that what belongs together goes out together. In bytes. */
const GATHER_BYTES = 16_384;
const KEEP_ALIVE = 'Connection: keep-alive\r\nKeep-Alive: timeout=75\r\n\r\n';
const CLOSE = 'Connection: close\r\n\r\n';
const CONTINUE = Buffer.from('HTTP/1.1 100 Continue\r\n\r\n');
const NO_PIECES: readonly Buffer[] = [];

/** An empty line. */
const NO_TRAILERS = '\r\n';

/** What stands behind the last chunk; undefined: fields that cannot be sent. */
function tailOf(trailers: HeaderFields | undefined): string | undefined {
  if (trailers === undefined || trailers.length === 0) return NO_TRAILERS;
  try {
    return trailerLines(trailers);
  } catch {
    return undefined;
  }
}

const flush = (incoming: Http1Incoming): void => incoming.flushHead();

/** A class for the sake of speed: one object for each request. Bytes that are given to `write` are valid during the call only. */
export class Http1Incoming implements Incoming {
  readonly raw: RawHead;
  readonly body: Http1Body | undefined;
  readonly #turn: Http1Turn;
  readonly #block: FieldsBlock;
  #keepAlive: boolean;
  #continued = false;
  #taken = false;
  #ended = false;
  #closed = false;
  /** Status line and fields, until they go out. */
  #head: string | undefined;
  #headWritten = false;
  /** The answer has no body, whatever is written. */
  #bare = false;
  /** Bytes that the answer was said to have, and has not had yet; undefined: nothing was said. */
  #left: number | undefined;
  #chunked = false;
  #gathered: Buffer[] = [];
  #gatheredBytes = 0;
  #scheduled = false;
  onDrain: () => void = nothing;
  onClosed: (whole: boolean) => void = nothing;

  constructor(turn: Http1Turn, { method, target, block }: ReadHead, body: Http1Body | undefined) {
    this.#turn = turn;
    this.#block = block;
    this.body = body;
    // What follows an upgrade is no HTTP, also where the client only believes that it was granted.
    this.#keepAlive = block.keepAlive && !block.upgrade;
    this.raw = {
      method,
      target,
      version: block.version,
      scheme: turn.wire.encrypted ? 'https' : 'http',
      authority: undefined,
      fields: block.fields,
      more: false,
      memo: block.memo,
    };
  }

  get source(): Readable {
    if (this.body === undefined) throw new Error('this request has no body');
    return this.body.source;
  }

  get whole(): Buffer | undefined {
    return this.body?.whole;
  }

  get sourceEnded(): boolean {
    return this.body === undefined || this.body.ended;
  }

  get begun(): boolean {
    return this.#taken || this.#headWritten || this.#head !== undefined;
  }

  get gone(): boolean {
    return this.#ended || this.#turn.wire.socket.destroyed;
  }

  /** The connection may carry another request. */
  get keepAlive(): boolean {
    return this.#keepAlive;
  }

  get ended(): boolean {
    return this.#ended;
  }

  sendContinue(): void {
    // A client of HTTP/1.0 knows nothing of it (RFC 9110, section 10.1.1).
    if (this.begun || this.gone || this.#block.version === '1.0' || this.body?.received === true) return;
    this.#continued = true;
    this.#turn.wire.write(CONTINUE);
  }

  writeHead(status: number, headers: HeaderFields): void {
    if (this.begun) throw new Error('the answer has begun already');
    const { text, length } = answerHead(status, headers);
    this.#head = text;
    this.#left = length;
    this.#bare = this.raw.method === 'HEAD' || status === 204 || status === 304;
    // Who was not told to send its body may leave it out: what comes next could be either.
    if (this.#block.expects && !this.#continued && this.body?.received === false) this.#keepAlive = false;
  }

  flushHead(): void {
    this.#scheduled = false;
    if (!this.gone && (this.#head !== undefined || this.#gatheredBytes > 0)) this.#send(NO_PIECES, undefined);
  }

  write(chunk: Buffer): boolean {
    if (!this.begun) throw new Error('an answer begins with its head');
    if (this.gone || this.#bare || chunk.length === 0) return true;
    if (this.#left !== undefined) {
      this.#left -= chunk.length;
      // More than was said would be taken for the next answer.
      if (this.#left < 0) this.destroy();
      else this.#send([chunk], undefined);
    } else if (this.#block.version === '1.0' || (this.#gatheredBytes === 0 && chunk.length > GATHER_BYTES))
      this.#send([chunk], undefined);
    else this.#gather(chunk);
    return !this.#turn.wire.congested;
  }

  #gather(chunk: Buffer): void {
    this.#gathered.push(Buffer.from(chunk));
    this.#gatheredBytes += chunk.length;
    if (this.#gatheredBytes > GATHER_BYTES) this.#send(NO_PIECES, undefined);
    else if (!this.#scheduled) {
      this.#scheduled = true;
      process.nextTick(flush, this);
    }
  }

  end(trailers?: HeaderFields): void {
    if (!this.begun) throw new Error('an answer begins with its head');
    if (this.gone) return;
    const tail = tailOf(trailers);
    // An answer that is not what it was said to be must not be taken for whole.
    if (tail === undefined || (this.#left !== undefined && this.#left > 0 && !this.#bare)) {
      this.destroy();
      return;
    }
    if (this.#head !== undefined || this.#gatheredBytes > 0 || this.#chunked) this.#send(NO_PIECES, tail);
    this.#ended = true;
    this.#turn.answered();
  }

  /** @param tail what stands behind the last chunk; undefined: there is more to come */
  #send(pieces: readonly Buffer[], tail: string | undefined): void {
    const { wire } = this.#turn;
    const sent = this.#gatheredBytes > 0 ? this.#gathered : pieces;
    let before = this.#head === undefined ? '' : this.#startOf(this.#head, tail === NO_TRAILERS && sent.length === 0);
    this.#head = undefined;
    this.#headWritten = true;
    let after = '';
    if (this.#chunked) {
      const size = this.#gatheredBytes > 0 ? this.#gatheredBytes : (sent[0]?.length ?? 0);
      if (size > 0) {
        before += `${size.toString(16)}\r\n`;
        after = '\r\n';
      }
      if (tail !== undefined) after += `0\r\n${tail}`;
    }
    if (sent === this.#gathered) {
      this.#gathered = [];
      this.#gatheredBytes = 0;
    }
    writeTogether(wire, before, sent, after);
  }

  /** The head, with how the body is framed (RFC 9112, section 6.3). @param empty there is no body, which is known by now */
  #startOf(head: string, empty: boolean): string {
    let framing = '';
    if (!this.#bare && this.#left === undefined) {
      if (empty) framing = 'Content-Length: 0\r\n';
      else if (this.#block.version === '1.1') {
        this.#chunked = true;
        framing = 'Transfer-Encoding: chunked\r\n';
      } else this.#keepAlive = false;
    }
    return `${head}${framing}${this.#keepAlive ? KEEP_ALIVE : CLOSE}`;
  }

  destroy(): void {
    const { socket } = this.#turn.wire;
    // Where the end of the connection is the end of the body, an end like any other would make a whole of it.
    const endless = this.#headWritten && this.#left === undefined && !this.#chunked && !this.#bare && !this.#ended;
    if (endless && !this.#turn.wire.encrypted) socket.resetAndDestroy();
    else socket.destroy();
  }

  last(): void {
    this.#keepAlive = false;
  }

  takeOver(): Duplex | undefined {
    if (!this.#block.upgrade || this.begun || this.gone) return undefined;
    this.#taken = true;
    return this.#turn.takeOver();
  }

  /** Of the connection: the answer is out, or it is over. */
  closed(whole: boolean): void {
    if (this.#closed || this.#taken) return;
    this.#closed = true;
    this.onClosed(whole);
  }
}
