import { expect, test } from 'vitest';
import { sketchCatalog } from '../catalog/fixture.ts';
import { effectiveSearchPath } from './search-path.ts';

const catalog = sketchCatalog(
  ['a.t', 'b.t', 'B.t', 'with space.t', 'x"y.t', 'tenant-1.t', 'agent.t', 'keep.t'].map((name) => ({
    name,
    columns: ['id'],
  })),
);

const path = (value: string): string[] | undefined => effectiveSearchPath(value, 'agent', catalog);

test.each([
  ['a, b', ['a', 'b']],
  [' a\t,\n b ', ['a', 'b']],
  ['A, "B", B', ['a', 'B', 'b']],
  ['"with space", a', ['with space', 'a']],
  ['"x""y", b', ['x"y', 'b']],
  ['x"y, b', ['x"y', 'b']],
  ['tenant-1, a', ['tenant-1', 'a']],
  ['"$user", public', ['agent']],
  ['$user', ['agent']],
  ['nothing, pg_temp, a, a', ['a']],
  ['', []],
  ['  ', []],
  ['""', []],
])('%j is what the server reads', (value, schemas) => {
  expect(path(value)).toEqual(schemas);
});

test.each([
  ['a no-break space is a letter to the server', '\u00a0a, b'],
  ['so is one behind a name', 'a\u00a0, b'],
  ['the Kelvin sign is not k', '\u212aeep, b'],
  ['a vertical tab is white space since PostgreSQL 16 only', 'a\u000b, b'],
  ['a name that the server cuts', `${'a'.repeat(64)}, b`],
  ['a quoted name that the server cuts', `"${'é'.repeat(32)}", b`],
  ['an open quote', '"a, b'],
  ['two names without a comma', 'a b'],
  ['a comma at the end', 'a,'],
])('what may be read otherwise is not read: %s', (_, value) => {
  expect(path(value)).toBeUndefined();
});
