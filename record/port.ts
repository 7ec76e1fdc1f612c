/**
 * What the lanes know of the record. An event is appended while a command is handled, handed to the kernel once per
 * event-loop turn (`flush`), and only then is the command forwarded. See docs/record.md.
 */

import type { EventHead } from './format.ts';
import type { LineWriter } from './line-writer.ts';

/** Names of events. One stream holds events of one proxy process and one AccessConnection. */
export type RecordEventType =
  | 'segment.start'
  | 'segment.end'
  | 'recorder.start'
  | 'recorder.heartbeat'
  | 'recorder.stop'
  | 'recorder.recovered'
  | 'recorder.resumed'
  | 'recorder.checkpoint'
  | 'segment.removed'
  | 'bundle.changed'
  | 'session.start'
  | 'session.end'
  | 'session.interrupted'
  | 'session.authenticated'
  | 'session.refused'
  | 'statement.parsed'
  | 'command.received'
  | 'command.denied'
  | 'command.held'
  | 'command.released'
  | 'command.executed'
  | 'command.failed'
  | 'request.chunk'
  | 'result.chunk'
  | 'output.chunk'
  | 'file.operation'
  | 'file.denied'
  | 'file.closed'
  | 'credential.issued'
  | 'credential.used'
  | 'credential.revoked';

export interface RecordStream {
  /**
   * Appends one event to the turn's buffer. `members` are JSON object members without braces, made with JSON.stringify and
   * cached by the caller where they repeat, such as `"session":"s1","verdict":"Allow"`. The stream adds `v`, `n`
   * (sequence), `t` (time) and `e` (type). Returns `n`. Never throws: a failure shows at `flush`.
   */
  append(event: RecordEventType, members: string): number;
  /** Hands all appended events to the kernel in one write. @throws RecorderError when that is not possible. */
  flush(): void;
  /** Resolves once everything appended so far is flushed and on disk (group commit, fdatasync). @throws RecorderError */
  sync(): Promise<void>;
}

/** A stream that also takes events in pieces. */
export interface CommandStream extends RecordStream {
  /** When the last event was taken: milliseconds of a clock that never jumps, as `performance.now` gives them. Asking for the time costs as much as a short line. */
  readonly takenAt: number;
  /**
   * As `append`, for lanes to which strings for each command are too dear: what is returned takes the members behind those of the head,
   * piece by piece, until `end`. Nothing else is done with the stream between the two. Never throws. Not for events that begin or end a session.
   * @param head as `eventHead` gives it
   */
  begin(head: EventHead): LineWriter;
  /** Ends the event that was begun. Returns `n`. Never throws. */
  end(): number;
}

/** What was signed once everything up to it was on disk. Whoever keeps it elsewhere can prove later that nothing before it was changed. */
export interface Checkpoint {
  readonly namespace: string;
  readonly name: string;
  /** Random, one per process: with namespace and name it identifies the stream. */
  readonly process: string;
  readonly n: number;
  /** RFC 3339. */
  readonly time: string;
  /** C2SP signed note over stream, `n` and hash; see docs/record.md. */
  readonly note: string;
}

export interface RecordingSink {
  /** The stream of a connection, opened at first use. @throws RecorderError when it cannot be. */
  stream(namespace: string, name: string): CommandStream;
  /** False once a write failed; true again after one succeeded. Read for /readyz. */
  readonly healthy: boolean;
  /** Called with each checkpoint of any stream, once it is on disk. Returns the unsubscribe function. */
  onCheckpoint(listener: (checkpoint: Checkpoint) => void): () => void;
  /** Stops: writes `recorder.stop`, syncs, closes. */
  close(): Promise<void>;
}
