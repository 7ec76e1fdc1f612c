import type { LineWriter } from './line-writer.ts';
import type { RecordEventType } from './port.ts';
import type { Timestamps } from './timestamp.ts';

/** Version of the line format, `v` of every event. A reader refuses none that it can parse: members are only ever added. */
export const RECORD_VERSION = 1;

/**
 * A line without its end: `{"v":1,"n":7,"t":"…","e":"command.received",MEMBERS`. Readers rely on this order of members.
 * `linkedLine` ends it once it is known what stands before it.
 */
export function eventBody(n: number, time: string, event: RecordEventType, members: string): string {
  return members === ''
    ? `{"v":1,"n":${n},"t":"${time}","e":"${event}"`
    : `{"v":1,"n":${n},"t":"${time}","e":"${event}",${members}`;
}

/** The whole line, its line feed included. @param prev hash of the line before, see chain.ts */
export function linkedLine(body: string, prev: string): string {
  return `${body},"prev":"${prev}"}\n`;
}

/** Characters of a hash in `prev`. */
export const LINK_LENGTH = 43;
/** Of a line, what stands between its body and the hash of the line before, and behind that. */
const BEFORE_LINK = Buffer.from(',"prev":"');
const BEHIND_LINK = Buffer.from('"}\n');
/** Bytes of a line behind its body. */
export const TAIL_LENGTH = BEFORE_LINK.length + LINK_LENGTH + BEHIND_LINK.length;
/** From the end of a line back to where its hash begins. */
export const LINK_FROM_END = LINK_LENGTH + BEHIND_LINK.length;
const BEFORE_NUMBER = Buffer.from(`{"v":${RECORD_VERSION},"n":`);
const BEFORE_TIME = Buffer.from(',"t":"');

/** What is the same in each event of a type, and of a session: see `eventHead`. */
export interface EventHead {
  /** From the end of the time on. */
  readonly bytes: Buffer;
}

/** @param members the first ones, and the name of the next: `"session":"s1","seq":`, or nothing */
export function eventHead(event: RecordEventType, members: string): EventHead {
  return { bytes: Buffer.from(`","e":"${event}",${members}`) };
}

/** Begins a line as `eventBody` does. */
export function beginLine(line: LineWriter, n: number, times: Timestamps, head: EventHead): void {
  line.copy(BEFORE_NUMBER);
  line.integer(n);
  line.copy(BEFORE_TIME);
  times.write(line);
  line.copy(head.bytes);
}

/** Ends a line as `linkedLine` does, with room for the hash. */
export function endLine(line: LineWriter): void {
  line.copy(BEFORE_LINK);
  line.reserve(LINK_FROM_END);
  line.length += LINK_LENGTH;
  line.copy(BEHIND_LINK);
}

/** An event as read back. Members beside the four that every event has depend on `e`. */
export interface RecordedEvent {
  readonly v: number;
  readonly n: number;
  readonly t: string;
  readonly e: string;
  readonly [member: string]: unknown;
}

/** The event in one line (without its line feed), or undefined when the line is damaged. */
export function parseEvent(line: string): RecordedEvent | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    // A damaged line is a fact that the callers report: which lines, how many, in what file.
    return undefined;
  }
  return isEvent(value) ? value : undefined;
}

function isEvent(value: unknown): value is RecordedEvent {
  if (typeof value !== 'object' || value === null) return false;
  return (
    'v' in value &&
    typeof value.v === 'number' &&
    'n' in value &&
    typeof value.n === 'number' &&
    't' in value &&
    typeof value.t === 'string' &&
    'e' in value &&
    typeof value.e === 'string'
  );
}

const TYPE = /^\{"v":\d+,"n":\d+,"t":"[^"]*","e":"([a-z.]+)"/;

/** The type of an event without parsing the whole line: large result chunks are skipped that way. */
export function eventType(line: string): string | undefined {
  return TYPE.exec(line)?.[1];
}

/** Events after which a segment gets no more: its process stopped, went on in the next one, or died and was cleared up. */
export function closesSegment(event: string | undefined): boolean {
  return event === 'recorder.stop' || event === 'segment.end' || event === 'recorder.recovered';
}
