/**
 * PostgreSQL's own regression suite through Sallyport, under a policy that allows everything: what psql prints is what it prints
 * directly. `REGRESSION=all` runs the whole suite (some minutes), otherwise without its slowest files.
 */
import path from 'node:path';
import { expect, test } from 'vitest';
import { compare } from '../regression/compare.ts';
import { DIFFERENT, normalised, SLOW } from '../regression/differences.ts';
import { schedule } from '../regression/sides.ts';
import { fetchSuite, regressionSuite } from '../regression/source.ts';
import { describeWith, postgresServer, program } from '../support/requires.ts';

const whole = process.env.REGRESSION === 'all';
const expected = path.join(import.meta.dirname, '..', 'regression', 'expected');

describeWith(
  [postgresServer(15), program('psql', 'postgresql-client'), program('diff', 'diffutils'), regressionSuite],
  "PostgreSQL's regression suite",
  () => {
    test('comes out as it does directly', { timeout: 30 * 60_000 }, async () => {
      const suite = await fetchSuite();
      const files = (await schedule(suite)).filter((file) => whole || !SLOW.has(file));
      const results = await compare({ suite, version: 15, files });
      expect(results.map(({ file }) => file)).toEqual(files);
      const different = results.filter(({ difference }) => difference !== '');
      const unknown = different.filter(({ file }) => !DIFFERENT.has(file));
      expect(Object.fromEntries(unknown.map(({ file, difference }) => [file, difference]))).toEqual({});
      const missing = files.filter((file) => DIFFERENT.has(file) && !different.some((one) => one.file === file));
      expect(missing, 'files that no longer differ: take them out of the list').toEqual([]);
      for (const { file, difference } of different) {
        await expect(normalised(difference), file).toMatchFileSnapshot(path.join(expected, `${file}.diff`));
      }
    });
  },
);
