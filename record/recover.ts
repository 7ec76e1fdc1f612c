import { constants, promises as fs } from 'node:fs';
import { describeCause, RecorderError } from './errors.ts';
import { closesSegment, eventLine, eventType, parseEvent, type RecordedEvent } from './format.ts';
import { readLastLine, readLines } from './lines.ts';
import { ownerIsAlive, parseOwner, type SegmentOwner } from './owner.ts';
import { listSegments, type SegmentPath, streamKey } from './segment.ts';
import { type RecordClock, systemClock, Timestamps } from './timestamp.ts';

export interface RecoverOptions {
  /** `STATE/record`. */
  readonly root: string;
  /** Whether the process that wrote a segment may still write. Default: asks the kernel. */
  readonly isAlive?: (owner: SegmentOwner) => boolean;
  readonly clock?: RecordClock;
}

export interface RecoveredSegment {
  readonly path: string;
  /** Length of the torn line that was cut off; 0 when the last line was whole. */
  readonly truncatedBytes: number;
  readonly interruptedSessions: readonly string[];
  /** The file held not one whole event and is gone. */
  readonly removed: boolean;
}

export interface Recovery {
  readonly recovered: readonly RecoveredSegment[];
  /** Segments that could not be repaired, SPR007. They stay readable. */
  readonly failures: readonly RecorderError[];
}

/**
 * Closes what processes left open that are gone: cuts a torn last line, writes `session.interrupted` for each session without
 * an end and `recorder.recovered`. Whole events are never removed. To be called before the first stream is opened, under the
 * lock of the state folder; done twice, or interrupted itself, it comes to the same.
 */
export async function recoverRecord(options: RecoverOptions): Promise<Recovery> {
  const isAlive = options.isAlive ?? ownerIsAlive;
  const times = new Timestamps(options.clock ?? systemClock);
  const recovered: RecoveredSegment[] = [];
  const failures: RecorderError[] = [];
  const ended = new Set<string>();
  // From the end: a last file that held nothing is removed, and the one before it is the last one then.
  for (const segment of (await listSegments(options.root)).reverse()) {
    const last = !ended.has(streamKey(segment));
    ended.add(streamKey(segment));
    try {
      const result = await recoverSegment(segment, last, isAlive, times);
      if (result === undefined) continue;
      recovered.push(result);
      if (result.removed && last) ended.delete(streamKey(segment));
    } catch (error) {
      failures.push(new RecorderError('SPR007', { path: segment.path, detail: describeCause(error), cause: error }));
    }
  }
  return { recovered: recovered.reverse(), failures };
}

/** @param last no later segment of the same process: only there can sessions be open */
async function recoverSegment(
  segment: SegmentPath,
  last: boolean,
  isAlive: (owner: SegmentOwner) => boolean,
  times: Timestamps,
): Promise<RecoveredSegment | undefined> {
  const tail = await readLastLine(segment.path);
  const type = parseEvent(tail.line) === undefined ? undefined : eventType(tail.line);
  // A stream that ends with the end of a segment died before it made the next one.
  if (tail.clean && closesSegment(type) && !(last && type === 'segment.end')) return undefined;
  const state = await scan(segment.path);
  const owner = parseOwner(state.head?.owner);
  // Without a head the process died in the middle of making the file, or is just making it: its id alone is known then.
  if (isAlive(owner ?? { pid: segment.pid, process: segment.process })) return undefined;
  if (owner === undefined && state.events === 0) {
    // Not one whole event: nothing is lost with the file.
    await fs.unlink(segment.path);
    return { path: segment.path, truncatedBytes: state.size, interruptedSessions: [], removed: true };
  }
  const truncatedBytes = state.size - state.end;
  const interruptedSessions = last ? [...state.sessions] : [];
  const file = await fs.open(segment.path, constants.O_RDWR | constants.O_APPEND | constants.O_NOFOLLOW);
  try {
    await file.truncate(state.end);
    let n = state.n;
    let lines = '';
    for (const session of interruptedSessions) {
      const members = `"session":${JSON.stringify(session)},"lastEvent":${JSON.stringify(state.time)}`;
      lines += eventLine(++n, times.now(), 'session.interrupted', members);
    }
    const members = `"truncatedBytes":${truncatedBytes},"damagedLines":${state.damaged},"lastEvent":${JSON.stringify(state.time)}`;
    lines += eventLine(++n, times.now(), 'recorder.recovered', members);
    await file.appendFile(lines);
    await file.datasync();
  } finally {
    await file.close();
  }
  return { path: segment.path, truncatedBytes, interruptedSessions, removed: false };
}

interface SegmentState {
  readonly head: RecordedEvent | undefined;
  readonly events: number;
  /** Byte behind the last whole event. */
  readonly end: number;
  readonly size: number;
  readonly n: number;
  readonly time: string;
  /** Lines before `end` that are no events. */
  readonly damaged: number;
  readonly sessions: ReadonlySet<string>;
}

async function scan(path: string): Promise<SegmentState> {
  let head: RecordedEvent | undefined;
  let events = 0;
  let end = 0;
  let size = 0;
  let n = 0;
  let time = '';
  let damaged = 0;
  let damagedSince = 0;
  const sessions = new Set<string>();
  for await (const line of readLines(path)) {
    size = line.offset + line.bytes.length + (line.whole ? 1 : 0);
    const event = line.whole ? parseEvent(line.bytes.toString('utf8')) : undefined;
    if (event === undefined) {
      damagedSince++;
      continue;
    }
    // Damage that whole events follow is left as it is; damage at the end is what the crash tore.
    damaged += damagedSince;
    damagedSince = 0;
    head ??= event.e === 'segment.start' ? event : undefined;
    events++;
    end = size;
    n = Math.max(n, event.n);
    time = event.t;
    noteSessions(event, sessions);
  }
  return { head, events, end, size, n, time, damaged, sessions };
}

function noteSessions(event: RecordedEvent, sessions: Set<string>): void {
  const session = event.session;
  switch (event.e) {
    case 'segment.start': {
      const running = event.sessions;
      if (Array.isArray(running)) for (const id of running) if (typeof id === 'string') sessions.add(id);
      return;
    }
    case 'session.start':
      if (typeof session === 'string') sessions.add(session);
      return;
    case 'session.end':
    case 'session.refused':
    case 'session.interrupted':
      if (typeof session === 'string') sessions.delete(session);
      return;
    default:
      // Other events neither begin nor end a session.
      return;
  }
}
