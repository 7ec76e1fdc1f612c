import { type HttpReport, httpError } from './errors.ts';
import { LENGTH, NOT_OF_A_VALUE, TOKEN, trimmed } from './field-syntax.ts';
import type { HeaderFields, RequestHead } from './port.ts';
import { encodePath, parseTarget, type Target } from './target.ts';

/** The head of a request as a parser of HTTP gave it, with nothing believed yet. */
export interface RawHead {
  readonly method: string;
  readonly version: RequestHead['version'];
  readonly scheme: 'http' | 'https';
  /** Request target as sent: HTTP/1.1 allows the absolute form. */
  readonly target: string;
  /** `:authority` of HTTP/2. */
  readonly authority: string | undefined;
  /** Names and values in turn, as sent, without pseudo fields. */
  readonly fields: readonly string[];
  /** HTTP/2: the head does not end the stream. */
  readonly more: boolean;
  /** Where what these fields say is kept, for the next request that has the same and the same version. */
  readonly memo?: FieldsMemo;
}

/** See `RawHead.memo`; of whoever makes heads, filled here. */
export interface FieldsMemo {
  parsed?: ParsedFields | HttpReport;
}

/** What a head says, besides what is handed to a lane. */
export interface ParsedHead {
  readonly head: RequestHead;
  /** Every field with its name in lower case, Authorization included: for whoever looks for the token. */
  readonly all: HeaderFields;
  /** `Expect: 100-continue`. */
  readonly expectsContinue: boolean;
}

/** Fields of one request. */
export const MAX_FIELDS = 128;
const AUTHORITY = /^(?:[a-z0-9_](?:[a-z0-9._~-]*[a-z0-9_~-])?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?$/;

/** Methods whose requests change nothing (RFC 9110, section 9.2.1); TRACE, which is the fourth, is refused. */
export const SAFE_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);

/** Methods that open something else than a request, or show what came by. */
const REFUSED_METHODS: ReadonlySet<string> = new Set(['CONNECT', 'TRACE', 'TRACK']);

type Kind =
  /** Goes on. */
  | 'pass'
  /** Never goes on: between two neighbours, or ours to write. */
  | 'drop'
  /** May be there once. */
  | 'single'
  | 'dropSingle'
  /** Would make the target do something else than what was decided. */
  | 'refuse';

const KINDS: Readonly<Record<string, Kind>> = {
  host: 'dropSingle',
  'content-length': 'dropSingle',
  'transfer-encoding': 'dropSingle',
  expect: 'dropSingle',
  authorization: 'dropSingle',
  'proxy-authorization': 'dropSingle',
  'content-type': 'single',
  'content-encoding': 'single',
  // What is decided on is the first; servers may take another, or one of CGI that of a name with `_`.
  'mcp-method': 'single',
  'mcp-name': 'single',
  'mcp-protocol-version': 'single',
  'mcp-session-id': 'single',
  connection: 'drop',
  'keep-alive': 'drop',
  'proxy-connection': 'drop',
  'proxy-authenticate': 'drop',
  te: 'drop',
  trailer: 'drop',
  upgrade: 'drop',
  'http2-settings': 'drop',
  forwarded: 'drop',
  'x-real-ip': 'drop',
  'remote-user': 'drop',
  'x-http-method-override': 'refuse',
  'x-http-method': 'refuse',
  'x-method-override': 'refuse',
  'x-original-url': 'refuse',
  'x-rewrite-url': 'refuse',
};
const DROPPED_PREFIX = /^(?:impersonate-|x-remote-|x-forwarded-)/;

function kindOf(name: string): Kind {
  const known = Object.hasOwn(KINDS, name) ? KINDS[name] : undefined;
  if (known !== undefined) return known;
  if (DROPPED_PREFIX.test(name)) return 'drop';
  // Servers in the manner of CGI read `_` as `-`: what would be a field of ours there is none.
  if (name.includes('_') && kindOf(name.replaceAll('_', '-')) !== 'pass') return 'refuse';
  return 'pass';
}

interface FieldName {
  readonly lower: string;
  readonly kind: Kind;
}

/** Names as they are sent repeat; a client cannot make this grow without end. */
const MAX_NAMES = 2048;
const names = new Map<string, FieldName>();

function nameOf(raw: string): FieldName | undefined {
  const seen = names.get(raw);
  if (seen !== undefined) return seen;
  if (!TOKEN.test(raw)) return undefined;
  const lower = raw.toLowerCase();
  const name: FieldName = { lower, kind: kindOf(lower) };
  if (names.size >= MAX_NAMES) names.clear();
  names.set(raw, name);
  return name;
}

const ambiguous = (what: string): HttpReport => httpError('SPE002', what);
const malformed = (what: string): HttpReport => httpError('SPE001', what);

interface Framing {
  host: string | undefined;
  contentLength: string | undefined;
  transferEncoding: string | undefined;
  expect: string | undefined;
  connection: string | undefined;
  upgrade: string | undefined;
  te: string | undefined;
}

/** Which member of `Framing` a field is kept in. */
const FRAMING: Readonly<Record<string, keyof Framing>> = {
  host: 'host',
  'content-length': 'contentLength',
  'transfer-encoding': 'transferEncoding',
  expect: 'expect',
  connection: 'connection',
  upgrade: 'upgrade',
  te: 'te',
};

/** What the fields of a request say, wherever it goes. */
interface ParsedFields {
  readonly all: HeaderFields;
  readonly headers: HeaderFields;
  readonly host: string | undefined;
  readonly contentLength: number | undefined;
  readonly hasBody: boolean;
  readonly expectsContinue: boolean;
  readonly upgrade: string | undefined;
  /** Of the host that the fields name, once somebody has asked; a memo is of one scheme, as the connection that it is kept with. */
  site?: Site | HttpReport;
}

/** Validates and normalises a head. The report is for the client; nothing of such a request is forwarded. */
export function parseHead(raw: RawHead): ParsedHead | HttpReport {
  const { method, version, scheme, memo } = raw;
  // Rules name methods in upper case, and some servers read `delete` as one of them.
  if (!TOKEN.test(method) || method !== method.toUpperCase()) return malformed('the method');
  if (REFUSED_METHODS.has(method)) return httpError('SPE006', method);
  const fields = memo?.parsed ?? parseFields(raw);
  if (memo !== undefined) memo.parsed = fields;
  if ('code' in fields) return fields;
  const place = placeOf(raw, fields);
  if ('code' in place) return place;
  const { target } = place;
  // Member by member: with every request, and several times as fast as spreading them.
  const head: RequestHead = {
    method,
    version,
    scheme,
    authority: place.authority,
    host: place.host,
    path: target.path,
    segments: target.segments,
    query: target.query,
    target: target.target,
    headers: fields.headers,
    contentLength: fields.contentLength,
    hasBody: fields.hasBody,
    upgrade: fields.upgrade,
  };
  return { all: fields.all, expectsContinue: fields.expectsContinue, head };
}

function parseFields(raw: RawHead): ParsedFields | HttpReport {
  const { version } = raw;
  if (raw.fields.length > 2 * MAX_FIELDS) return httpError('SPE004', `more than ${MAX_FIELDS} fields`);
  const all: string[] = [];
  const headers: string[] = [];
  const framing: Framing = {
    host: undefined,
    contentLength: undefined,
    transferEncoding: undefined,
    expect: undefined,
    connection: undefined,
    upgrade: undefined,
    te: undefined,
  };
  const singles: string[] = [];
  for (let index = 0; index + 1 < raw.fields.length; index += 2) {
    const name = nameOf(raw.fields[index] ?? '');
    const value = trimmed(raw.fields[index + 1] ?? '');
    if (name === undefined) return malformed('the name of a field');
    const { lower, kind } = name;
    if (NOT_OF_A_VALUE.test(value)) return malformed(`the value of ${lower}`);
    if (kind === 'refuse') return ambiguous(`the field ${lower}`);
    if (kind === 'single' || kind === 'dropSingle') {
      if (singles.includes(lower)) return ambiguous(`${lower} is there twice`);
      singles.push(lower);
    }
    // HTTP/2 may split cookies; HTTP/1.1 has them in one field (RFC 9113, section 8.2.3).
    if (lower === 'cookie' && version === '2' && joinCookie(headers, value)) continue;
    all.push(lower, value);
    if (kind === 'pass' || kind === 'single') headers.push(lower, value);
    else if (Object.hasOwn(FRAMING, lower)) {
      const member = FRAMING[lower];
      if (member !== undefined)
        framing[member] = framing[member] === undefined ? value : `${framing[member]}, ${value}`;
    }
  }
  return framed(raw, framing, all, headers);
}

function framed(raw: RawHead, framing: Framing, all: HeaderFields, headers: string[]): ParsedFields | HttpReport {
  const { version } = raw;
  const body = bodyFraming(framing, raw);
  if ('code' in body) return body;
  const expect = framing.expect?.toLowerCase();
  if (expect !== undefined && expect !== '100-continue') return httpError('SPE025', expect);
  const options = connectionOptions(framing.connection);
  if (options === undefined) return malformed('the value of connection');
  if (version === '2' && (framing.connection ?? framing.upgrade) !== undefined)
    return malformed('a field of the connection, which HTTP/2 has not');
  if (version === '2' && framing.te !== undefined && framing.te !== 'trailers') return malformed('the value of te');
  const { contentLength, hasBody } = body;
  const upgrade = options.includes('upgrade') ? upgradeOf(framing.upgrade) : undefined;
  if (upgrade !== undefined && hasBody) return ambiguous('an upgrade with a body');
  return {
    ...{ all, contentLength, hasBody, upgrade, host: framing.host },
    headers: options.length > 0 ? dropNamed(headers, options) : headers,
    expectsContinue: expect !== undefined && hasBody,
  };
}

function joinCookie(headers: string[], value: string): boolean {
  for (let index = 0; index + 1 < headers.length; index += 2) {
    if (headers[index] !== 'cookie') continue;
    headers[index + 1] = `${headers[index + 1]}; ${value}`;
    return true;
  }
  return false;
}

/** Whose host it is. */
interface Site {
  readonly authority: string;
  readonly host: string;
}

interface Place extends Site {
  readonly target: Target;
}

/** Where it goes: the host and the path, from the forms that a request target may have (RFC 9112, section 3.2). */
function placeOf(raw: RawHead, fields: ParsedFields): Place | HttpReport {
  let { target } = raw;
  let site: Site | HttpReport;
  const absolute = raw.version === '2' || target.startsWith('/') ? null : /^https?:\/\/([^/?#]*)(.*)$/i.exec(target);
  if (absolute !== null) {
    site = siteOf(raw, absolute[1] ?? '', fields.host);
    const rest = absolute[2] ?? '';
    target = rest.startsWith('/') ? rest : `/${rest}`;
  } else {
    fields.site ??= siteOf(raw, raw.authority, fields.host);
    site = fields.site;
  }
  if ('code' in site) return site;
  const parsed = parseTarget(target);
  if ('code' in parsed) return parsed;
  return { authority: site.authority, host: site.host, target: parsed };
}

/** @param named by the target, or by `:authority` */
function siteOf(raw: RawHead, named: string | undefined, hostField: string | undefined): Site | HttpReport {
  if (raw.version !== '2' && hostField === undefined) return malformed('it has no Host');
  const authority = normalAuthority(named ?? hostField ?? '', raw.scheme);
  if (authority === undefined) return malformed('its host');
  if (named !== undefined && hostField !== undefined && normalAuthority(hostField, raw.scheme) !== authority)
    return ambiguous('it names two hosts');
  return { authority, host: authority.replace(/:[0-9]+$/, '').replace(/^\[(.*)\]$/, '$1') };
}

const authorities = new Map<string, string>();

function normalAuthority(raw: string, scheme: 'http' | 'https'): string | undefined {
  const key = `${scheme} ${raw}`;
  const seen = authorities.get(key);
  if (seen !== undefined) return seen;
  // A dot at the end names the same host, and the port of the scheme says nothing.
  const lower = raw
    .toLowerCase()
    .replace(scheme === 'https' ? /:443$/ : /:80$/, '')
    .replace(/\.(?=:[0-9]+$|$)/, '');
  if (!AUTHORITY.test(lower)) return undefined;
  if (authorities.size >= MAX_NAMES) authorities.clear();
  authorities.set(key, lower);
  return lower;
}

/** How long the body is (RFC 9112, section 6). The parser has decided too; what it could have decided otherwise is refused. */
function bodyFraming(
  { contentLength, transferEncoding }: Framing,
  { version, more }: RawHead,
): { readonly contentLength: number | undefined; readonly hasBody: boolean } | HttpReport {
  if (contentLength !== undefined && !LENGTH.test(contentLength)) return ambiguous('the value of content-length');
  if (transferEncoding !== undefined) {
    if (contentLength !== undefined) return ambiguous('it has both transfer-encoding and content-length');
    if (version !== '1.1') return ambiguous(`transfer-encoding in HTTP/${version}`);
    if (transferEncoding.toLowerCase() !== 'chunked') return ambiguous('a transfer-encoding other than chunked');
    return { contentLength: undefined, hasBody: true };
  }
  const length = contentLength === undefined ? undefined : Number(contentLength);
  return { contentLength: length, hasBody: version === '2' ? more : length !== undefined && length > 0 };
}

/** In lower case; undefined: not a list of tokens. */
function connectionOptions(value: string | undefined): readonly string[] | undefined {
  if (value === undefined) return [];
  const options = value
    .toLowerCase()
    .split(',')
    .map((option) => option.trim())
    .filter((option) => option !== '');
  return options.every((option) => TOKEN.test(option)) ? options : undefined;
}

function dropNamed(headers: string[], options: readonly string[]): string[] {
  if (options.every((option) => option === 'close' || option === 'keep-alive' || option === 'upgrade')) return headers;
  const kept: string[] = [];
  for (let index = 0; index + 1 < headers.length; index += 2) {
    const name = headers[index] ?? '';
    if (!options.includes(name)) kept.push(name, headers[index + 1] ?? '');
  }
  return kept;
}

/** Of several protocols none is taken: who picks would be the target, behind the decision. */
function upgradeOf(value: string | undefined): string | undefined {
  const protocol = value?.toLowerCase();
  return protocol === 'websocket' || protocol === 'spdy/3.1' ? protocol : undefined;
}

/** The same head under another path, such as without the prefix of a base URL. @param segments decoded */
export function withSegments(head: RequestHead, segments: readonly string[]): RequestHead {
  const path = segments.length === 0 ? '/' : `/${segments.join('/')}`;
  const query = head.target.indexOf('?');
  const target = query === -1 ? encodePath(segments) : encodePath(segments) + head.target.slice(query);
  return { ...head, segments, path, target };
}
