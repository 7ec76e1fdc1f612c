import type { RecordEventType } from './port.ts';

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
