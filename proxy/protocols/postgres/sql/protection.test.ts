import { expect, test } from 'vitest';
import type { ColumnMask, MaskPlan, Transform } from '../../../../policy/masking.ts';
import { type RelationSketch, sketchCatalog } from '../catalog/fixture.ts';
import { protect } from './protection.ts';

function plan(columns: Readonly<Record<string, Transform>>): MaskPlan {
  const masks = new Map<string, ColumnMask>();
  for (const [name, transform] of Object.entries(columns))
    masks.set(name, { transform, allowEquality: true, rules: [`shop/${name}`] });
  return {
    empty: false,
    hasColumns: masks.size > 0,
    column: (schema, relation, column) =>
      masks.get(`${schema}.${relation}.${column}`) ??
      masks.get(`*.${relation}.${column}`) ??
      masks.get(`*.*.${column}`),
    transforms: Object.values(columns),
    fields: [],
    content: [],
    binaryOutput: 'Search',
    opaqueBodies: 'Deny',
    kubernetes: [],
    hasFiles: false,
    file: () => undefined,
  };
}

const tokenize: Transform = { type: 'tokenize' };
const partial: Transform = { type: 'partial', keepFirst: 0, keepLast: 4 };
const nullify: Transform = { type: 'nullify' };

/** `relation.column transform` for each protected column, sorted. */
function closure(relations: readonly RelationSketch[], columns: Readonly<Record<string, Transform>>): string[] {
  const catalog = sketchCatalog(relations);
  const protection = protect(catalog, plan(columns));
  return [...catalog.relations()]
    .flatMap((relation) => [...(protection.columns(relation.oid)?.values() ?? [])])
    .map(({ relation, column, mask }) => `${relation}.${column} ${mask.transform.type}`)
    .sort();
}

const view = (
  name: string,
  columns: readonly string[],
  definition: string,
  dependsOn: readonly string[],
): RelationSketch => ({
  name,
  columns,
  kind: 'v',
  definition,
  dependsOn,
});

const c: RelationSketch = { name: 'public.c', columns: ['id', 'ssn', 'card'] };

test('nothing named, nothing protected', () => {
  const protection = protect(sketchCatalog([c]), plan({}));
  expect(protection.empty).toBe(true);
  expect(closure([c], { 'public.other.ssn': tokenize })).toEqual([]);
});

test('a generated column is as protected as what it is made of, and so are its views and children', () => {
  const relations: RelationSketch[] = [
    { name: 'public.g', columns: ['id', 'ssn', 'tail', 'other'], generated: { tail: [1, 2], other: [1] } },
    { name: 'public.child', columns: ['tail', 'id', 'ssn'], parents: ['public.g'], generated: { tail: [3] } },
    view('public.v', ['t', 'o'], 'SELECT g.tail AS t, g.other AS o FROM public.g', ['public.g']),
  ];
  expect(closure(relations, { 'public.g.ssn': partial })).toEqual([
    'public.child.ssn partial',
    'public.child.tail redact',
    'public.g.ssn partial',
    'public.g.tail redact',
    'public.v.t redact',
  ]);
});

test('children follow parents, parents show children, siblings stay', () => {
  const relations: RelationSketch[] = [
    { name: 'public.parent', columns: ['id', 'ssn'] },
    { name: 'public.one', columns: ['ssn', 'id'], parents: ['public.parent'] },
    { name: 'public.two', columns: ['id', 'ssn'], parents: ['public.parent'] },
    { name: 'public.deep', columns: ['id', 'ssn'], parents: ['public.one'] },
  ];
  expect(closure(relations, { 'public.one.ssn': tokenize })).toEqual([
    'public.deep.ssn tokenize',
    'public.one.ssn tokenize',
    'public.parent.ssn tokenize',
  ]);
  expect(closure(relations, { 'public.parent.ssn': tokenize })).toHaveLength(4);
});

test('a view keeps the transform of a plain column and redacts what is computed from one', () => {
  const v = view('public.v', ['a', 'b', 'c'], 'SELECT ssn AS a, upper(ssn) AS b, id AS c FROM public.c', ['public.c']);
  expect(closure([c, v], { 'public.c.ssn': tokenize })).toEqual([
    'public.c.ssn tokenize',
    'public.v.a tokenize',
    'public.v.b redact',
  ]);
  expect(closure([c, v], { 'public.c.ssn': nullify })).toContain('public.v.b nullify');
});

test('views on views, set operations, WITH RECURSIVE and whole rows are followed', () => {
  const relations = [
    c,
    view('public.v3', ['x'], 'SELECT y AS x FROM public.v2', ['public.v2']),
    view('public.v2', ['y'], 'SELECT ssn AS y FROM public.c', ['public.c']),
    view('public.u', ['n', 's'], "SELECT id, 'a' FROM public.c UNION ALL SELECT 1, card FROM public.c", ['public.c']),
    view(
      'public.r',
      ['n', 's'],
      "WITH RECURSIVE r(n, s) AS (SELECT 1, 'a' UNION ALL SELECT r.n + 1, c.ssn FROM r JOIN public.c ON c.id = r.n) SELECT n, s FROM r",
      ['public.c'],
    ),
    view('public.w', ['row'], 'SELECT c.* AS row, 1 FROM public.c', ['public.c']),
    view('public.j', ['j'], 'SELECT row_to_json(c.*) AS j FROM public.c', ['public.c']),
    view('public.s', ['n'], 'SELECT id AS n FROM public.c WHERE ssn > $$a$$ ORDER BY ssn', ['public.c']),
  ];
  expect(closure(relations, { 'public.c.ssn': tokenize, 'public.c.card': partial })).toEqual([
    'public.c.card partial',
    'public.c.ssn tokenize',
    'public.j.j redact',
    'public.r.s redact',
    'public.u.s redact',
    'public.v2.y tokenize',
    'public.v3.x tokenize',
    // Its definition does not fit its columns: nothing of it is trusted.
    'public.w.row redact',
  ]);
});

test('a definition that cannot be read or parsed protects every column', () => {
  const broken = view('public.broken', ['a', 'b'], 'SELECT FROM WHERE', ['public.c']);
  const unread: RelationSketch = { name: 'public.unread', columns: ['a'], kind: 'm', dependsOn: [] };
  expect(closure([c, broken, unread], { 'public.c.ssn': tokenize })).toEqual([
    'public.broken.a redact',
    'public.broken.b redact',
    'public.c.ssn tokenize',
    'public.unread.a redact',
  ]);
});

test('the stricter of a rule on the view and one below it holds, and equality only when both allow it', () => {
  const v = view('public.v', ['a'], 'SELECT ssn AS a FROM public.c', ['public.c']);
  expect(closure([c, v], { 'public.c.ssn': partial, 'public.v.a': nullify })).toContain('public.v.a nullify');
  expect(closure([c, v], { 'public.c.ssn': nullify, 'public.v.a': partial })).toContain('public.v.a nullify');
});

test('views over statistics and the text of other statements are protected', () => {
  const relations = [
    c,
    { name: 'pg_catalog.pg_stat_activity', columns: ['pid', 'query'], kind: 'v' },
    view('public.watch', ['pid', 'q'], 'SELECT pid, query AS q FROM pg_stat_activity', []),
  ];
  expect(closure(relations, { 'public.c.ssn': tokenize })).toContain('public.watch.q redact');
});

test('a schema pattern of * leaves the system catalog alone; its own name does not', () => {
  const relations = [c, { name: 'pg_catalog.pg_authid', columns: ['rolname', 'ssn'] }];
  expect(closure(relations, { '*.*.ssn': tokenize })).toEqual(['public.c.ssn tokenize']);
  expect(closure(relations, { 'pg_catalog.pg_authid.ssn': nullify })).toEqual(['pg_catalog.pg_authid.ssn nullify']);
});
