import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { RecorderError } from '../../record/errors.ts';
import { followEvents } from '../../record/follow.ts';
import { parseSessionQuery } from '../../record/query.ts';
import {
  connectionFolder,
  isMissing,
  listSegments,
  parseSegmentFileName,
  type SegmentFilter,
} from '../../record/segment.ts';
import { listSessions, type SessionFilter, sessionEvents } from '../../record/sessions.ts';
import { ArchiveError } from '../errors.ts';
import type { AuditScope } from './auditor.ts';
import type { Permitted } from './rights.ts';

/**
 * What is asked of the record:
 *
 *     GET /v1/sessions?FILTER                      sessions, one JSON object on a line
 *     GET /v1/sessions/ID/events                   the events of one, as they were recorded
 *     GET /v1/events?namespace=&name=              what is recorded from now on, with its connection
 *     GET /v1/segments?namespace=&name=            segments with their sizes
 *     GET /v1/segments/NAMESPACE/NAME/FILE?offset= the bytes of one, from there to its end
 */
export type Query =
  | { readonly type: 'sessions'; readonly filter: SessionFilter }
  | { readonly type: 'session'; readonly session: string }
  | { readonly type: 'events'; readonly filter: SegmentFilter }
  | { readonly type: 'segments'; readonly filter: SegmentFilter }
  | {
      readonly type: 'segment';
      readonly namespace: string;
      readonly name: string;
      readonly file: string;
      readonly offset: number;
    };

const MOST_PATH = 4096;
const MOST_ID = 200;

/** @throws ArchiveError SPH033 */
export function parseQuery(method: string | undefined, target: string | undefined): Query {
  if (method !== 'GET') throw new ArchiveError('SPH033', ['it is no GET']);
  const url = (target ?? '').length > MOST_PATH ? null : URL.parse(target ?? '', 'https://archive');
  if (url === null) throw new ArchiveError('SPH033', ['the path cannot be read']);
  const [version, what, ...rest] = url.pathname.split('/').slice(1);
  if (version === 'v1' && what === 'sessions') {
    const [session, events] = rest;
    if (session === undefined) return { type: 'sessions', filter: filterOf(url) };
    if (events === 'events' && rest.length === 2) return { type: 'session', session: decoded(session) };
  }
  if (version === 'v1' && what === 'events' && rest.length === 0) return { type: 'events', filter: scopeFilter(url) };
  if (version === 'v1' && what === 'segments') {
    if (rest.length === 0) return { type: 'segments', filter: scopeFilter(url) };
    const [namespace = '', name = '', file = ''] = rest;
    const offset = url.searchParams.get('offset') ?? '0';
    if (rest.length === 3 && parseSegmentFileName(file) !== undefined && /^\d{1,15}$/.test(offset))
      return { type: 'segment', namespace, name, file, offset: Number(offset) };
  }
  throw new ArchiveError('SPH032', [JSON.stringify(url.pathname.slice(0, 200))]);
}

function filterOf(url: URL): SessionFilter {
  const filter = parseSessionQuery(url.searchParams);
  if (typeof filter === 'string') throw new ArchiveError('SPH033', [filter]);
  return filter;
}

function scopeFilter(url: URL): SegmentFilter {
  const { namespace, name, ...others } = filterOf(url);
  if (Object.keys(others).length > 0) throw new ArchiveError('SPH033', ['only namespace and name are taken here']);
  return { ...(namespace === undefined ? {} : { namespace }), ...(name === undefined ? {} : { name }) };
}

function decoded(part: string): string {
  try {
    const text = decodeURIComponent(part);
    if (text.length <= MOST_ID) return text;
  } catch {
    // Said below: it is no id either way.
  }
  throw new ArchiveError('SPH033', ['that is no id of a session']);
}

/** The smallest part of the record that has to be theirs. */
export function scopeOf(query: Query): AuditScope {
  switch (query.type) {
    case 'session':
      return {};
    case 'segment':
      return { namespace: query.namespace, name: query.name };
    default: {
      const { namespace, name } = query.filter;
      return { ...(namespace === undefined ? {} : { namespace }), ...(name === undefined ? {} : { name }) };
    }
  }
}

export interface Answer {
  readonly contentType: string;
  /** Known where it is known. */
  readonly length?: number;
  readonly body: AsyncIterable<string | Buffer> | Readable;
  /** It goes on until the reader has enough. */
  readonly endless?: boolean;
}

const LINES = 'application/jsonl';

/** Reads as much at a time as one line or one block has. @throws ArchiveError SPH032 @throws the system's error */
export async function answerTo(query: Query, root: string, permitted: Permitted, signal: AbortSignal): Promise<Answer> {
  const { permits } = permitted;
  switch (query.type) {
    case 'sessions':
      return { contentType: LINES, body: lines(listSessions(root, { ...query.filter, permits }, { signal })) };
    case 'session': {
      const events = sessionEvents(root, query.session, signal, { permits });
      const first = await events.next();
      if (first.done === true) throw new ArchiveError('SPH032', [`session ${JSON.stringify(query.session)}`]);
      return { contentType: LINES, body: lines(after(first.value, events)) };
    }
    case 'events':
      return {
        contentType: LINES,
        endless: true,
        body: lines(followEvents(root, { ...query.filter, permits }, signal)),
      };
    case 'segments':
      return { contentType: LINES, body: lines(segmentsOf(root, { ...query.filter, permits })) };
    case 'segment':
      return segmentBytes(root, query, permitted);
    default:
      return query satisfies never;
  }
}

async function* lines(objects: AsyncIterable<object>): AsyncGenerator<string> {
  for await (const object of objects) yield `${JSON.stringify(object)}\n`;
}

async function* after<T>(first: T, rest: AsyncIterable<T>): AsyncGenerator<T> {
  yield first;
  yield* rest;
}

/** One segment of the record, as a listing names it. */
export interface ListedSegment {
  readonly namespace: string;
  readonly name: string;
  readonly file: string;
  readonly size: number;
}

async function* segmentsOf(root: string, filter: SegmentFilter): AsyncGenerator<ListedSegment> {
  for (const { namespace, name, file, path } of await listSegments(root, filter)) {
    try {
      yield { namespace, name, file, size: (await stat(path)).size };
    } catch (error) {
      // Retention came in between.
      if (!isMissing(error)) throw error;
    }
  }
}

async function segmentBytes(
  root: string,
  { namespace, name, file, offset }: Extract<Query, { type: 'segment' }>,
  { permits }: Permitted,
): Promise<Answer> {
  const missing = (cause?: unknown) => new ArchiveError('SPH032', [`segment ${namespace}/${name}/${file}`], cause);
  if (!permits(namespace, name)) throw missing();
  try {
    const path = join(connectionFolder(root, namespace, name), file);
    const { size } = await stat(path);
    const length = Math.max(0, size - offset);
    // What is written meanwhile belongs to the next question: the length has been said.
    const body = length === 0 ? empty() : createReadStream(path, { start: offset, end: size - 1 });
    return { contentType: 'application/octet-stream', length, body };
  } catch (error) {
    if (isMissing(error) || error instanceof RecorderError) throw missing(error);
    throw error;
  }
}

async function* empty(): AsyncGenerator<Buffer> {}
