import type { RecordStream } from '../../record/port.ts';

/**
 * One event-loop turn of the data path. Sessions that have something to forward register here; at the end of the turn every
 * touched record stream is handed to the kernel in one write, and only then does anything go to a target. So a command that was
 * not recorded is not forwarded, at the price of one write per turn instead of one per command.
 */
export interface TurnParticipant {
  readonly stream: RecordStream;
  /** Something in this turn changes state: it must be on disk, not only in the kernel, before it is forwarded. */
  readonly needsSync: boolean;
  /** The wait for the disk begins: nothing may be added to what is to be forwarded until `forward`. */
  hold(): void;
  /** Everything appended for this participant is recorded: forward. */
  forward(): void;
  /** The record could not be written: nothing of this turn may be forwarded. */
  recordFailed(error: Error): void;
}

export interface Turn {
  schedule(participant: TurnParticipant): void;
}

export function createTurn(): Turn {
  let pending: TurnParticipant[] = [];
  let spare: TurnParticipant[] = [];
  /** Most turns touch one stream: what became of it is held here, and of the others in the map. */
  let first: RecordStream | undefined;
  let firstFailure: Error | undefined;
  const others = new Map<RecordStream, Error | undefined>();

  function write(stream: RecordStream): Error | undefined {
    try {
      stream.flush();
      return undefined;
    } catch (error) {
      return error instanceof Error ? error : new Error(String(error));
    }
  }

  /** Writes a stream once in a turn. */
  function flush(stream: RecordStream): Error | undefined {
    if (stream === first) return firstFailure;
    if (first === undefined) {
      firstFailure = write(stream);
      first = stream;
      return firstFailure;
    }
    if (!others.has(stream)) others.set(stream, write(stream));
    return others.get(stream);
  }

  function forwardWhenDurable(participant: TurnParticipant): void {
    participant.hold();
    participant.stream.sync().then(
      () => participant.forward(),
      (error: Error) => participant.recordFailed(error),
    );
  }

  function run(): void {
    const batch = pending;
    pending = spare;
    spare = batch;
    // Before anything of this turn: what was written in the last one vouches for nothing of this one, even if that one was cut short.
    first = undefined;
    firstFailure = undefined;
    if (others.size > 0) others.clear();
    try {
      for (const participant of batch) {
        const failure = flush(participant.stream);
        if (failure !== undefined) participant.recordFailed(failure);
        else if (participant.needsSync) forwardWhenDurable(participant);
        else participant.forward();
      }
    } finally {
      // Also of a turn that was cut short nothing is forwarded a second time. One by one: setting the length of an array leaves the compiled code.
      while (batch.pop() !== undefined);
    }
  }

  return {
    schedule(participant) {
      // A stream flushed earlier in this very batch would hide what is appended while the batch runs: it goes into the next one.
      if (pending.push(participant) === 1) setImmediate(run);
    },
  };
}
