import * as n from './constants.ts';
import { FileProtocolError } from './errors.ts';
import { packet, type Raw } from './fields.ts';
import type { ByteSink } from './port.ts';

/** What goes to the client in place of an answer: the frame given back, or another; undefined: nothing. Frames given may be changed. */
export type OnAnswer = (frame: Buffer, type: number) => Buffer | undefined;

interface Pending {
  /** Types that may answer, besides STATUS. */
  readonly expected: number | undefined;
  readonly answer: OnAnswer;
}

/** Requests on their way: each answer belongs to exactly one of them, whatever ids client and server use. */
export interface Exchange {
  /** Sends a client's request under an id of ours; its answer comes to `answer`, with the client's id put in already. */
  forward(frame: Buffer, clientId: number, expected: number | undefined, answer?: OnAnswer): Promise<void> | undefined;
  /** A question of our own. Resolves to the answer. @throws FileProtocolError, or the reason of `close` */
  ask(type: number, expected: number, ...fields: readonly (number | string | Raw)[]): Promise<Buffer>;
  /** An answer of the server. @returns what the client gets @throws FileProtocolError when it answers nothing that was asked */
  answered(frame: Buffer): Buffer | undefined;
  /** Undefined when another request may go; else resolves when it may. */
  room(): Promise<void> | undefined;
  close(reason: Error): void;
}

const passOn: OnAnswer = (frame) => frame;

export function createExchange(toServer: ByteSink, maxOutstanding: number): Exchange {
  const pending = new Map<number, Pending>();
  const asked = new Set<(reason: Error) => void>();
  let waiting: (() => void)[] = [];
  let last = 0;
  let closed: Error | undefined;

  function nextId(): number {
    do last = (last + 1) >>> 0;
    while (pending.has(last));
    return last;
  }

  return {
    forward(frame, clientId, expected, answer = passOn) {
      const id = nextId();
      pending.set(id, {
        expected,
        answer: (reply, type) => {
          reply.writeUInt32BE(clientId, 5);
          return answer(reply, type);
        },
      });
      frame.writeUInt32BE(id, 5);
      return toServer(frame);
    },

    async ask(type, expected, ...fields) {
      if (closed !== undefined) throw closed;
      const id = nextId();
      const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
      asked.add(reject);
      pending.set(id, {
        expected,
        answer: (reply) => {
          asked.delete(reject);
          resolve(reply);
          return undefined;
        },
      });
      await toServer(packet(type, id, ...fields));
      return promise;
    },

    answered(frame) {
      if (frame.length < 9) throw new FileProtocolError('SPS071', 'an answer without an id');
      const id = frame.readUInt32BE(5);
      const type = frame[4] ?? 0;
      const request = pending.get(id);
      if (request === undefined) throw new FileProtocolError('SPS071', `an answer to no request, of type ${type}`);
      if (type !== n.STATUS && type !== request.expected)
        throw new FileProtocolError('SPS071', `an answer of type ${type} to a request of another kind`);
      pending.delete(id);
      const forClient = request.answer(frame, type);
      if (waiting.length > 0) {
        const resumed = waiting;
        waiting = [];
        for (const resume of resumed) resume();
      }
      return forClient;
    },

    room() {
      if (pending.size < maxOutstanding || closed !== undefined) return undefined;
      return new Promise((resolve) => waiting.push(resolve));
    },

    close(reason) {
      if (closed !== undefined) return;
      closed = reason;
      pending.clear();
      for (const reject of asked) reject(reason);
      asked.clear();
      for (const resume of waiting) resume();
      waiting = [];
    },
  };
}
