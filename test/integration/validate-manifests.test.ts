import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { applied, type ManifestChange, manifestFindings } from './validate-manifests.ts';

/** Objects that are in order, changes that break them, and what is said about each. */
interface Golden {
  readonly bases: Readonly<Record<string, unknown>>;
  readonly cases: readonly (ManifestChange & { readonly base: string; readonly expect: readonly string[] })[];
}

const FOLDER = join(import.meta.dirname, '../golden/manifests');
const files = readdirSync(FOLDER).map((file) => ({
  file,
  golden: parse(readFileSync(join(FOLDER, file), 'utf8')) as Golden,
}));

test('there are at least 150 of them', () => {
  const count = files.reduce((sum, { golden }) => sum + golden.cases.length, 0);
  expect(count).toBeGreaterThanOrEqual(150);
});

describe.each(files)('$file', ({ golden: { bases, cases } }) => {
  test.each(Object.entries(bases))('base %s is in order', async (_, object) => {
    expect(await manifestFindings(object)).toEqual([]);
  });

  test.each(cases.map((each) => ({ ...each, title: `${each.base}: ${each.remove ?? JSON.stringify(each.set)}` })))(
    '$title',
    async ({ base, expect: expected, ...change }) => {
      expect(expected.length).toBeGreaterThan(0);
      expect(await manifestFindings(applied(bases[base], change))).toEqual(expected);
    },
  );
});
