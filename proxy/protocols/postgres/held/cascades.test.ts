import { expect, it } from 'vitest';
import type { CatalogRelation } from '../catalog/types.ts';
import { cascades } from './cascades.ts';

const relation = (oid: number): CatalogRelation => ({
  oid,
  schema: 's',
  name: `t${oid}`,
  kind: 'r',
  columns: [],
  parents: [],
});
/** A foreign key of relation `from` to relation `to`. */
const key = (from: number, to: number, onDelete: string, onUpdate: string, column = 'ref', referenced = 'id') => [
  ...['s', `t${from}`, String(from), String(to), onDelete, onUpdate, column],
  JSON.stringify([referenced]),
  JSON.stringify([column]),
];

it('follows deletes through, and stops where a key is only set', () => {
  const keys = [key(2, 1, 'c', 'a'), key(3, 2, 'n', 'a'), key(4, 3, 'c', 'a'), key(5, 1, 'a', 'a')];
  expect(cascades(keys, [relation(1)], 'delete', [])).toEqual([
    'ON DELETE CASCADE: s.t2(ref)',
    'ON DELETE SET NULL: s.t3(ref)',
  ]);
});

it('follows an update only where the columns that it sets are referenced', () => {
  const keys = [key(2, 1, 'a', 'c'), key(3, 2, 'a', 'd', 'other', 'ref')];
  expect(cascades(keys, [relation(1)], 'update', ['name'])).toEqual([]);
  expect(cascades(keys, [relation(1)], 'update', ['id'])).toEqual([
    'ON UPDATE CASCADE: s.t2(ref)',
    'ON UPDATE SET DEFAULT: s.t3(other)',
  ]);
});

it('comes to an end in a cycle, and lists no more than a person reads', () => {
  const cycle = [key(2, 1, 'c', 'a'), key(1, 2, 'c', 'a')];
  expect(cascades(cycle, [relation(1)], 'delete', [])).toHaveLength(2);
  const many = Array.from({ length: 100 }, (_, index) => key(index + 2, 1, 'c', 'a'));
  expect(cascades(many, [relation(1)], 'delete', []).at(-1)).toBe('and 60 more');
});
