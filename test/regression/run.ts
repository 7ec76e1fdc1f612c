/**
 * The regression suite by hand: `node test/regression/run.ts [--twice] [--version N] [--out FOLDER] [FILE…]` prints one line per
 * file and writes the differences to FOLDER.
 */
import { writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { compare } from './compare.ts';
import { fetchSuite } from './source.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    twice: { type: 'boolean', default: false },
    version: { type: 'string', default: '15' },
    out: { type: 'string', default: path.join('.cache', 'regression', 'differences') },
  },
});
const version = ([15, 17, 18] as const).find((one) => String(one) === values.version);
if (version === undefined) throw new Error(`no server of version ${values.version}`);

await mkdir(values.out, { recursive: true });
const results = await compare({
  suite: await fetchSuite(),
  version,
  twice: values.twice,
  ...(positionals.length === 0 ? {} : { files: positionals }),
  onFile: ({ file, difference, unstable, seconds }) => {
    const verdict = difference === '' ? 'same' : `${difference.split('\n').length} lines differ`;
    const noise = unstable === '' ? '' : `, ${unstable.split('\n').length} between direct runs`;
    if (difference !== '') writeFileSync(path.join(values.out, `${file}.diff`), difference, 'latin1');
    if (unstable !== '') writeFileSync(path.join(values.out, `${file}.unstable.diff`), unstable, 'latin1');
    process.stdout.write(`${file}: ${verdict}${noise} (${seconds.map((one) => one.toFixed(1)).join(' / ')} s)\n`);
  },
  onEnd: (output) => writeFileSync(path.join(values.out, 'gateway.log'), output),
});
const different = results.filter(({ difference }) => difference !== '');
process.stdout.write(`${results.length} files, ${different.length} differ\n`);
process.exitCode = different.length === 0 ? 0 : 1;
