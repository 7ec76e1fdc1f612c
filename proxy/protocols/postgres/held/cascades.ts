import type { CatalogRelation } from '../catalog/types.ts';

/**
 * Foreign keys that would carry a change on to other tables, from pg_constraint. Walked here and not in SQL, so that a cycle ends
 * and the query stays one that anybody can read.
 */
export const FOREIGN_KEYS = `SELECT n.nspname, r.relname, c.conrelid, c.confrelid, c.confdeltype, c.confupdtype,
    (SELECT pg_catalog.string_agg(a.attname, ', ' ORDER BY k.i) FROM pg_catalog.unnest(c.conkey) WITH ORDINALITY AS k(n, i)
       JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.n),
    (SELECT pg_catalog.json_agg(a.attname ORDER BY k.i) FROM pg_catalog.unnest(c.confkey) WITH ORDINALITY AS k(n, i)
       JOIN pg_catalog.pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = k.n),
    (SELECT pg_catalog.json_agg(a.attname ORDER BY k.i) FROM pg_catalog.unnest(c.conkey) WITH ORDINALITY AS k(n, i)
       JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.n)
  FROM pg_catalog.pg_constraint c
  JOIN pg_catalog.pg_class r ON r.oid = c.conrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace
 WHERE c.contype = 'f' AND (c.confdeltype IN ('c', 'n', 'd') OR c.confupdtype IN ('c', 'n', 'd'))
 ORDER BY n.nspname, r.relname, c.conname`;

interface ForeignKey {
  readonly from: string;
  readonly relation: number;
  readonly referenced: number;
  readonly onDelete: string;
  readonly onUpdate: string;
  readonly columnWords: string;
  readonly columns: readonly string[];
  readonly referencedColumns: readonly string[];
}

const ACTIONS: Readonly<Record<string, string>> = { c: 'CASCADE', n: 'SET NULL', d: 'SET DEFAULT' };
/** More than a person reads. */
const LISTED = 40;

function toKey(row: readonly string[]): ForeignKey {
  const [schema = '', name = '', relation = '', referenced = '', onDelete = '', onUpdate = '', words = ''] = row;
  return {
    from: `${schema}.${name}`,
    relation: Number(relation),
    referenced: Number(referenced),
    onDelete,
    onUpdate,
    columnWords: words,
    referencedColumns: JSON.parse(row[7] || '[]') as string[],
    columns: JSON.parse(row[8] || '[]') as string[],
  };
}

/** What happens to rows of a relation; `columns` undefined: all of them may change. */
interface Change {
  readonly relation: number;
  readonly action: 'delete' | 'update';
  readonly columns: readonly string[] | undefined;
}

/**
 * @param rows of FOREIGN_KEYS; @param targets the relation that is changed, with those that inherit from it
 * @param columns that an update sets
 */
export function cascades(
  rows: readonly (readonly string[])[],
  targets: readonly CatalogRelation[],
  action: 'delete' | 'update',
  columns: readonly string[],
): string[] {
  const keys = rows.map(toKey);
  const found = new Set<string>();
  const seen = new Set<string>();
  const queue: Change[] = targets.map(({ oid }) => ({
    relation: oid,
    action,
    columns: action === 'update' ? columns : undefined,
  }));
  for (let change = queue.shift(); change !== undefined; change = queue.shift()) {
    const mark = `${change.relation} ${change.action} ${[...(change.columns ?? ['*'])].sort().join(' ')}`;
    if (seen.has(mark)) continue;
    seen.add(mark);
    for (const key of keys) {
      if (key.referenced !== change.relation) continue;
      const type = change.action === 'delete' ? key.onDelete : key.onUpdate;
      const word = ACTIONS[type];
      if (word === undefined) continue;
      if (change.action === 'update' && !key.referencedColumns.some((name) => change.columns?.includes(name))) continue;
      found.add(`ON ${change.action.toUpperCase()} ${word}: ${key.from}(${key.columnWords})`);
      const deletes = change.action === 'delete' && type === 'c';
      queue.push({
        relation: key.relation,
        action: deletes ? 'delete' : 'update',
        columns: deletes ? undefined : key.columns,
      });
    }
  }
  const listed = [...found];
  return listed.length <= LISTED ? listed : [...listed.slice(0, LISTED), `and ${listed.length - LISTED} more`];
}
