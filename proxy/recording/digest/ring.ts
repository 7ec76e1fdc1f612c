/**
 * A queue in shared memory from one thread to another: slots of 32 KiB, each with an operation, the number of a stream and so many of its
 * bytes. Either side sleeps where the queue is empty or full, so what is under way is bounded by its size.
 */

export const SLOT_BYTES = 32_768;
/** 2 MiB: what the other thread may be behind by, 2 ms of its time. */
const SLOTS = 64;
/** Waking a thread costs as much as digesting a slot: it is woken for several. */
const WAKE_SLOTS = 8;
/** A thread that takes nothing for so long is gone. */
const PATIENCE_MS = 10_000;

export const Operation = { UPDATE: 0, DIGEST: 1, DROP: 2 } as const;
export type RingOperation = (typeof Operation)[keyof typeof Operation];

/** Words at the beginning: positions count slots, and wrap. */
const PUT = 0;
const TAKEN = 1;
const ANSWERED = 2;
const WORDS = 16;
/** Of a slot: operation, stream, length. */
const HEAD = 3;
const ANSWER_BYTES = 32;

export type RingMemory = SharedArrayBuffer;

export const createRingMemory = (): RingMemory =>
  new SharedArrayBuffer(4 * (WORDS + SLOTS * HEAD) + ANSWER_BYTES + SLOTS * SLOT_BYTES);

function views(memory: RingMemory) {
  const dataAt = 4 * (WORDS + SLOTS * HEAD) + ANSWER_BYTES;
  return {
    words: new Int32Array(memory, 0, WORDS + SLOTS * HEAD),
    answer: new Uint8Array(memory, dataAt - ANSWER_BYTES, ANSWER_BYTES),
    slots: Array.from({ length: SLOTS }, (_each, index) =>
      Buffer.from(memory, dataAt + index * SLOT_BYTES, SLOT_BYTES),
    ),
  };
}

/** The other thread is gone. */
export class RingAbandoned extends Error {
  override readonly name = 'RingAbandoned';
}

export interface RingWriter {
  /** Takes a copy of at most SLOT_BYTES. Waits where the queue is full. @throws RingAbandoned */
  put(operation: RingOperation, stream: number, bytes: Buffer): void;
  /** Puts DIGEST and waits for what comes of it: 32 bytes. @throws RingAbandoned */
  ask(stream: number): Buffer;
  /** Nobody takes anything any more: no call waits from here on. */
  abandon(): void;
  readonly abandoned: boolean;
}

export function createRingWriter(memory: RingMemory): RingWriter {
  const { words, answer, slots } = views(memory);
  let position = 0;
  let woken = 0;
  let abandoned = false;

  function wake(): void {
    woken = position;
    Atomics.notify(words, PUT);
  }

  /** Until a word is no longer what it was. */
  function awaitChange(word: number, from: number): void {
    wake();
    if (Atomics.wait(words, word, from, PATIENCE_MS) !== 'timed-out' || Atomics.load(words, word) !== from) return;
    abandoned = true;
    refuse();
  }

  function refuse(): void {
    if (abandoned) throw new RingAbandoned('the thread that digests what passes does not answer');
  }

  function put(operation: RingOperation, stream: number, bytes: Buffer): void {
    refuse();
    for (;;) {
      const taken = Atomics.load(words, TAKEN);
      if (((position - taken) | 0) < SLOTS) break;
      awaitChange(TAKEN, taken);
    }
    const index = position & (SLOTS - 1);
    const head = WORDS + index * HEAD;
    slots[index]!.set(bytes);
    words[head] = operation;
    words[head + 1] = stream;
    words[head + 2] = bytes.length;
    position = (position + 1) | 0;
    Atomics.store(words, PUT, position);
    if (((position - woken) | 0) >= WAKE_SLOTS) wake();
  }

  return {
    put,
    ask(stream) {
      const before = Atomics.load(words, ANSWERED);
      put(Operation.DIGEST, stream, NOTHING);
      while (Atomics.load(words, ANSWERED) === before) awaitChange(ANSWERED, before);
      return Buffer.from(answer);
    },
    abandon() {
      abandoned = true;
    },
    get abandoned() {
      return abandoned;
    },
  };
}

const NOTHING = Buffer.alloc(0);

/** Bytes are valid during the call. Returns an answer to DIGEST. */
export type RingReader = (operation: RingOperation, stream: number, bytes: Buffer) => Buffer | undefined;

/** Hands over what is put, one slot after the other, for ever: the thread does nothing else. */
export function serveRing(memory: RingMemory, reader: RingReader): never {
  const { words, answer, slots } = views(memory);
  let position = 0;
  for (;;) {
    if (Atomics.load(words, PUT) === position) {
      Atomics.wait(words, PUT, position);
      continue;
    }
    const index = position & (SLOTS - 1);
    const head = WORDS + index * HEAD;
    const slot = slots[index]!;
    const length = words[head + 2]!;
    const result = reader(
      words[head] as RingOperation,
      words[head + 1]!,
      length === SLOT_BYTES ? slot : slot.subarray(0, length),
    );
    position = (position + 1) | 0;
    Atomics.store(words, TAKEN, position);
    Atomics.notify(words, TAKEN);
    if (result === undefined) continue;
    answer.set(result);
    Atomics.add(words, ANSWERED, 1);
    Atomics.notify(words, ANSWERED);
  }
}
