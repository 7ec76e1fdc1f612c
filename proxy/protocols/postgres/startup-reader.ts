import type { Wire } from '../../listener/wire.ts';

/** Takes one value from the front of what has arrived: the value and its bytes, or undefined when more is needed. */
export type Take<T> = (bytes: Buffer) => { readonly value: T; readonly length: number } | undefined;

/** The peer closed, or its connection broke, while something was expected of it. */
export class WireClosed extends Error {
  override readonly name = 'WireClosed';
}

/**
 * Request-and-answer reading from a wire while a connection is set up; the relay takes the callbacks over afterwards. The wire is
 * paused while nothing is being read, so no more than one read beyond a packet is ever held.
 */
export interface StartupReader {
  readonly wire: Wire;
  /**
   * @throws whatever `take` throws; WireClosed; the signal's reason. The reader cannot be used after a rejection.
   */
  read<T>(take: Take<T>, signal: AbortSignal): Promise<T>;
  /** Whether any byte has arrived. */
  readonly heard: boolean;
  /** How many bytes have arrived and were not taken. */
  readonly buffered: number;
  /** Frees the wire's callbacks, leaves it paused, and hands out the bytes that were not taken. */
  release(): Buffer;
}

const nothing = (): void => {};

export function startupReader(wire: Wire): StartupReader {
  let bytes: Buffer = Buffer.alloc(0);
  let heard = false;
  let ended: WireClosed | undefined;
  /** Set while a read waits. */
  let step: (() => void) | undefined;

  wire.onBytes = (chunk) => {
    heard = true;
    bytes = bytes.length === 0 ? Buffer.from(chunk) : Buffer.concat([bytes, chunk]);
    step?.();
  };
  const end = (error?: Error): void => {
    ended ??= new WireClosed(error?.message ?? 'the peer closed the connection', { cause: error });
    step?.();
  };
  wire.onEnd = () => end();
  wire.onClose = end;
  wire.pause();

  return {
    wire,
    get heard() {
      return heard;
    },
    get buffered() {
      return bytes.length;
    },
    read<T>(take: Take<T>, signal: AbortSignal): Promise<T> {
      if (bytes.length > 0 && !signal.aborted) {
        // A server says a dozen things at once when a session begins: what is there needs no waiting.
        try {
          const taken = take(bytes);
          if (taken !== undefined) {
            bytes = bytes.subarray(taken.length);
            return Promise.resolve(taken.value);
          }
        } catch (error) {
          return Promise.reject(error);
        }
      }
      return new Promise<T>((resolve, reject) => {
        const finish = (settle: () => void): void => {
          step = undefined;
          signal.removeEventListener('abort', aborted);
          wire.pause();
          settle();
        };
        const aborted = (): void => finish(() => reject(signal.reason));
        step = () => {
          try {
            const taken = take(bytes);
            if (taken !== undefined) {
              bytes = bytes.subarray(taken.length);
              finish(() => resolve(taken.value));
            } else if (ended !== undefined) finish(() => reject(ended));
          } catch (error) {
            finish(() => reject(error));
          }
        };
        if (signal.aborted) {
          aborted();
          return;
        }
        signal.addEventListener('abort', aborted, { once: true });
        step();
        if (step !== undefined) wire.resume();
      });
    },
    release() {
      wire.onBytes = nothing;
      wire.onEnd = nothing;
      wire.onClose = nothing;
      const rest = bytes;
      bytes = Buffer.alloc(0);
      return rest;
    },
  };
}

/** A message: type byte, Int32 length that counts itself, body. The body is a view that stays valid. */
export interface StartupMessageFrame {
  readonly type: number;
  readonly body: Buffer;
}

/** Takes one message, refusing it by `refuse` before its body is waited for when type and length are not acceptable. */
export function takeMessage(check: (type: number, bodyLength: number) => void): Take<StartupMessageFrame> {
  return (bytes) => {
    const type = bytes[0];
    if (type === undefined) return undefined;
    if (bytes.length < 5) {
      // The type alone can be refused at once, so that a wrong protocol does not wait for five bytes.
      check(type, 0);
      return undefined;
    }
    const length = bytes.readInt32BE(1);
    check(type, length - 4);
    const end = 1 + length;
    return bytes.length < end ? undefined : { value: { type, body: bytes.subarray(5, end) }, length: end };
  };
}
