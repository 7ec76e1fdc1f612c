import { mediaType } from '../body.ts';
import { HttpRefused } from '../core/errors.ts';
import { field, filterFields } from '../core/headers.ts';
import type { BodyTransform, ResponseHead } from '../core/port.ts';
import { mcpError } from './errors.ts';
import { isObject } from './messages.ts';

/** Whether the caller may use a tool at all. */
export type Offers = (tool: string) => boolean;

/** Longest message that a list of tools may be; longer ones end the answer. Bytes. */
const MAX_MESSAGE = 8_388_608;
/** Of a body that is written anew. */
const OF_THE_BODY: ReadonlySet<string> = new Set([
  'content-length',
  'content-md5',
  'content-digest',
  'repr-digest',
  'digest',
  'etag',
  'accept-ranges',
]);

/**
 * Takes tools that the caller may not use out of answers. They come as the answer to a POST, as JSON or as events, and again on the
 * stream of a GET that resumes one, so that every answer is looked through.
 * @throws HttpRefused SPJ006, also from the transform
 */
export function filterTools(
  head: ResponseHead,
  offers: Offers,
): { readonly head: ResponseHead; readonly transform: BodyTransform } | undefined {
  const { type } = mediaType(field(head.headers, 'content-type'));
  const encoding = field(head.headers, 'content-encoding')?.toLowerCase() ?? 'identity';
  const transform =
    type === 'text/event-stream'
      ? eventsFilter(offers)
      : type === 'application/json'
        ? documentFilter(offers)
        : undefined;
  if (transform === undefined) {
    // A 202 has no body, and errors are texts that hold no list.
    if (head.status < 200 || head.status >= 300 || head.status === 202 || head.status === 204) return undefined;
    throw unreadable(type === '' ? 'it has no content type' : `its content type is ${type.slice(0, 64)}`);
  }
  if (encoding !== 'identity') throw unreadable('it is compressed, though it was asked not to be');
  return { head: { ...head, headers: filterFields(head.headers, (name) => !OF_THE_BODY.has(name)) }, transform };
}

const unreadable = (why: string): HttpRefused => new HttpRefused(mcpError('SPJ006', why));

/** One JSON document. */
function documentFilter(offers: Offers): BodyTransform {
  const chunks: Buffer[] = [];
  let length = 0;
  return {
    write(chunk) {
      length += chunk.length;
      if (length > MAX_MESSAGE) throw unreadable(`a message has more than ${MAX_MESSAGE} bytes`);
      chunks.push(Buffer.from(chunk));
      return undefined;
    },
    end() {
      if (length === 0) return undefined;
      return Buffer.from(filtered(decode(Buffer.concat(chunks)), offers));
    },
  };
}

/** Of the empty line behind an event, with the end of the line before it, in bytes. */
const LONGEST_END = 4;

/** Events in the manner of the HTML standard (9.2), one at a time: what is complete goes on, with its data written anew. */
function eventsFilter(offers: Offers): BodyTransform {
  let kept: Buffer[] = [];
  let length = 0;
  /** The last bytes of what is kept: an end may begin in them. */
  let tail: Buffer = Buffer.alloc(0);
  const keep = (bytes: Buffer): void => {
    const copy = Buffer.from(bytes);
    length += copy.length;
    if (length > MAX_MESSAGE) throw unreadable(`an event has more than ${MAX_MESSAGE} bytes`);
    kept.push(copy);
    tail = Buffer.concat([tail, copy.subarray(-LONGEST_END)]).subarray(-LONGEST_END);
  };
  return {
    write(chunk) {
      // What was looked through before is not looked through again for every piece of a long event.
      if (lastEnd(Buffer.concat([tail, chunk])) === 0) {
        keep(chunk);
        return undefined;
      }
      const bytes = Buffer.concat([...kept, chunk]);
      const end = lastEnd(bytes);
      kept = [];
      length = 0;
      tail = Buffer.alloc(0);
      keep(bytes.subarray(end));
      return Buffer.from(events(decode(bytes.subarray(0, end)), offers));
    },
    // An event without its empty line is none, and clients drop it.
    end: () => undefined,
  };
}

/** Where the last complete event ends: behind an empty line. A lone CR at the end may be half of a CRLF. */
function lastEnd(bytes: Buffer): number {
  const text = bytes.toString('latin1');
  const empty = /(?:\r\n|\n|\r(?!\n|$))(?:\r\n|\n|\r(?=[^\n]))/g;
  let end = 0;
  for (let match = empty.exec(text); match !== null; match = empty.exec(text)) {
    end = empty.lastIndex;
  }
  return end;
}

function events(text: string, offers: Offers): string {
  return text
    .split(/(?<=(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r(?!\n)))/)
    .map((event) => eventOf(event, offers))
    .join('');
}

function eventOf(event: string, offers: Offers): string {
  const lines = event.split(/\r\n|\n|\r/);
  const data = lines.flatMap((line) => (isData(line) ? [line.replace(/^\ufeff?data:? ?/, '')] : [])).join('\n');
  // An endpoint of the older transport is no JSON, and holds no list.
  if (data === '' || !/^\s*[[{]/.test(data)) return event;
  const others = lines.filter((line) => line !== '' && !isData(line));
  return `${[...others, `data: ${filtered(data, offers)}`].join('\n')}\n\n`;
}

const isData = (line: string): boolean => /^\ufeff?data(?::|$)/.test(line);

function decode(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw unreadable('it is not valid UTF-8');
  }
}

/** The text as it is where nothing has to go. */
function filtered(text: string, offers: Offers): string {
  let value: unknown;
  try {
    value = JSON.parse(text.replace(/^\ufeff/, ''));
  } catch {
    throw unreadable('it is not JSON');
  }
  let changed = false;
  const one = (message: unknown): unknown => {
    if (!isObject(message) || !isObject(message['result'])) return message;
    const { result } = message;
    const { tools } = result;
    if (!Array.isArray(tools)) return message;
    const offered = tools.filter((tool) => isObject(tool) && typeof tool['name'] === 'string' && offers(tool['name']));
    // Written anew in any case: a parser that takes the first of two members would see what this one did not.
    changed = true;
    return { ...message, result: { ...result, tools: offered } };
  };
  const seen = Array.isArray(value) ? value.map(one) : one(value);
  return changed ? JSON.stringify(seen) : text.replace(/[\r\n]+/g, ' ');
}
