import net from 'node:net';
import tls from 'node:tls';
import { getSystemErrorName } from 'node:util';

/**
 * A socket as the data path uses it: reads land in one buffer that all sockets of the process share (the `onread` option of
 * Node's sockets: no stream machinery, no allocation per read), writes go straight to the kernel.
 */
export interface Wire {
  /** IP address and port of the peer, such as `10.0.0.7:51234`. */
  readonly peer: string;
  /** Address without port. */
  readonly remoteAddress: string;
  readonly encrypted: boolean;
  /** Called with bytes that are valid only during the call: copy what must outlive it. */
  onBytes: (chunk: Buffer) => void;
  /** The peer has finished sending. */
  onEnd: () => void;
  /** Called once, last, with the error if there was one. */
  onClose: (error: Error | undefined) => void;
  /** Called when a congested wire has been written out. */
  onDrain: () => void;
  /**
   * Instead of the end of the wire when a direct write has failed: what the peer sent before can still be read, until its end. Of a TLS
   * wire a write that fails is its end all the same.
   */
  onWriteFailed?: ((error: Error) => void) | undefined;
  /** True while more than the high-water mark waits to be written: stop producing until `onDrain`. */
  readonly congested: boolean;
  readonly closed: boolean;
  /**
   * Writes now. Returns true when the kernel did not take everything at once: `bytes` is then still referenced and its owner
   * must not write to it again.
   */
  write(bytes: Buffer): boolean;
  pause(): void;
  resume(): void;
  /** After the next read one may bring 256 KiB in place of 64; not over TLS, whose records are smaller. */
  readInBulk(): void;
  /** Sends what is queued, then FIN. */
  end(): void;
  destroy(error?: Error): void;
  readonly socket: net.Socket;
}

const READ_SIZE = 65_536;
const BULK_READ_SIZE = 262_144;

/**
 * The one read buffer of the process. It is never replaced: every socket has it as its place to read into, and what was read is used
 * up before the next read. Whoever writes something out of it copies it first, since a write may outlive the call.
 */
const bulk = Buffer.allocUnsafeSlow(BULK_READ_SIZE);
/** As much of it as most sockets read into: how much one read can bring is a bound, too. */
const shared = bulk.subarray(0, READ_SIZE);
/** Views by length, so that reads of the usual sizes allocate nothing. */
const views: (Buffer | undefined)[] = [];

function view(length: number): Buffer {
  if (length > 4096) return bulk.subarray(0, length);
  let cached = views[length];
  if (cached === undefined) {
    cached = shared.subarray(0, length);
    views[length] = cached;
  }
  return cached;
}

function addressOf(socket: net.Socket): string {
  const address = socket.remoteAddress ?? 'unknown';
  return address.startsWith('::ffff:') ? address.slice(7) : address;
}

const nothing = (): void => {};

class SocketWire implements Wire {
  readonly socket: net.Socket;
  readonly peer: string;
  readonly remoteAddress: string;
  readonly encrypted: boolean;
  onBytes: (chunk: Buffer) => void = nothing;
  onEnd: () => void = nothing;
  onClose: (error: Error | undefined) => void = nothing;
  onDrain: () => void = nothing;
  onWriteFailed: ((error: Error) => void) | undefined;
  closed = false;
  #error: Error | undefined;
  /** Bytes of direct writes that the kernel has not taken yet are under way. */
  #writing = 0;
  #inBulk = false;

  constructor(socket: net.Socket) {
    this.socket = socket;
    this.remoteAddress = addressOf(socket);
    this.peer = `${this.remoteAddress}:${socket.remotePort ?? 0}`;
    this.encrypted = socket instanceof tls.TLSSocket;
    socket.on('end', () => this.onEnd());
    socket.on('drain', () => {
      if (this.#writing === 0) this.onDrain();
    });
    socket.on('error', (error) => {
      this.#error = error;
    });
    socket.on('close', () => {
      this.closed = true;
      this.onClose(this.#error);
    });
  }

  get congested(): boolean {
    return this.#writing !== 0 || this.socket.writableNeedDrain;
  }

  write(bytes: Buffer): boolean {
    const socket = this.socket;
    if (socket.destroyed || socket.writableEnded) return false;
    const queued = socket.writableLength !== 0;
    if (WRITES_DIRECTLY && !queued && !this.encrypted) {
      const handle = (socket as unknown as { _handle: WriteHandle | null })._handle;
      if (handle !== null) return this.#writeDirectly(handle, bytes);
    }
    socket.write(bytes);
    // TLS takes a copy as it encrypts, and only then reports the write as done; what waits in the queue is still the caller's.
    return this.encrypted ? queued : socket.writableLength !== 0;
  }

  /** As Node's own streams do it, without them: libuv keeps the order of what is queued either way. */
  #writeDirectly(handle: WriteHandle, bytes: Buffer): boolean {
    const result = handle.writeBuffer(null, bytes);
    if (result === 0) return false;
    if (typeof result === 'number') {
      this.#writeFailed(result);
      return false;
    }
    this.#writing++;
    result.handle = handle;
    result.buffer = bytes;
    result.oncomplete = (status) => {
      this.#writing--;
      if (status < 0) this.#writeFailed(status);
      else if (this.#writing === 0 && !this.socket.writableNeedDrain && !this.closed) this.onDrain();
    };
    const { writeStatus } = result;
    if (typeof writeStatus === 'number') result.oncomplete(writeStatus);
    return true;
  }

  #writeFailed(status: number): void {
    const error = new Error(`write: ${getSystemErrorName(status)}`);
    if (this.onWriteFailed === undefined) this.socket.destroy(error);
    else this.onWriteFailed(error);
  }

  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  readInBulk(): void {
    if (this.#inBulk || this.encrypted) return;
    this.#inBulk = true;
    const { generator } = readFields(this.socket);
    // Node asks it for the place of the next read after each one. Where the field is not found, reads stay as they are.
    if (generator !== undefined) Object.assign(this.socket, { [generator]: () => bulk });
  }

  end(): void {
    this.socket.end();
  }

  destroy(error?: Error): void {
    this.socket.destroy(error);
  }
}

/** Of a write that the kernel did not take at once: Node's request object, completed when it has. */
interface WriteRequest {
  handle: unknown;
  buffer: Buffer;
  oncomplete: (status: number) => void;
  /** Set when it was completed before `oncomplete` was. */
  writeStatus?: number | null;
}

/** What is used of a socket's handle. */
interface WriteHandle {
  /** 0: all taken; negative: an error of libuv's; otherwise under way. */
  writeBuffer(request: null, bytes: Buffer): number | WriteRequest;
}

/**
 * Whether Node's handles write without a request object: then the layers of a Writable in between, which cost as much as the write, can
 * be left out. Not a documented interface, and one that has it not ends the process, so only versions that were tried are taken at their
 * word; for the others the stream interface is the fallback.
 */
function writesDirectly(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major === 26 && minor >= 10;
}

const WRITES_DIRECTLY = writesDirectly(process.versions.node);

type OnRead = { buffer: Buffer; callback: (length: number) => boolean };

/** Late-bound: the socket needs its `onread` before the wire that it calls exists. */
function onreadFor(target: { wire: Wire | undefined }): OnRead {
  return {
    // Not a function that gives it: Node would ask, check and install what it gave after every read.
    buffer: shared,
    callback: (length) => {
      target.wire?.onBytes(view(length));
      return true;
    },
  };
}

type HandleOwner = { _handle: unknown };

/**
 * Whether accepted sockets can be wrapped anew with `onread` on this Node: `net.createServer` has no option for it, and taking the
 * handle over is not a documented interface, so it is tried once and the stream interface is the fallback.
 */
let takeOver: boolean | undefined;

function canTakeOver(socket: net.Socket): boolean {
  takeOver ??=
    typeof (socket as unknown as HandleOwner)._handle === 'object' &&
    (socket as unknown as HandleOwner)._handle !== null;
  return takeOver;
}

/** Wraps a socket accepted by `net.createServer({ pauseOnConnect: true, noDelay: true })`. Reading starts with `resume()`. */
export function acceptWire(accepted: net.Socket): Wire {
  if (!canTakeOver(accepted)) return streamWire(accepted);
  const owner = accepted as unknown as HandleOwner;
  const handle = owner._handle;
  owner._handle = null;
  // An empty shell now; only its end lets the server count the client as gone.
  accepted.destroy();
  const target: { wire: Wire | undefined } = { wire: undefined };
  const options = { handle, onread: onreadFor(target), readable: true, writable: true, pauseOnCreate: true };
  const socket = new net.Socket(options as unknown as net.SocketConstructorOpts);
  const wire = new SocketWire(socket);
  target.wire = wire;
  return wire;
}

/** Names of the fields in which a socket of Node keeps what the `onread` option was. */
function readFields(socket: net.Socket): Record<'buffer' | 'callback' | 'generator', symbol | undefined> {
  const fields = new Map(Object.getOwnPropertySymbols(socket).map((symbol) => [symbol.description, symbol]));
  return { buffer: fields.get('kBuffer'), callback: fields.get('kBufferCb'), generator: fields.get('kBufferGen') };
}

/**
 * Has a TLS socket read into the shared buffer too. Node offers `onread` only for sockets that it opens itself, so its own fields are
 * set as that option would set them; without this every read allocates 64 KiB, and most of the time goes to collecting them. Where
 * the fields are not found nothing is changed.
 */
function readIntoShared(socket: net.Socket, wire: SocketWire): void {
  const { _handle: handle } = socket as unknown as { _handle: { useUserBuffer?: (buffer: Buffer) => void } | null };
  const { buffer, callback, generator } = readFields(socket);
  if (
    typeof handle?.useUserBuffer !== 'function' ||
    buffer === undefined ||
    callback === undefined ||
    generator === undefined
  )
    return;
  Object.assign(socket, {
    [buffer]: shared,
    [generator]: null,
    [callback]: (length: number) => {
      wire.onBytes(view(length));
      return true;
    },
  });
  handle.useUserBuffer(shared);
}

/** A wire over any stream socket, such as a TLS socket. Reading starts with `resume()`. */
export function streamWire(socket: net.Socket): Wire {
  const wire = new SocketWire(socket);
  readIntoShared(socket, wire);
  // What was read before, and every read where the shared buffer could not be used, comes as the stream's own buffers.
  socket.on('data', (chunk: Buffer) => wire.onBytes(chunk));
  socket.pause();
  return wire;
}

/** Opens a TCP connection. Reading starts with `resume()`. @throws the socket's error; AbortError when the signal fires */
export function dialWire(target: { host: string; port: number }, signal: AbortSignal): Promise<Wire> {
  return new Promise((resolve, reject) => {
    const bound: { wire: Wire | undefined } = { wire: undefined };
    const socket = net.connect({
      host: target.host,
      port: target.port,
      noDelay: true,
      onread: onreadFor(bound) as net.OnReadOpts,
    });
    const abort = (): void => {
      socket.destroy(signal.reason instanceof Error ? signal.reason : new Error('aborted'));
    };
    const failed = (error: Error): void => {
      signal.removeEventListener('abort', abort);
      reject(error);
    };
    socket.once('error', failed);
    socket.once('connect', () => {
      signal.removeEventListener('abort', abort);
      socket.off('error', failed);
      socket.pause();
      bound.wire = new SocketWire(socket);
      resolve(bound.wire);
    });
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort, { once: true });
  });
}
