import type { IncomingHttpHeaders } from 'node:http';
import { KubeError, type KubeErrorCode } from './errors.ts';
import type { KubeObject, ObjectList, ResourceType, Status, WatchEvent } from './types.ts';
import { apiVersionOf } from './types.ts';

/** From what the API server says to objects and errors. What is not understood is an error, never an empty answer. */

const MAX_WORDS = 1024;

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

export function parseJson(text: string, object: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Without the parser's message: it quotes what it read.
    throw new KubeError('SPB013', ['it is not JSON', object], { object });
  }
}

function statusOf(value: unknown): Status | undefined {
  return isRecord(value) && value['kind'] === 'Status' ? (value as Status) : undefined;
}

const codeOf = (status: number): KubeErrorCode => {
  switch (status) {
    case 401:
      return 'SPB003';
    case 403:
      return 'SPB004';
    case 404:
      return 'SPB005';
    case 409:
      return 'SPB006';
    case 400:
    case 413:
    case 415:
    case 422:
      return 'SPB007';
    case 410:
      return 'SPB008';
    case 429:
      return 'SPB009';
    default:
      return status >= 500 ? 'SPB010' : 'SPB011';
  }
};

/**
 * @param object what was asked, for the message
 * @param quiet leaves the server's own words out: those about a Secret may hold what is in it
 */
export function errorOf(
  status: number,
  said: Status | undefined,
  object: string,
  quiet = false,
  waitMs?: number,
): KubeError {
  const code = codeOf(status);
  const words = quiet || said?.message === undefined ? '' : said.message.slice(0, MAX_WORDS);
  const fills: readonly (string | number)[] =
    code === 'SPB010' || code === 'SPB011' ? [status, object] : [words === '' ? object : `${object}: ${words}`];
  const seconds = said?.details?.retryAfterSeconds;
  return new KubeError(code, code === 'SPB003' || code === 'SPB009' ? [object] : fills, {
    status,
    object,
    reason: said?.reason,
    retryAfterMs: waitMs ?? (typeof seconds === 'number' && seconds > 0 ? seconds * 1000 : undefined),
    causes: quiet
      ? []
      : (said?.details?.causes ?? []).map((each) => ({ field: each.field ?? '', message: each.message ?? '' })),
    ...(words !== '' && code === 'SPB010' ? { cause: new Error(words) } : {}),
  });
}

/** @returns undefined for 2xx */
export function refusal(
  answer: { readonly status: number; readonly headers: IncomingHttpHeaders; readonly body: Buffer },
  object: string,
  quiet = false,
): KubeError | undefined {
  if (answer.status >= 200 && answer.status < 300) return undefined;
  let said: Status | undefined;
  try {
    said = statusOf(JSON.parse(answer.body.toString('utf8')));
  } catch {
    // What stands before an API server answers in HTML or text: the status says enough.
    said = undefined;
  }
  return errorOf(answer.status, said, object, quiet, retryAfterMs(answer.headers['retry-after']));
}

/** Seconds, or a date (RFC 9110, section 10.2.3). */
export function retryAfterMs(header: string | undefined): number | undefined {
  if (header === undefined) return undefined;
  if (/^\d{1,6}$/.test(header)) return Number(header) * 1000;
  const at = Date.parse(header);
  return Number.isNaN(at) ? undefined : Math.max(0, at - Date.now());
}

/** @throws KubeError SPB013 when it has not what every stored object has */
export function objectOf<T extends KubeObject>(value: unknown, type: ResourceType<T>, object: string): T {
  const metadata = isRecord(value) ? value['metadata'] : undefined;
  if (!isRecord(value) || !isRecord(metadata)) throw new KubeError('SPB013', ['it is no object', object], { object });
  if (value['kind'] !== undefined && value['kind'] !== type.kind) {
    throw new KubeError('SPB013', [`it is a ${String(value['kind'])}`, object], { object });
  }
  // Items of a list of a built-in type come without.
  value['apiVersion'] ??= apiVersionOf(type);
  value['kind'] ??= type.kind;
  return value as unknown as T;
}

/** As `objectOf`, for what a store keeps. */
export function storedObjectOf<T extends KubeObject>(value: unknown, type: ResourceType<T>, object: string): T {
  const found = objectOf(value, type, object);
  const { name, uid, resourceVersion, namespace } = found.metadata as unknown as Readonly<Record<string, unknown>>;
  for (const field of type.namespaced ? [name, uid, resourceVersion, namespace] : [name, uid, resourceVersion]) {
    if (typeof field === 'string' && field !== '') continue;
    throw new KubeError('SPB013', ['an object has no name, namespace, UID or resource version', object], { object });
  }
  return found;
}

export function listOf<T extends KubeObject>(value: unknown, type: ResourceType<T>, object: string): ObjectList<T> {
  const metadata = isRecord(value) ? value['metadata'] : undefined;
  const items = isRecord(value) ? value['items'] : undefined;
  const version = isRecord(metadata) ? metadata['resourceVersion'] : undefined;
  if (!isRecord(metadata) || typeof version !== 'string' || version === '') {
    throw new KubeError('SPB013', ['it is no list with a resource version', object], { object });
  }
  // Go writes an empty list as null.
  if (items !== null && !Array.isArray(items)) throw new KubeError('SPB013', ['it has no items', object], { object });
  const next = metadata['continue'];
  return {
    items: (items ?? []).map((item: unknown) => storedObjectOf(item, type, object)),
    resourceVersion: version,
    ...(typeof next === 'string' && next !== '' ? { continue: next } : {}),
  };
}

/** One line of a watch. */
export function eventOf<T extends KubeObject>(line: string, type: ResourceType<T>, object: string): WatchEvent<T> {
  const event = parseJson(line, object);
  const kind = isRecord(event) ? event['type'] : undefined;
  const subject = isRecord(event) ? event['object'] : undefined;
  switch (kind) {
    case 'ADDED':
    case 'MODIFIED':
    case 'DELETED':
      return { type: kind, object: storedObjectOf(subject, type, object) };
    case 'BOOKMARK': {
      const version = objectOf(subject, type, object).metadata.resourceVersion;
      if (version === undefined || version === '') {
        throw new KubeError('SPB013', ['a bookmark has no resource version', object], { object });
      }
      return { type: 'BOOKMARK', resourceVersion: version };
    }
    case 'ERROR':
      return { type: 'ERROR', status: statusOf(subject) ?? {} };
    default:
      throw new KubeError('SPB013', ['an event is of no known type', object], { object });
  }
}
