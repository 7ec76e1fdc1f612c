import { type Token, wordOf } from '../sql/tokens.ts';

/** What to put in the place of a token; undefined: as it is. */
export type Replace = (token: Token) => string | undefined;

/** Keywords that begin a line of their own when a statement came in one line. */
const CLAUSES: ReadonlySet<string> = new Set(
  [
    ['FROM', 'WHERE', 'SET', 'USING', 'VALUES', 'RETURNING', 'GROUP', 'HAVING', 'ORDER', 'LIMIT', 'OFFSET', 'WINDOW'],
    ['UNION', 'INTERSECT', 'EXCEPT', 'JOIN', 'LEFT', 'RIGHT', 'FULL', 'INNER', 'CROSS', 'NATURAL', 'WHEN'],
  ].flat(),
);
const INDENTED: ReadonlySet<string> = new Set(['AND', 'OR', 'ON']);

/** Words of which the second is no clause: `IS DISTINCT FROM`, `LEFT JOIN`, `FOR UPDATE`, a function called `left`. */
function beginsLine(tokens: readonly Token[], at: number): boolean {
  const word = wordOf(tokens[at]);
  const before = wordOf(tokens[at - 1]);
  if (word === 'FROM' && (before === 'DISTINCT' || before === 'DELETE')) return false;
  if (word === 'JOIN') return !['LEFT', 'RIGHT', 'FULL', 'INNER', 'CROSS', 'OUTER', 'NATURAL'].includes(before);
  if (tokens[at + 1]?.text === '(' && (word === 'LEFT' || word === 'RIGHT')) return false;
  return CLAUSES.has(word) && tokens[at - 1]?.text !== '.';
}

/**
 * Every token as it stands in the text, or what replaces it, and nothing else changed but white space: no word of what is shown can
 * differ from what runs. A text of one line is broken before its clauses; one of several lines keeps its own.
 */
export function displayText(source: string, tokens: readonly Token[], replace: Replace): string {
  const bytes = Buffer.from(source, 'utf8');
  const oneLine = !source.trim().includes('\n');
  let shown = '';
  let depth = 0;
  let end = 0;
  for (const [index, token] of tokens.entries()) {
    const gap = bytes.toString('utf8', end, token.start);
    end = token.end;
    if (token.text === ')') depth--;
    if (index > 0) {
      if (!oneLine || gap === '') shown += gap;
      else if (depth === 0 && tokens[index - 1]?.text === ';') shown += '\n';
      else if (depth === 0 && beginsLine(tokens, index)) shown += '\n';
      else if (depth === 0 && INDENTED.has(wordOf(token))) shown += '\n  ';
      else shown += ' ';
    }
    if (token.text === '(') depth++;
    shown += replace(token) ?? token.text;
  }
  return shown;
}

/** One line without comments and without any value: what may stand in a message that many people read. */
export function summaryText(tokens: readonly Token[], limit: number): string {
  let line = '';
  let before: Token | undefined;
  for (const token of tokens) {
    if (token.type === 'comment') continue;
    const touching = before === undefined || before.end === token.start;
    const value = token.type === 'string' || token.type === 'number';
    line += (touching ? '' : ' ') + (value ? '?' : token.text);
    before = token;
  }
  const words = line.replace(/\s+/g, ' ').trim();
  const characters = [...words];
  return characters.length <= limit ? words : `${characters.slice(0, limit - 1).join('')}…`;
}
