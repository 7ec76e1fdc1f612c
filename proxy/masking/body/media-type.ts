/** What can be looked for in a body, by its Content-Type (RFC 9110, section 8.3). */
export type BodyKind = 'json' | 'text' | 'events' | 'form' | 'unknown' | 'opaque';

export interface MediaType {
  /** `type/subtype` in lower case; '' when there is none or it cannot be read. */
  readonly name: string;
  /** In lower case; undefined when none is named. */
  readonly charset: string | undefined;
  /** Other parameters, names in lower case. */
  readonly parameters: ReadonlyMap<string, string>;
}

const NAME = /^\s*([!#$%&'*+.^_`|~0-9a-z-]+\/[!#$%&'*+.^_`|~0-9a-z-]+)\s*(;|$)/i;
const PARAMETER = /;\s*([!#$%&'*+.^_`|~0-9a-z-]+)=("(?:[^"\\]|\\.)*"|[^;"\s]*)/gi;

/** Types that were read; a target sends the same few. */
const known = new Map<string, MediaType>();
const MOST_KNOWN = 64;
const LONGEST_KNOWN = 128;

export function parseMediaType(value = ''): MediaType {
  const before = known.get(value);
  if (before !== undefined) return before;
  const type = readMediaType(value);
  if (value.length > LONGEST_KNOWN) return type;
  if (known.size >= MOST_KNOWN) known.clear();
  known.set(value, type);
  return type;
}

function readMediaType(value: string): MediaType {
  const parameters = new Map<string, string>();
  const name = NAME.exec(value)?.[1]?.toLowerCase() ?? '';
  for (const [, key = '', raw = ''] of value.matchAll(PARAMETER)) {
    const text = raw.startsWith('"') ? raw.slice(1, -1).replaceAll(/\\(.)/g, '$1') : raw;
    // Where one is repeated, clients differ in which they take.
    parameters.set(key.toLowerCase(), parameters.has(key.toLowerCase()) ? '?' : text);
  }
  return { name, charset: parameters.get('charset')?.toLowerCase(), parameters };
}

const JSON_NAMES = new Set([
  'application/json',
  'application/x-json',
  'text/json',
  'text/x-json',
  'application/json-seq',
  'application/ndjson',
  'application/x-ndjson',
  'application/jsonl',
  'application/x-jsonl',
  'application/jsonlines',
  'application/x-jsonlines',
  'application/json-lines',
  'application/problem+json',
]);

const TEXT_NAMES = new Set([
  'application/xml',
  'application/yaml',
  'application/x-yaml',
  'application/javascript',
  'application/x-javascript',
  'application/ecmascript',
  'application/graphql',
  'application/sql',
  'application/toml',
  'application/x-sh',
  'application/openmetrics-text',
]);

export function bodyKind({ name }: MediaType): BodyKind {
  if (name === '') return 'unknown';
  if (JSON_NAMES.has(name) || name.endsWith('+json') || name.endsWith('+json-seq')) return 'json';
  if (name === 'text/event-stream') return 'events';
  if (name === 'application/x-www-form-urlencoded') return 'form';
  if (name.startsWith('text/') || TEXT_NAMES.has(name) || name.endsWith('+xml') || name.endsWith('+yaml'))
    return 'text';
  return 'opaque';
}

/** Charsets in which every ASCII character is its own byte and no other character holds one: what detectors look for is found in them. */
const LIKE_ASCII =
  /^(utf-?8|us-ascii|ascii|iso-?8859-?[0-9]{1,2}|latin-?1|windows-125[0-9]|koi8-[ru]|euc-(jp|kr)|gb2312)$/;

/** How far bytes of a charset can be looked into: as UTF-8, byte by byte, not at all (UTF-16, EBCDIC, Shift JIS). */
export function readable(charset: string | undefined): 'utf-8' | 'bytes' | 'no' {
  if (charset === undefined || charset === 'utf-8' || charset === 'utf8' || charset === 'us-ascii') return 'utf-8';
  return LIKE_ASCII.test(charset) ? 'bytes' : 'no';
}
