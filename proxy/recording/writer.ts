import { randomBytes } from 'node:crypto';
import type { RecorderError } from '../../record/errors.ts';
import type { NoteSigner } from '../../record/note.ts';
import { ownerOf } from '../../record/owner.ts';
import type { Checkpoint, CommandStream, RecordEventType, RecordingSink } from '../../record/port.ts';
import { connectionFolder } from '../../record/segment.ts';
import { type RecordClock, systemClock } from '../../record/timestamp.ts';
import { fileSystem, type SegmentIo } from './segment-file.ts';
import { SegmentedStream } from './stream.ts';

export interface RecorderOptions {
  /** `STATE/record`. Made at first use, mode 0700. */
  readonly root: string;
  /** The process id, handed in by `main.ts`. */
  readonly pid: number;
  /** A segment is followed by the next one past this size. Default 64 MiB. A new UTC day begins a new one too. */
  readonly segmentBytes?: number;
  /** Within this time, in milliseconds, what nobody waits for is flushed and durable too. Default 100. */
  readonly syncDelayMs?: number;
  /** Milliseconds between two `recorder.heartbeat` events of a stream. Default 60,000. */
  readonly heartbeatMs?: number;
  /** Signs the checkpoints. Without it lines are chained and nothing is signed: for tests of other things. */
  readonly signer?: NoteSigner;
  /** Milliseconds between two `recorder.checkpoint` events of a stream in which something was written. Default 10,000. */
  readonly checkpointMs?: number;
  /** Called when a stream cannot be written, and with undefined when all can again. For logs and metrics. */
  readonly onHealth?: (failure: RecorderError | undefined) => void;
  readonly io?: SegmentIo;
  readonly clock?: RecordClock;
}

export interface Recorder extends RecordingSink {
  /** Appends an event to every open stream, such as `bundle.changed`; flushed by each stream's own timer. */
  broadcast(event: RecordEventType, members: string): void;
  /** The failure in force, of any stream. */
  readonly failure: RecorderError | undefined;
}

/** Writes the record of this process: one stream for each connection, opened at first use. */
export function createRecorder(options: RecorderOptions): Recorder {
  const owner = ownerOf(options.pid, randomBytes(6).toString('hex'));
  const streams = new Map<string, SegmentedStream>();
  const failures = new Map<string, RecorderError>();
  const listeners = new Set<(checkpoint: Checkpoint) => void>();
  let closing: Promise<void> | undefined;

  function noteHealth(key: string, failure: RecorderError | undefined): void {
    const wasHealthy = failures.size === 0;
    if (failure === undefined) failures.delete(key);
    else failures.set(key, failure);
    if (failure !== undefined || (!wasHealthy && failures.size === 0)) options.onHealth?.(failure);
  }

  function open(key: string, namespace: string, name: string): SegmentedStream {
    const stream = new SegmentedStream({
      folder: connectionFolder(options.root, namespace, name),
      namespace,
      name,
      owner,
      io: options.io ?? fileSystem,
      clock: options.clock ?? systemClock,
      segmentBytes: options.segmentBytes ?? 64 * 1024 * 1024,
      syncDelayMs: options.syncDelayMs ?? 100,
      heartbeatMs: options.heartbeatMs ?? 60_000,
      checkpointMs: options.checkpointMs ?? 10_000,
      signer: options.signer,
      onCheckpoint: (checkpoint) => {
        for (const listener of listeners) listener(checkpoint);
      },
      onHealth: (failure) => noteHealth(key, failure),
    });
    streams.set(key, stream);
    stream.open();
    return stream;
  }

  return {
    stream(namespace, name): CommandStream {
      const key = `${namespace}/${name}`;
      const known = streams.get(key);
      if (known === undefined) return open(key, namespace, name);
      // A stream that cannot be written keeps trying by itself; whoever asks meanwhile makes it try too, or is told why not.
      if (known.failure !== undefined) known.flush();
      return known;
    },
    broadcast(event, members) {
      for (const stream of streams.values()) stream.append(event, members);
    },
    get failure() {
      return failures.values().next().value;
    },
    get healthy() {
      return failures.size === 0;
    },
    onCheckpoint(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    close() {
      closing ??= closeAll([...streams.values()]);
      return closing;
    },
  };
}

async function closeAll(streams: readonly SegmentedStream[]): Promise<void> {
  const results = await Promise.allSettled(streams.map((stream) => stream.close()));
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}
