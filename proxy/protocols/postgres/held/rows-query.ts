import { type AstNode, child, contains, isNode, list, tagged, text, unwrapAll } from '../sql/ast.ts';
import { parse } from '../sql/parse.ts';
import { type Token, tokensOf, wordOf } from '../sql/tokens.ts';

/**
 * The rows that a statement would read or change, as a query that only reads: what is planned and counted for a preview. It is cut
 * out of the text and then parsed, and used only when its tree is that of the statement: no text is ever put together from a tree.
 */
export type RowsQuery =
  | {
      readonly type: 'query';
      /** Reads the rows: for EXPLAIN. */
      readonly plan: string;
      /** `SELECT count(*)` of the rows that change; undefined for what only reads. */
      readonly count?: string;
      /** Relation that is changed, as written. */
      readonly target?: AstNode;
      /** Columns that UPDATE sets. */
      readonly columns?: readonly string[];
      readonly action: 'read' | 'insert' | 'update' | 'delete';
    }
  /** So many rows, whatever is in the tables. */
  | { readonly type: 'rows'; readonly rows: number; readonly target: AstNode }
  | { readonly type: 'none'; readonly why: string };

const none = (why: string): RowsQuery => ({ type: 'none', why });

const CHANGES: ReadonlySet<string> = new Set(['InsertStmt', 'UpdateStmt', 'DeleteStmt', 'MergeStmt']);
const CURSOR: ReadonlySet<string> = new Set(['CurrentOfExpr']);
const LOCKS: ReadonlySet<string> = new Set(['LockingClause']);

/** Equal trees, wherever in their texts they stand. */
function sameTree(left: unknown, right: unknown): boolean {
  const plain = (_key: string, value: unknown): unknown => {
    if (!isNode(value)) return value;
    return Object.fromEntries(
      Object.entries(value)
        .filter(([name]) => name !== 'location' && name !== 'stmt_location' && name !== 'stmt_len')
        .sort(([a], [b]) => (a < b ? -1 : 1)),
    );
  };
  return JSON.stringify(left ?? null, plain) === JSON.stringify(right ?? null, plain);
}

function selectIn(sql: string): AstNode | undefined {
  const outcome = parse(sql);
  if (!outcome.ok || outcome.statements.length !== 1) return undefined;
  return child(child(outcome.statements[0] ?? {}, 'stmt') ?? {}, 'SelectStmt');
}

/** Tokens of the only statement, without comments and the semicolons behind it, with the places of words outside parentheses. */
interface Cut {
  readonly bytes: Buffer;
  readonly tokens: readonly Token[];
  /** Indices of tokens at depth 0. */
  readonly top: readonly number[];
}

function cut(source: string): Cut | undefined {
  const all = tokensOf(source);
  if (all === undefined) return undefined;
  const tokens = all.filter(({ type }) => type !== 'comment');
  while (tokens.at(-1)?.text === ';') tokens.pop();
  const top: number[] = [];
  let depth = 0;
  for (const [index, { text: word }] of tokens.entries()) {
    if (word === ')' || word === ']') depth--;
    if (depth === 0) top.push(index);
    if (word === '(' || word === '[') depth++;
  }
  return { bytes: Buffer.from(source, 'utf8'), tokens, top };
}

/** The text from one token up to another; comments between are left out. */
function between({ bytes, tokens }: Cut, from: number, to: number): string {
  const parts: string[] = [];
  for (let index = from; index < to; index++) {
    const token = tokens[index];
    if (token !== undefined) parts.push(bytes.toString('utf8', token.start, token.end));
  }
  return parts.join(' ');
}

/** First token at depth 0 from `from` on that is one of the words. */
function find({ tokens, top }: Cut, words: readonly string[], from: number): number {
  return top.find((index) => index >= from && words.includes(wordOf(tokens[index]))) ?? -1;
}

/** Name that the target's row goes by, and whether others stand beside it. */
function rowName(relation: AstNode): string {
  const alias = text(child(relation, 'alias') ?? {}, 'aliasname');
  return (alias ?? text(relation, 'relname') ?? '').replaceAll('"', '""');
}

function changing(source: Cut, tag: 'UpdateStmt' | 'DeleteStmt', body: AstNode): RowsQuery {
  const relation = child(body, 'relation') ?? {};
  const isDelete = tag === 'DeleteStmt';
  const others = list(body, isDelete ? 'usingClause' : 'fromClause');
  const start = find(source, [isDelete ? 'DELETE' : 'UPDATE'], 0);
  if (start < 0) return none('its parts could not be told apart');
  const end = source.tokens.length;
  const returning = find(source, ['RETURNING'], start);
  const stop = returning < 0 ? end : returning;
  const where = child(body, 'whereClause') === undefined ? -1 : find(source, ['WHERE'], start);
  const afterFrom = where < 0 ? stop : where;
  const list0 = isDelete ? start + 2 : start + 1;
  const divider = isDelete ? (others.length === 0 ? -1 : find(source, ['USING'], start)) : find(source, ['SET'], start);
  const target = between(source, list0, divider < 0 ? afterFrom : divider);
  let joined = '';
  if (others.length > 0) {
    const from = isDelete ? divider : find(source, ['FROM'], divider);
    if (from < 0) return none('its parts could not be told apart');
    joined = `, ${between(source, from + 1, afterFrom)}`;
  }
  const condition = where < 0 ? '' : ` ${between(source, where, stop)}`;
  const withClause = start === 0 ? '' : `${between(source, 0, start)} `;
  const rest = `FROM ${target}${joined}${condition}`;
  const plan = `${withClause}SELECT 1 ${rest}`;
  const tree = selectIn(plan);
  const expected = [{ RangeVar: relation }, ...others];
  if (
    tree === undefined ||
    !sameTree(tree['fromClause'], expected) ||
    !sameTree(tree['whereClause'], body['whereClause']) ||
    !sameTree(tree['withClause'], body['withClause'])
  )
    return none('its parts could not be told apart');
  const row = `"${rowName(relation)}"`;
  // A row that several others match changes once.
  const count =
    others.length === 0
      ? `${withClause}SELECT pg_catalog.count(*) ${rest}`
      : `SELECT pg_catalog.count(*) FROM (${withClause}SELECT DISTINCT ${row}.tableoid, ${row}.ctid ${rest}) AS sallyport_rows`;
  const columns = unwrapAll(list(body, 'targetList'), 'ResTarget').map((column) => text(column, 'name') ?? '');
  return { type: 'query', plan, count, target: relation, columns, action: isDelete ? 'delete' : 'update' };
}

function inserting(source: Cut, body: AstNode): RowsQuery {
  const target = child(body, 'relation') ?? {};
  const select = child(child(body, 'selectStmt') ?? {}, 'SelectStmt');
  if (select === undefined) return { type: 'rows', rows: 1, target };
  const values = list(select, 'valuesLists');
  if (values.length > 0) return { type: 'rows', rows: values.length, target };
  const into = find(source, ['INTO'], 0);
  const start = find(source, ['SELECT', 'WITH', 'TABLE'], into);
  const conflict = find(source, ['ON'], start);
  const returning = find(source, ['RETURNING'], start);
  const ends = [conflict, returning, source.tokens.length].filter((index) => index >= 0);
  if (into < 0 || start < 0 || child(body, 'withClause') !== undefined)
    return none('its parts could not be told apart');
  const plan = between(source, start, Math.min(...ends));
  return sameTree(selectIn(plan), select)
    ? { type: 'query', plan, target, action: 'insert' }
    : none('its parts could not be told apart');
}

/** @param source exactly one statement that parses */
export function rowsQuery(source: string): RowsQuery {
  const outcome = parse(source);
  if (!outcome.ok) return none('it does not parse');
  if (outcome.statements.length !== 1) return none('it is more than one statement');
  const statement = tagged(child(outcome.statements[0] ?? {}, 'stmt'));
  const parts = cut(source);
  if (statement === undefined || parts === undefined) return none('it is empty');
  const { tag, body } = statement;
  if (contains(body, CURSOR)) return none('it changes the row at which a cursor stands');
  if (contains(body, CHANGES)) return none('it changes rows in a WITH query');
  if (contains(body, LOCKS)) return none('it locks the rows that it reads');
  switch (tag) {
    case 'SelectStmt':
      if (child(body, 'intoClause') !== undefined) return none('it makes a table');
      return { type: 'query', plan: between(parts, 0, parts.tokens.length), action: 'read' };
    case 'DeleteStmt':
    case 'UpdateStmt':
      return changing(parts, tag, body);
    case 'InsertStmt':
      return inserting(parts, body);
    default:
      return none('EXPLAIN does not take statements of this kind');
  }
}
