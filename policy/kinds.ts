import { STATEMENT_KINDS, type StatementKind } from './command.ts';

/**
 * What the words of `sql.statements` stand for. The same word is read narrowly where it grants and widely where it takes away, so
 * that neither reading can surprise in the dangerous direction.
 */
export const CATEGORIES = ['*', 'Read', 'Write', 'DDL', 'DCL', 'Session'] as const;
export type Category = (typeof CATEGORIES)[number];

/** Never granted by a wildcard or a category: an Allow rule has to name these. */
export const NAMED_ONLY: ReadonlySet<StatementKind> = new Set([
  'CopyTo',
  'CopyFrom',
  'CopyProgram',
  'Opaque',
  'Unknown',
]);

const ROLE_KINDS: readonly StatementKind[] = ['CreateRole', 'AlterRole', 'DropRole'];
const SCHEMA_CHANGES = STATEMENT_KINDS.filter((kind) => /^(Create|Alter|Drop)/.test(kind));
const MORE_DDL: readonly StatementKind[] = ['Truncate', 'Comment', 'RefreshView'];

const GRANTED: Readonly<Record<Category, readonly StatementKind[]>> = {
  '*': STATEMENT_KINDS.filter((kind) => !NAMED_ONLY.has(kind)),
  Read: ['Select', 'Show', 'Explain'],
  Write: ['Insert', 'Update', 'Delete', 'Merge'],
  // Roles belong to DCL, and ALTER SYSTEM changes the server, not a schema: granting DDL must hand out neither by accident.
  DDL: [...SCHEMA_CHANGES.filter((kind) => !ROLE_KINDS.includes(kind) && kind !== 'AlterSystem'), ...MORE_DDL],
  DCL: ['Grant', 'Revoke', ...ROLE_KINDS],
  Session: ['Transaction', 'Set', 'Show'],
};

const TAKEN: Readonly<Record<Category, readonly StatementKind[]>> = {
  '*': STATEMENT_KINDS,
  // Whoever forbids reading or writing means COPY too.
  Read: [...GRANTED.Read, 'CopyTo', 'CopyProgram'],
  Write: [...GRANTED.Write, 'CopyFrom', 'CopyProgram'],
  DDL: [...SCHEMA_CHANGES, ...MORE_DDL],
  DCL: GRANTED.DCL,
  Session: GRANTED.Session,
};

const isCategory = (word: string): word is Category => (CATEGORIES as readonly string[]).includes(word);
const isKind = (word: string): word is StatementKind => (STATEMENT_KINDS as readonly string[]).includes(word);

/**
 * The kinds that a rule's `statements` cover. `grants`: the rule is an Allow. Words that are neither kind nor category are left out;
 * the schema refuses them before they get here.
 */
export function expandStatements(words: readonly string[], grants: boolean): ReadonlySet<StatementKind> {
  const kinds = new Set<StatementKind>();
  for (const word of words) {
    if (isCategory(word)) for (const kind of (grants ? GRANTED : TAKEN)[word]) kinds.add(kind);
    else if (isKind(word)) kinds.add(word);
  }
  return kinds;
}

/** What cannot be understood, so that it could touch anything. */
export function isOpaque(kind: StatementKind): boolean {
  return kind === 'Opaque' || kind === 'Unknown';
}

/** Kinds that a READ ONLY session still runs. Anything else in an Allow rule means that the subject may change something. */
export const READ_ONLY_KINDS: ReadonlySet<StatementKind> = new Set([
  'Select',
  'Show',
  'Explain',
  'CopyTo',
  'Transaction',
  'Set',
]);

/** Kinds that never come with a relation, whatever the statement: a Deny rule with `relations` cannot hit them. */
export const KINDS_WITHOUT_RELATION: ReadonlySet<StatementKind> = new Set([
  'Transaction',
  'Set',
  'Show',
  'Listen',
  'Notify',
  'CreateDatabase',
  'AlterDatabase',
  'DropDatabase',
  ...ROLE_KINDS,
  'CreateExtension',
  'DropExtension',
  'AlterSystem',
]);
