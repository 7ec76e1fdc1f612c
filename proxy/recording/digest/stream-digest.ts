/**
 * SHA-256 of what passes, for the record. It is the largest single cost of bulk data, so what is long goes to a thread of its own, which
 * starts when a megabyte has passed: that stream, and whatever begins until the thread is there, is digested where it is.
 */
import { createHash, type Hash } from 'node:crypto';
import { Worker } from 'node:worker_threads';
import { createRingMemory, createRingWriter, Operation, type RingWriter, SLOT_BYTES } from './ring.ts';

export interface StreamDigest {
  /** Takes a copy, or digests before it returns. @throws RingAbandoned */
  update(bytes: Buffer): void;
  /** In hex; once, at the end. @throws RingAbandoned */
  hex(): string;
  /** Nobody will ask. Does nothing behind `hex`. */
  drop(): void;
}

/** What is longer goes to the thread, where there is one. */
const LONG = 16_384;
/** At this length the thread is started for what comes after: whoever moves little does without it. */
const WORTH_A_THREAD = 1024 * 1024;
const FIRST_ROOM = 1024;
/** The thread holds a slot's worth of JavaScript and no data: Node's defaults are for programs. */
const LIMITS = { maxYoungGenerationSizeMb: 4, maxOldGenerationSizeMb: 16 };

let ring: RingWriter | undefined;
let starting = false;
let streams = 0;

function startThread(): void {
  if (ring !== undefined || starting) return;
  starting = true;
  const memory = createRingMemory();
  const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js';
  const worker = new Worker(new URL(`./digest-worker${extension}`, import.meta.url), {
    workerData: memory,
    resourceLimits: LIMITS,
  });
  const made = createRingWriter(memory);
  const lost = (): void => {
    made.abandon();
    if (ring === made) ring = undefined;
    starting = false;
  };
  worker.once('online', () => {
    ring = made;
  });
  worker.once('error', lost);
  worker.once('exit', lost);
  // It does not keep the process alive.
  worker.unref();
}

/** Resolves once long streams are digested by the thread. */
export async function digestThread(): Promise<void> {
  startThread();
  while (ring === undefined) await new Promise((resolve) => setTimeout(resolve, 5));
}

export function createStreamDigest(): StreamDigest {
  /** The beginning of a stream that may be short. */
  let room: Buffer | undefined;
  let kept = 0;
  let hash: Hash | undefined;
  let here = 0;
  let away: RingWriter | undefined;
  let stream = 0;

  function keep(bytes: Buffer): void {
    const whole = kept + bytes.length;
    if (room === undefined || room.length < whole) {
      const grown = Buffer.allocUnsafeSlow(Math.min(LONG, Math.max(FIRST_ROOM, 2 * whole)));
      room?.copy(grown, 0, 0, kept);
      room = grown;
    }
    bytes.copy(room, kept);
    kept = whole;
  }

  function begun(): Buffer {
    const bytes = room?.subarray(0, kept) ?? NOTHING;
    room = undefined;
    kept = 0;
    return bytes;
  }

  function digest(bytes: Buffer): void {
    if (away === undefined) {
      hash?.update(bytes);
      here += bytes.length;
      if (here >= WORTH_A_THREAD) startThread();
      return;
    }
    for (let at = 0; at < bytes.length; at += SLOT_BYTES)
      away.put(Operation.UPDATE, stream, bytes.length <= SLOT_BYTES ? bytes : bytes.subarray(at, at + SLOT_BYTES));
  }

  return {
    update(bytes) {
      if (away === undefined && hash === undefined) {
        if (kept + bytes.length <= LONG) {
          keep(bytes);
          return;
        }
        away = ring;
        if (away === undefined) hash = createHash('sha256');
        else stream = streams++ | 0;
        digest(begun());
      }
      digest(bytes);
    },
    hex() {
      if (away === undefined) return (hash ?? createHash('sha256').update(begun())).digest('hex');
      const asked = away;
      away = undefined;
      return asked.ask(stream).toString('hex');
    },
    drop() {
      if (away?.abandoned === false) away.put(Operation.DROP, stream, NOTHING);
      away = undefined;
    },
  };
}

const NOTHING = Buffer.alloc(0);
