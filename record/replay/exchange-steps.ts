import { StringDecoder } from 'node:string_decoder';
import { BODY_ENCODING } from '../exchange-events.ts';
import type { RecordedEvent } from '../format.ts';
import { isNumber, number, object, some, text } from './members.ts';

/** What a request over HTTP was, as recorded. Members that the record does not hold are absent. */
export interface ExchangeFacts {
  readonly method: string;
  readonly host?: string;
  /** Path and query. */
  readonly target?: string;
  readonly version?: string;
  readonly upgrade?: string;
  readonly headers: Readonly<Record<string, string>>;
  /** What a lane knew besides. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/** How an exchange ended. */
export interface ExchangeEnd {
  /** Status code. */
  readonly status?: number;
  readonly requestBytes?: number;
  readonly answerHeaders?: Readonly<Record<string, string>>;
}

/** A piece of a body, or its end. */
export interface BodyPart {
  readonly of: 'request' | 'result';
  readonly first: boolean;
  readonly contentType?: string;
  /** Text, or what stands in its place. */
  readonly text: string;
  readonly end?: { readonly bytes: number; readonly recorded?: number; readonly sha256?: string };
}

/** Undefined: it is no exchange. */
export function exchangeFacts(event: RecordedEvent): ExchangeFacts | undefined {
  const { method, host, target, version, upgrade, headers, details } = event;
  if (typeof method !== 'string' || typeof host !== 'string') return undefined;
  return {
    method,
    host,
    headers: texts(headers),
    ...some({ target: text(target), version: text(version), upgrade: text(upgrade) }),
    ...(details === undefined ? {} : { details: object(details) }),
  };
}

export function exchangeEnd({ status, requestBytes, headers }: RecordedEvent): ExchangeEnd {
  return {
    ...some({ status: number(status), requestBytes: number(requestBytes) }),
    ...(headers === undefined ? {} : { answerHeaders: texts(headers) }),
  };
}

export const isBody = ({ encoding }: Readonly<Record<string, unknown>>): boolean => encoding === BODY_ENCODING;

export interface BodyReader {
  /** Enters a `request.chunk` or `result.chunk`, or the `request` or `result` of an outcome. */
  enter(seq: number, of: BodyPart['of'], part: Readonly<Record<string, unknown>>): BodyPart;
}

/** Bodies at one time that are followed; exchanges of a session that run at one time are far fewer. */
const MOST_BODIES = 1024;

/** Joins the pieces of bodies, of which a character may lie in two. */
export function createBodyReader(): BodyReader {
  const running = new Map<string, StringDecoder>();
  return {
    enter(seq, of, part) {
      const { offset, data, bytes, recorded, sha256, contentType, contentEncoding } = part;
      const key = `${of} ${seq}`;
      const first = offset === 0 || !running.has(key);
      const coded = typeof contentEncoding === 'string' && contentEncoding !== 'identity';
      const decoder = (first ? undefined : running.get(key)) ?? new StringDecoder('utf8');
      if (running.size < MOST_BODIES) running.set(key, decoder);
      const raw = typeof data === 'string' ? Buffer.from(data, 'base64') : Buffer.alloc(0);
      const shown = coded ? `(${raw.length} bytes, ${contentEncoding})` : decoder.write(raw);
      const ended = isNumber(bytes);
      if (ended) running.delete(key);
      return {
        ...{ of, first },
        text: ended && !coded ? shown + decoder.end() : shown,
        ...some({ contentType: text(contentType) }),
        ...(ended ? { end: { bytes, ...some({ recorded: number(recorded), sha256: text(sha256) }) } } : {}),
      };
    },
  };
}

function texts(value: unknown): Readonly<Record<string, string>> {
  const entries = Object.entries(object(value)).filter(
    (entry): entry is [string, string] => typeof entry[1] === 'string',
  );
  return Object.fromEntries(entries);
}
