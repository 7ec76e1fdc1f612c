import { isUtf8 } from 'node:buffer';

/**
 * Reads a request's body for rules, so strictly that every parser reads the same in it: RFC 8259 in UTF-8 without a byte order mark, no
 * name twice in an object, and none twice but for its case either, since some parsers (Go's encoding/json) do not tell them apart and
 * take the last one.
 */
export type JudgedBody =
  /** There is none. */
  | { readonly kind: 'none' }
  | { readonly kind: 'json'; readonly value: unknown }
  /** Something else, and nothing says that it were JSON: rules see no body. */
  | { readonly kind: 'opaque' }
  /** It says that it is JSON, or a target could take it for JSON, and it cannot be relied on. */
  | { readonly kind: 'refused'; readonly why: string };

export interface BodyHead {
  readonly contentType: string | undefined;
  readonly contentEncoding: string | undefined;
}

/** Deeper documents are refused: no rule looks so deep, and parsers differ in what they take. */
const MAX_DEPTH = 64;

/** @param body whole */
export function judgeBody(body: Buffer, { contentType, contentEncoding }: BodyHead): JudgedBody {
  if (body.length === 0) return { kind: 'none' };
  const { type, charset } = mediaType(contentType);
  const declared = isJson(type);
  const refused = (why: string): JudgedBody => ({ kind: 'refused', why });
  if (contentEncoding !== undefined && contentEncoding.trim().toLowerCase() !== 'identity') {
    return refused(`it is encoded (${contentEncoding.slice(0, 64)})`);
  }
  if (charset !== undefined && !UTF8.has(charset)) {
    return declared ? refused(`its charset is ${charset.slice(0, 64)}`) : { kind: 'opaque' };
  }
  if (!isUtf8(body)) return declared ? refused('it is not valid UTF-8') : { kind: 'opaque' };
  const text = body.toString('utf8');
  const parsed = strictJson(text);
  if ('value' in parsed) return { kind: 'json', value: parsed.value };
  // Whatever its type says: servers that ask for JSON take it from anything that looks like it.
  if (declared || parsed.lenient) return refused(parsed.why);
  return { kind: 'opaque' };
}

const UTF8: ReadonlySet<string> = new Set(['utf-8', 'utf8', 'us-ascii']);

/** Media type and charset in lower case. The type is empty where there is none. */
export function mediaType(contentType: string | undefined): {
  readonly type: string;
  readonly charset: string | undefined;
} {
  const [type = '', ...parameters] = (contentType ?? '').split(';');
  for (const parameter of parameters) {
    const [name = '', ...value] = parameter.split('=');
    if (name.trim().toLowerCase() !== 'charset') continue;
    return {
      type: type.trim().toLowerCase(),
      charset: value
        .join('=')
        .trim()
        .replace(/^"(.*)"$/, '$1')
        .toLowerCase(),
    };
  }
  return { type: type.trim().toLowerCase(), charset: undefined };
}

/** `application/json`, `text/json` and types with the suffix `+json` (RFC 6839). */
const isJson = (type: string): boolean => /^(application|text)\/json$/.test(type) || /\+json$/.test(type);

type Parsed = { readonly value: unknown } | { readonly why: string; readonly lenient: boolean };

function strictJson(text: string): Parsed {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { why: 'it is not JSON', lenient: LENIENT.test(text) };
  }
  const why = ambiguity(text);
  return why === undefined ? { value } : { why, lenient: true };
}

/** Begins as JSON does, a byte order mark and comments aside: some parsers are content with less than the standard. */
const LENIENT = /^\ufeff?\s*(?:[[{]|\/[/*])/;

/** What parsers could take in different ways. @param text valid JSON */
function ambiguity(text: string): string | undefined {
  /** Names of each object that is open; undefined for an array. */
  const open: (Set<string> | undefined)[] = [];
  let naming = false;
  let at = 0;
  while (at < text.length) {
    const character = text[at];
    switch (character) {
      case '{':
      case '[':
        if (open.length === MAX_DEPTH) return `it is nested deeper than ${MAX_DEPTH} levels`;
        open.push(character === '{' ? new Set() : undefined);
        naming = character === '{';
        at++;
        break;
      case '}':
      case ']':
        open.pop();
        naming = false;
        at++;
        break;
      case ',':
        naming = open.at(-1) !== undefined;
        at++;
        break;
      case '"': {
        const end = endOfString(text, at);
        const names = open.at(-1);
        if (naming && names !== undefined) {
          const name = folded(JSON.parse(text.slice(at, end)) as string);
          if (names.has(name)) return `an object in it names ${JSON.stringify(name.slice(0, 64))} twice`;
          names.add(name);
          naming = false;
        }
        at = end;
        break;
      }
      default:
        at++;
    }
  }
  return undefined;
}

function endOfString(text: string, from: number): number {
  let at = from + 1;
  for (;;) {
    const quote = text.indexOf('"', at);
    let before = quote - 1;
    while (text[before] === '\\') before--;
    if ((quote - before) % 2 === 1) return quote + 1;
    at = quote + 1;
  }
}

/** Equal for names that only case tells apart, also by Unicode's folding of single characters (U+017F, U+212A). */
const folded = (name: string): string => name.toUpperCase().toLowerCase();
