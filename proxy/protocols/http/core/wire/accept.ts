import type { Socket } from 'node:net';
import type { SecureContext } from 'node:tls';
import { isLoopback } from '../../../../listener/loopback.ts';
import { handshake } from '../../../../listener/tls.ts';
import { streamWire, type Wire } from '../../../../listener/wire.ts';

/** What a client speaks, told by its first bytes and by what TLS agreed on. */
export type Accepted =
  /** A paused wire, and what was read of it. */
  | { readonly protocol: 'h1'; readonly wire: Wire; readonly first: Buffer }
  /** Paused. What was read of it is before what is not. */
  | { readonly protocol: 'h2'; readonly socket: Socket; readonly encrypted: boolean };

export interface AcceptOptions {
  readonly tls: (() => SecureContext) | undefined;
  /** In the clear only from this machine, or inside of what is encrypted already, such as a connector's tunnel. */
  readonly plaintext: boolean;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** A client that got no further than its first bytes. */
export class NotAccepted extends Error {
  override readonly name = 'NotAccepted';
  readonly because: 'silent' | 'plaintext' | 'tls' | 'timeout' | 'aborted';
  constructor(because: NotAccepted['because'], cause?: unknown) {
    super(because, cause === undefined ? undefined : { cause });
    this.because = because;
  }
}

const TLS_HANDSHAKE = 0x16;
const NOTHING = Buffer.alloc(0);
/** The beginning of what a client of HTTP/2 sends first (RFC 9113, section 3.4); no method of HTTP/1 is called so. */
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n');

/** Whether a client may speak in the clear. */
export const mayBePlain = (
  wire: Wire,
  options: { readonly plaintextLoopback: boolean; readonly inTunnel: boolean },
): boolean => options.inTunnel || wire.encrypted || (options.plaintextLoopback && isLoopback(wire.remoteAddress));

/** Reads as much as is needed to know. @throws NotAccepted: the connection is as it was, but for what was read */
export async function accept(wire: Wire, options: AcceptOptions): Promise<Accepted> {
  const deadline = AbortSignal.timeout(options.timeoutMs);
  const signal = AbortSignal.any([options.signal, deadline]);
  try {
    const first = await begin(wire, signal);
    const { socket } = wire;
    if (first[0] === TLS_HANDSHAKE) {
      if (options.tls === undefined) throw new NotAccepted('tls');
      return await secured(socket, first, options.tls(), signal);
    }
    if (!options.plaintext) throw new NotAccepted('plaintext');
    if (!first.subarray(0, 3).equals(PREFACE.subarray(0, 3))) return { protocol: 'h1', wire, first };
    socket.unshift(first);
    return { protocol: 'h2', socket, encrypted: wire.encrypted };
  } catch (error) {
    if (error instanceof NotAccepted) throw error;
    throw new NotAccepted(options.signal.aborted ? 'aborted' : deadline.aborted ? 'timeout' : 'silent', error);
  }
}

/** At least one byte, and three where it could be the preface of HTTP/2; the wire is paused again. */
function begin(wire: Wire, signal: AbortSignal): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let read = Buffer.alloc(0);
    const settle = (): void => {
      signal.removeEventListener('abort', aborted);
      wire.onBytes = () => {};
      wire.onEnd = () => {};
      wire.onClose = () => {};
    };
    const fail = (error: unknown): void => {
      settle();
      reject(error);
    };
    const aborted = (): void => fail(signal.reason);
    wire.onBytes = (chunk) => {
      read = Buffer.concat([read, chunk]);
      if (read.length < 3 && PREFACE.subarray(0, read.length).equals(read)) return;
      wire.pause();
      settle();
      resolve(read);
    };
    wire.onEnd = () => fail(new Error('the client said nothing'));
    wire.onClose = () => fail(new Error('the client said nothing'));
    signal.addEventListener('abort', aborted, { once: true });
    if (signal.aborted) aborted();
    else wire.resume();
  });
}

async function secured(
  raw: Socket,
  received: Buffer,
  secureContext: SecureContext,
  signal: AbortSignal,
): Promise<Accepted> {
  const socket = await handshake(raw, received, { secureContext, ALPNProtocols: ['h2', 'http/1.1'] }, signal);
  if (socket.alpnProtocol !== 'h2') return { protocol: 'h1', wire: streamWire(socket), first: NOTHING };
  // Only `tls.Server` says so of its sockets; HTTP/2 waits for it.
  (socket as unknown as { secureConnecting: boolean }).secureConnecting = false;
  return { protocol: 'h2', socket, encrypted: true };
}
