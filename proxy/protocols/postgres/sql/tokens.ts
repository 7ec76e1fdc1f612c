import { isNode, list, text } from './ast.ts';
import { scanToJson } from './parse.ts';

/** What stands between the white space of a text, in PostgreSQL's own scanner's reading. Positions are bytes of its UTF-8. */
export interface Token {
  readonly start: number;
  readonly end: number;
  readonly type: 'word' | 'quoted' | 'string' | 'number' | 'parameter' | 'comment' | 'other';
  /** As written. A `word` is compared in upper case: see `wordOf`. */
  readonly text: string;
}

const STRING = /^(?:[eEbBxXnN]|[uU]&)?'|^\$(?:[^\s$\d][^\s$]*)?\$/;

function typeOf(name: string, source: string): Token['type'] {
  if (name === 'SQL_COMMENT' || name === 'C_COMMENT') return 'comment';
  if (/^\$\d/.test(source)) return 'parameter';
  if (STRING.test(source)) return 'string';
  if (/^(?:\d|\.\d)/.test(source)) return 'number';
  if (/^(?:[uU]&)?"/.test(source)) return 'quoted';
  return /^[\p{L}_]/u.test(source) ? 'word' : 'other';
}

/** @returns undefined when the scanner refuses the text, or its answer does not fit the text */
export function tokensOf(sql: string): readonly Token[] | undefined {
  const json = scanToJson(sql);
  if (json === undefined) return undefined;
  let parsed: unknown;
  try {
    parsed = JSON.parse(json);
  } catch {
    // An error of the scanner comes as plain text.
    return undefined;
  }
  if (!isNode(parsed)) return undefined;
  const bytes = Buffer.from(sql, 'utf8');
  const tokens: Token[] = [];
  let before = 0;
  for (const token of list(parsed, 'tokens')) {
    const { start, end } = token;
    if (typeof start !== 'number' || typeof end !== 'number' || start < before || end <= start || end > bytes.length)
      return undefined;
    before = end;
    const source = bytes.toString('utf8', start, end);
    tokens.push({ start, end, type: typeOf(text(token, 'tokenName') ?? '', source), text: source });
  }
  return tokens;
}

/** An unquoted word in upper case, or '' for anything else: what keywords are compared by. */
export const wordOf = (token: Token | undefined): string => (token?.type === 'word' ? token.text.toUpperCase() : '');
