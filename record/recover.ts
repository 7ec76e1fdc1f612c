import { constants, promises as fs } from 'node:fs';
import { createChain, firstLink, linkOf, originOf, type PendingLine } from './chain.ts';
import { describeCause, RecorderError } from './errors.ts';
import { closesSegment, eventBody, eventType, parseEvent, type RecordedEvent } from './format.ts';
import { readLastLine, readLines } from './lines.ts';
import type { NoteSigner } from './note.ts';
import { ownerIsAlive, parseOwner, type SegmentOwner } from './owner.ts';
import type { Checkpoint, RecordEventType } from './port.ts';
import { listSegments, type SegmentPath, streamKey } from './segment.ts';
import { type RecordClock, systemClock, Timestamps } from './timestamp.ts';

export interface RecoverOptions {
  /** `STATE/record`. */
  readonly root: string;
  /** Whether the process that wrote a segment may still write. Default: asks the kernel. */
  readonly isAlive?: (owner: SegmentOwner) => boolean;
  readonly clock?: RecordClock;
  /** Signs what is appended, as the writer does. */
  readonly signer?: NoteSigner;
  /** Called once what was appended is on disk. */
  readonly onCheckpoint?: (checkpoint: Checkpoint) => void;
}

export interface RecoveredSegment {
  readonly path: string;
  /** Length of the torn line that was cut off: bytes behind the last line feed, nothing else. 0 when the last line was whole. */
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
 * Closes the streams that processes left open which are gone: cuts a torn last line, writes `session.interrupted` for each session
 * without an end and `recorder.recovered`, linked to what stands before. Lines, damaged ones too, are never removed. To be called
 * before the first stream is opened, under the lock of the state folder; done twice, or interrupted itself, it comes to the same.
 */
export async function recoverRecord(options: RecoverOptions): Promise<Recovery> {
  const times = new Timestamps(options.clock ?? systemClock);
  const recovered: RecoveredSegment[] = [];
  const failures: RecorderError[] = [];
  const done = new Set<string>();
  // From the end: only the last segment of a stream may be appended to, since the next one is linked to how the one before it ended.
  // A last file that held nothing is removed, and the one before it is the last one then.
  for (const segment of (await listSegments(options.root)).reverse()) {
    if (done.has(streamKey(segment))) continue;
    done.add(streamKey(segment));
    try {
      const result = await recoverSegment(segment, options, times);
      if (result === undefined) continue;
      recovered.push(result);
      if (result.removed) done.delete(streamKey(segment));
    } catch (error) {
      failures.push(new RecorderError('SPR007', { path: segment.path, detail: describeCause(error), cause: error }));
    }
  }
  return { recovered: recovered.reverse(), failures };
}

const LINE_FEED = Buffer.from('\n');

/** @param segment the last one of its stream */
async function recoverSegment(
  segment: SegmentPath,
  options: RecoverOptions,
  times: Timestamps,
): Promise<RecoveredSegment | undefined> {
  const { path } = segment;
  const tail = await readLastLine(path);
  const type = parseEvent(tail.line) === undefined ? undefined : eventType(tail.line);
  // A stream that ends with the end of a segment died before it made the next one.
  if (tail.clean && closesSegment(type) && type !== 'segment.end') return undefined;
  const state = await scan(segment);
  const owner = parseOwner(state.head?.owner);
  // Without a head the process died in the middle of making the file, or is just making it: its id alone is known then.
  const isAlive = options.isAlive ?? ownerIsAlive;
  if (isAlive(owner ?? { pid: segment.pid, process: segment.process })) return undefined;
  if (state.lines === 0) {
    // Not one whole line: nothing is lost with the file.
    await fs.unlink(path);
    return { path, truncatedBytes: state.size, interruptedSessions: [], removed: true };
  }
  const truncatedBytes = state.size - state.end;
  const interruptedSessions = [...state.sessions];
  let n = state.n;
  const lines: PendingLine[] = [];
  const append = (event: RecordEventType, members: string): void => {
    const time = times.now();
    const body = eventBody(++n, time, event, members);
    lines.push(event === 'recorder.recovered' ? { n, time, body } : body);
  };
  for (const session of interruptedSessions) {
    append('session.interrupted', `"session":${JSON.stringify(session)},"lastEvent":${JSON.stringify(state.time)}`);
  }
  append(
    'recorder.recovered',
    `"truncatedBytes":${truncatedBytes},"damagedLines":${state.damaged},"brokenLinks":${state.brokenLinks},` +
      `"lastEvent":${JSON.stringify(state.time)}`,
  );
  const chain = createChain(originOf(segment), options.signer, state.link);
  const file = await fs.open(path, constants.O_RDWR | constants.O_APPEND | constants.O_NOFOLLOW);
  try {
    await file.truncate(state.end);
    await file.appendFile(chain.link(lines));
    await file.datasync();
  } finally {
    await file.close();
  }
  const { namespace, name, process } = segment;
  for (const checkpoint of chain.written(lines.length))
    options.onCheckpoint?.({ namespace, name, process, ...checkpoint });
  return { path, truncatedBytes, interruptedSessions, removed: false };
}

interface SegmentState {
  readonly head: RecordedEvent | undefined;
  /** Whole ones, damaged or not. */
  readonly lines: number;
  /** Byte behind the last line feed. */
  readonly end: number;
  readonly size: number;
  readonly n: number;
  readonly time: string;
  /** Whole lines that are no events. */
  readonly damaged: number;
  /** Lines that are not linked to the one before: what a power cut left of a page, or somebody's doing. Never hidden by a recovery. */
  readonly brokenLinks: number;
  /** Of the last whole line. */
  readonly link: string;
  readonly sessions: ReadonlySet<string>;
}

async function scan(segment: SegmentPath): Promise<SegmentState> {
  let head: RecordedEvent | undefined;
  let lines = 0;
  let end = 0;
  let size = 0;
  let n = 0;
  let time = '';
  let damaged = 0;
  let brokenLinks = 0;
  let link = firstLink(originOf(segment));
  const sessions = new Set<string>();
  for await (const line of readLines(segment.path)) {
    size = line.offset + line.bytes.length + (line.whole ? 1 : 0);
    if (!line.whole) break;
    end = size;
    lines++;
    const text = line.bytes.toString('utf8');
    const event = parseEvent(text);
    // The first line of a later segment follows a line that stands in another file.
    const first = lines === 1 && segment.number > 1;
    if (!first && event !== undefined && event.prev !== link) brokenLinks++;
    link = linkOf(Buffer.concat([line.bytes, LINE_FEED]));
    if (event === undefined) {
      damaged++;
      continue;
    }
    head ??= event.e === 'segment.start' ? event : undefined;
    n = Math.max(n, event.n);
    time = event.t;
    noteSessions(event, sessions);
  }
  return { head, lines, end, size, n, time, damaged, brokenLinks, link, sessions };
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
