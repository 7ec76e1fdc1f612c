import { describe, expect, it } from 'vitest';
import { rowsQuery } from './rows-query.ts';

const count = (sql: string): string | undefined => {
  const query = rowsQuery(sql);
  return query.type === 'query' ? query.count : query.type;
};

describe('the rows that a statement changes, as a query', () => {
  it.each([
    ['DELETE FROM t', 'SELECT pg_catalog.count(*) FROM t'],
    [
      'DELETE FROM ONLY t AS a WHERE a.id = $1 RETURNING *;',
      'SELECT pg_catalog.count(*) FROM ONLY t AS a WHERE a . id = $1',
    ],
    [
      'DELETE FROM t USING u WHERE t.id = u.id',
      'SELECT pg_catalog.count(*) FROM (SELECT DISTINCT "t".tableoid, "t".ctid FROM t, u WHERE t . id = u . id) AS sallyport_rows',
    ],
    ['UPDATE t SET a = b IS DISTINCT FROM c WHERE d', 'SELECT pg_catalog.count(*) FROM t WHERE d'],
    ['UPDATE t SET (a, b) = (SELECT 1, 2 FROM u WHERE v)', 'SELECT pg_catalog.count(*) FROM t'],
    [
      'WITH x AS (SELECT 1) DELETE FROM t WHERE id IN (SELECT * FROM x)',
      'WITH x AS ( SELECT 1 ) SELECT pg_catalog.count(*) FROM t WHERE id IN ( SELECT * FROM x )',
    ],
  ])('%s', (sql, expected) => {
    expect(count(sql)).toBe(expected);
  });

  it.each([
    ['DELETE FROM t WHERE CURRENT OF c'],
    ['WITH d AS (DELETE FROM t RETURNING *) DELETE FROM u'],
    ['DELETE FROM t WHERE id IN (SELECT id FROM u FOR UPDATE)'],
    ['SELECT * FROM t FOR UPDATE'],
    ['SELECT * INTO u FROM t'],
    ['TRUNCATE t'],
    ['DELETE FROM t; DELETE FROM u'],
    ['MERGE INTO t USING u ON t.id = u.id WHEN MATCHED THEN DELETE'],
    ['DELETE FROM'],
  ])('is none for %s', (sql) => {
    expect(rowsQuery(sql).type).toBe('none');
  });

  it.each([
    ['INSERT INTO t VALUES (1), (2)', 2],
    ['INSERT INTO t DEFAULT VALUES', 1],
  ])('%s adds %d', (sql, rows) => {
    expect(rowsQuery(sql)).toMatchObject({ type: 'rows', rows });
  });
});
