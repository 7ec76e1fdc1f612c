import { type HttpReport, httpError } from './errors.ts';

/** Paths and queries: decoded once, refused where another reader could see something else, and encoded anew for the target. */
export interface Target {
  readonly path: string;
  readonly segments: readonly string[];
  readonly query: readonly (readonly [name: string, value: string])[];
  readonly target: string;
}

/** Query parameters of one request: more are a mistake or an attack. */
const MAX_PARAMETERS = 1000;

/** What needs no decoding and is encoded as it stands (RFC 3986, section 3.3: unreserved and most of pchar). */
const PLAIN_PATH = /^(?:\/[A-Za-z0-9_~!$&'()*+,;=:@-][A-Za-z0-9._~!$&'()*+,;=:@-]*)+\/?$/;
/** `..;x` is `..` for servers that know path parameters. */
const DOTS = /^\.{1,2}(?:;|$)/;
/** Decoded a second time it would be a dot, a slash or a backslash. */
const TWICE = /%(?:2e|2f|5c|00)/i;
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;

const wrong = (what: string): HttpReport => httpError('SPE003', what);

/**
 * @param target origin form: path and query, as it came
 * @returns a report with SPE001 or SPE003 where it is not normal
 */
export function parseTarget(target: string): Target | HttpReport {
  const mark = target.indexOf('?');
  const rawPath = mark === -1 ? target : target.slice(0, mark);
  const rawQuery = mark === -1 ? undefined : target.slice(mark + 1);
  if (rawPath === '') return wrong('it is empty');
  if (!rawPath.startsWith('/')) return wrong('it does not begin with a slash');
  if (target.includes('#')) return wrong('it has a fragment');
  if (target.includes('\\')) return wrong('it has a backslash');
  const path = PLAIN_PATH.test(rawPath) || rawPath === '/' ? plainPath(rawPath) : decodedPath(rawPath);
  if ('code' in path) return path;
  const { segments } = path;
  if (rawQuery === undefined || rawQuery === '') return { path: path.path, segments, query: [], target: path.encoded };
  const query = parseQuery(rawQuery);
  if ('code' in query) return query;
  const encoded = query.encoded === '' ? path.encoded : `${path.encoded}?${query.encoded}`;
  return { path: path.path, segments, query: query.pairs, target: encoded };
}

interface Path {
  readonly path: string;
  readonly segments: readonly string[];
  readonly encoded: string;
}

function plainPath(raw: string): Path | HttpReport {
  const segments = raw === '/' ? [] : raw.slice(1).split('/');
  // A first character that is no dot does not keep a later path parameter from being one.
  return { path: raw, segments, encoded: raw };
}

function decodedPath(raw: string): Path | HttpReport {
  const segments: string[] = [];
  const parts = raw.slice(1).split('/');
  for (const [index, part] of parts.entries()) {
    if (part === '' && index < parts.length - 1) return wrong('it has an empty segment');
    const segment = decode(part);
    if (segment === undefined) return wrong('it is not UTF-8 in percent-encoding');
    if (segment.includes('/')) return wrong('it has an encoded slash');
    if (segment.includes('\\')) return wrong('it has an encoded backslash');
    if (CONTROL.test(segment)) return wrong('it has a control character');
    if (DOTS.test(segment)) return wrong('it has a dot segment');
    if (TWICE.test(segment)) return wrong('it is encoded twice');
    segments.push(segment);
  }
  return { path: `/${segments.join('/')}`, segments, encoded: encodePath(segments) };
}

/** Strict: every `%` begins an escape, the octets are UTF-8, and nothing outside ASCII stands for itself. */
function decode(part: string): string | undefined {
  if (/[^\u0021-\u007e]/.test(part)) return undefined;
  if (!part.includes('%')) return part;
  try {
    return decodeURIComponent(part);
  } catch {
    return undefined;
  }
}

/** `encodeURIComponent`, but for what a path segment may carry as it is. */
const encodeSegment = (segment: string): string =>
  encodeURIComponent(segment).replace(/%(?:24|26|2B|2C|3A|3B|3D|40)/g, (code) => decodeURIComponent(code));

/** The path of these segments, encoded. @param segments decoded; a last one that is empty ends it with a slash */
export const encodePath = (segments: readonly string[]): string => `/${segments.map(encodeSegment).join('/')}`;

interface Query {
  readonly pairs: readonly (readonly [name: string, value: string])[];
  /** A name without `=` stays one: some servers tell it from an empty value. */
  readonly encoded: string;
}

function parseQuery(raw: string): Query | HttpReport {
  const pairs: (readonly [string, string])[] = [];
  const encoded: string[] = [];
  for (const pair of raw.split('&')) {
    if (pair === '') continue;
    if (pairs.length >= MAX_PARAMETERS) return wrong(`its query has more than ${MAX_PARAMETERS} parameters`);
    const equals = pair.indexOf('=');
    const name = decodeParameter(equals === -1 ? pair : pair.slice(0, equals));
    const value = equals === -1 ? '' : decodeParameter(pair.slice(equals + 1));
    if (name === undefined || value === undefined) return wrong('its query is not UTF-8 in percent-encoding');
    if (name.includes('\u0000') || value.includes('\u0000')) return wrong('its query has a NUL');
    pairs.push([name, value]);
    encoded.push(equals === -1 ? encodeParameter(name) : `${encodeParameter(name)}=${encodeParameter(value)}`);
  }
  return { pairs, encoded: encoded.join('&') };
}

const decodeParameter = (text: string): string | undefined => decode(text.replaceAll('+', '%20'));

/** `path` with a query behind it, encoded; without `?` when there is none. @param path encoded */
export function withQuery(path: string, query: readonly (readonly [name: string, value: string])[]): string {
  if (query.length === 0) return path;
  return `${path}?${query.map(([name, value]) => `${encodeParameter(name)}=${encodeParameter(value)}`).join('&')}`;
}

const encodeParameter = (text: string): string =>
  encodeURIComponent(text).replace(/%(?:2C|3A|2F|40|24)/g, (code) => decodeURIComponent(code));
