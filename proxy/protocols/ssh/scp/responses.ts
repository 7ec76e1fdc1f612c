import { FileProtocolError } from '../sftp/errors.ts';
import type { ByteSink } from '../sftp/port.ts';

/** What the receiving side of an scp answers: a zero byte, or a line that says what is wrong, and begins with 1 (go on) or 2 (it gives up). */
export interface Responses {
  /**
   * The next answer is waited for: it is passed on when it comes. Resolves to whether it is a zero byte; false when the session is over.
   * Called before that which it answers is sent.
   */
  next(): Promise<boolean>;
  /** Bytes of the receiver. The promise resolves when they were passed on. @throws FileProtocolError */
  push(bytes: Buffer): Promise<void>;
  close(): void;
}

const MAX_LINE = 8192;
const LINE_END = 0x0a;

/**
 * @param early whether an answer to nothing is passed on at once, as the last words of a target's scp are; else it is kept until there is
 * something that it answers: a client that agrees to everything beforehand would get contents where it was refused
 */
export function createResponses(toSender: ByteSink, code: 'SPS081' | 'SPS082', early: boolean): Responses {
  let line: Buffer[] = [];
  let lineLength = 0;
  let waiting: ((accepted: boolean) => void) | undefined;
  let wanted = Promise.withResolvers<void>();
  let closed = false;

  /** The first answer in the bytes from `at` on, or undefined while it is not whole. */
  function take(bytes: Buffer, at: number): { readonly answer: Buffer | undefined; readonly next: number } {
    if (lineLength === 0 && bytes[at] === 0) return { answer: bytes.subarray(at, at + 1), next: at + 1 };
    const end = bytes.indexOf(LINE_END, at);
    const part = bytes.subarray(at, end < 0 ? bytes.length : end + 1);
    lineLength += part.length;
    if (lineLength > MAX_LINE) throw new FileProtocolError(code, 'an answer that is too long');
    line.push(part);
    if (end < 0) return { answer: undefined, next: bytes.length };
    const answer = Buffer.concat(line);
    line = [];
    lineLength = 0;
    return { answer, next: end + 1 };
  }

  return {
    next() {
      if (closed) return Promise.resolve(false);
      const { promise, resolve } = Promise.withResolvers<boolean>();
      waiting = resolve;
      wanted.resolve();
      return promise;
    },
    async push(bytes) {
      for (let at = 0; at < bytes.length && !closed; ) {
        const { answer, next } = take(bytes, at);
        at = next;
        if (answer === undefined) return;
        if (!early) await wanted.promise;
        if (closed) return;
        const resolve = waiting;
        waiting = undefined;
        wanted = Promise.withResolvers();
        await toSender(answer);
        resolve?.(answer[0] === 0);
      }
    },
    close() {
      closed = true;
      waiting?.(false);
      wanted.resolve();
    },
  };
}
