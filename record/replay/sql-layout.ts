/**
 * A statement laid out for reading: its own lines where it has some, else broken before its clauses; each line in pieces, so that
 * whoever shows it can colour them. Only white space outside literals, quoted names and comments ever changes. It is a lexer, not a
 * parser: it decides nothing, and takes whatever comes.
 */

export interface Piece {
  readonly type: 'keyword' | 'string' | 'number' | 'comment' | 'plain';
  readonly text: string;
}

export type Line = readonly Piece[];

const KEYWORDS: ReadonlySet<string> = new Set(
  `ADD ALL ALTER ANALYZE AND ANY AS ASC BEGIN BETWEEN BY CASCADE CASE CAST COLUMN COMMIT CONFLICT CONSTRAINT COPY CREATE CROSS
  CURSOR DATABASE DEFAULT DELETE DESC DISTINCT DO DROP ELSE END EXCEPT EXECUTE EXISTS EXPLAIN FALSE FETCH FOR FOREIGN FROM FULL
  FUNCTION GRANT GROUP HAVING IF ILIKE IN INDEX INNER INSERT INTERSECT INTO IS JOIN KEY LATERAL LEFT LIKE LIMIT LISTEN LOCK MERGE
  NATURAL NOT NOTHING NOTIFY NULL OFFSET ON OR ORDER OUTER OVER PARTITION PREPARE PRIMARY REFERENCES RESET RETURNING REVOKE RIGHT
  ROLE ROLLBACK SAVEPOINT SCHEMA SELECT SET SHOW TABLE THEN TO TRANSACTION TRUE TRUNCATE UNION UNIQUE UPDATE USING VACUUM VALUES
  VIEW WHEN WHERE WITH`.split(/\s+/),
);

/** Begin a line of their own outside parentheses; with `deep`, indented. */
const CLAUSES: ReadonlyMap<string, 'clause' | 'deep'> = new Map([
  ...[
    'FROM',
    'WHERE',
    'GROUP',
    'HAVING',
    'ORDER',
    'LIMIT',
    'OFFSET',
    'UNION',
    'INTERSECT',
    'EXCEPT',
    'VALUES',
    'SET',
  ].map((word) => [word, 'clause'] as const),
  ...['RETURNING', 'LEFT', 'RIGHT', 'INNER', 'FULL', 'CROSS', 'NATURAL', 'JOIN'].map(
    (word) => [word, 'clause'] as const,
  ),
  ...['AND', 'OR'].map((word) => [word, 'deep'] as const),
]);
const JOIN_WORDS: ReadonlySet<string> = new Set(['LEFT', 'RIGHT', 'INNER', 'FULL', 'CROSS', 'NATURAL', 'OUTER']);

/** One that is shorter stays in one line. */
const ONE_LINE = 64;
/** In a longer one nobody looks for clauses. */
const LEXED = 64 * 1024;

export function layOut(text: string): readonly Line[] {
  if (text.length > LEXED) return ownLines([{ type: 'plain', text }]);
  const pieces = lex(text.trim());
  const whole = pieces.map((piece) => piece.text).join('');
  return whole.includes('\n') || whole.length <= ONE_LINE ? ownLines(pieces) : brokenLines(pieces);
}

function ownLines(pieces: readonly Piece[]): Line[] {
  const lines: Piece[][] = [[]];
  for (const { type, text } of pieces) {
    for (const [index, part] of text.split(/\r?\n/).entries()) {
      if (index > 0) lines.push([]);
      if (part !== '') lines.at(-1)?.push({ type, text: part });
    }
  }
  return lines;
}

function brokenLines(pieces: readonly Piece[]): Line[] {
  const lines: Piece[][] = [[]];
  let depth = 0;
  let before = '';
  let betweens = 0;
  for (const piece of pieces) {
    const word = piece.type === 'keyword' ? piece.text.toUpperCase() : '';
    if (piece.type === 'plain') for (const at of piece.text) depth += at === '(' ? 1 : at === ')' ? -1 : 0;
    if (word === 'BETWEEN') betweens++;
    const place = depth === 0 ? CLAUSES.get(word) : undefined;
    // BETWEEN a AND b is one thing, and so is LEFT OUTER JOIN.
    const joined = (word === 'AND' && betweens > 0) || (word === 'JOIN' && JOIN_WORDS.has(before));
    if (word === 'AND' && betweens > 0) betweens--;
    const line = lines.at(-1);
    if (place !== undefined && !joined && before !== '' && line !== undefined) {
      trimEnd(line);
      lines.push(place === 'deep' ? [{ type: 'plain', text: '  ' }] : []);
    }
    const current = lines.at(-1);
    const leading = current?.length === 0 && piece.type === 'plain';
    const shown = leading ? piece.text.trimStart() : piece.text;
    if (shown !== '') current?.push({ ...piece, text: shown });
    if (word !== '') before = word;
    if (piece.type === 'plain' && piece.text.trimEnd() === ';' && depth === 0) {
      lines.push([]);
      before = '';
    }
  }
  return lines.filter((line) => line.length > 0);
}

function trimEnd(line: Piece[]): void {
  const last = line.at(-1);
  if (last?.type !== 'plain') return;
  line.pop();
  const text = last.text.trimEnd();
  if (text !== '') line.push({ ...last, text });
}

const BREAKS: ReadonlySet<string> = new Set(['(', ')', ';']);
const WORD = /[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*/y;
/** A number, or a parameter such as $1. */
const NUMBER = /\$?\d[\w.]*/y;
const TAG = /\$(?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$/y;
const SPACE = /\s+/y;

function lex(text: string): Piece[] {
  const pieces: Piece[] = [];
  let at = 0;
  const match = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    return pattern.exec(text)?.[0];
  };
  const push = (type: Piece['type'], end: number): void => {
    const part = text.slice(at, end);
    const last = pieces.at(-1);
    // Brackets and semicolons stay apart: lines are broken by them.
    if (type === 'plain' && last?.type === 'plain' && !BREAKS.has(part) && !BREAKS.has(last.text)) {
      pieces[pieces.length - 1] = { type, text: last.text + part };
    } else pieces.push({ type, text: part });
    at = end;
  };
  while (at < text.length) {
    const next = text[at];
    const two = text.slice(at, at + 2);
    const tag = next === '$' ? match(TAG) : undefined;
    if (two === '--') push('comment', endOr(text, text.indexOf('\n', at)));
    else if (two === '/*') push('comment', endOfComment(text, at));
    else if (next === "'") push('string', endOfQuoted(text, at, "'", /[eE]/.test(text[at - 1] ?? '')));
    else if (next === '"') push('plain', endOfQuoted(text, at, '"', false));
    else if (tag !== undefined) {
      const close = text.indexOf(tag, at + tag.length);
      push('string', close < 0 ? text.length : close + tag.length);
    } else {
      const space = match(SPACE);
      const number = match(NUMBER);
      const word = match(WORD);
      if (space !== undefined) push('plain', at + space.length);
      else if (number !== undefined) push('number', at + number.length);
      else if (word !== undefined) push(KEYWORDS.has(word.toUpperCase()) ? 'keyword' : 'plain', at + word.length);
      else push('plain', at + 1);
    }
  }
  return pieces;
}

const endOr = (text: string, end: number): number => (end < 0 ? text.length : end);

/** Comments nest (PostgreSQL manual, section "Comments"). */
function endOfComment(text: string, start: number): number {
  const mark = /\/\*|\*\//g;
  mark.lastIndex = start;
  let depth = 0;
  for (let found = mark.exec(text); found !== null; found = mark.exec(text)) {
    depth += found[0] === '/*' ? 1 : -1;
    if (depth === 0) return mark.lastIndex;
  }
  return text.length;
}

function endOfQuoted(text: string, start: number, quote: string, escapes: boolean): number {
  let at = start + 1;
  while (at < text.length) {
    if (escapes && text[at] === '\\') at += 2;
    else if (text[at] === quote && text[at + 1] === quote) at += 2;
    else if (text[at] === quote) return at + 1;
    else at++;
  }
  return text.length;
}
