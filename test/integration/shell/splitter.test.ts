import { mkdir, readdir, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type SimpleCommand, split } from '../../../policy/ssh/split.ts';
import { isWrapper } from '../../../policy/ssh/wrappers.ts';
import { describeWith } from '../../support/requires.ts';
import { createShellOracle, MARKERS, type ShellOracle, shells } from '../../support/shell-oracle.ts';
import { generatedLines } from './generate.ts';
import { LITERAL_LINES } from './literal-lines.ts';
import { OPAQUE_LINES } from './opaque-lines.ts';

/** Lines that are generated for each run, of which about a third is judged. */
const COUNT = Number(process.env['SHELL_LINES'] ?? 1200);
const SEED = Number(process.env['SHELL_SEED'] ?? 20_260);
const SHELLS = (process.env['SHELLS'] ?? 'bash dash').split(' ');

const commandsOf = (line: string): readonly SimpleCommand[] | undefined => {
  const parts = split(line);
  return 'reason' in parts ? undefined : parts.commands;
};
/** Words as the marker writes them: without the folder of the program. Sorted, since no order is asked for. */
const shown = (commands: readonly (readonly string[])[]): string[] =>
  commands.map(([program = '', ...rest]) => JSON.stringify([basename(program), ...rest])).sort();

/** The most often that each text stands in one of the lists. */
function union(...lists: readonly (readonly string[])[]): string[] {
  const all = new Set(lists.flat());
  const count = (list: readonly string[], text: string): number => list.filter((each) => each === text).length;
  return [...all]
    .flatMap((text) => Array<string>(Math.max(...lists.map((list) => count(list, text)))).fill(text))
    .sort();
}

test.each(OPAQUE_LINES.map((line) => [line.length > 60 ? `${line.slice(0, 60)}…` : line, line]))(
  'is not sure of %j',
  (_, line) => {
    expect(commandsOf(line)).toBeUndefined();
  },
);

test.each(LITERAL_LINES)('takes %j', (line, commands) => {
  expect(commandsOf(line)?.map(({ argv }) => argv)).toEqual(commands);
});

describeWith(shells, 'against real shells', () => {
  let oracle: ShellOracle;
  beforeAll(async () => {
    oracle = await createShellOracle();
  });
  afterAll(() => oracle[Symbol.asyncDispose]());

  /** Nothing is written elsewhere, and no built-in runs what its words say: that is not for the splitter to see. */
  const mayRun = ({ argv: [program = '', ...words], redirections }: SimpleCommand): boolean =>
    redirections.every(({ path }) => path.startsWith(`${oracle.files}/`)) &&
    (MARKERS.includes(program) || !isWrapper(program, words));

  /** Each line with a folder of its own to write to. */
  async function judgedLines(): Promise<readonly { readonly line: string; readonly folder: string }[]> {
    const given = [...new Set([...LITERAL_LINES.map(([line]) => line), ...generatedLines(SEED, COUNT)])];
    const lines = given
      .map((line, index) => ({ line, folder: join(oracle.files, String(index)) }))
      .map(({ line, folder }) => ({ line: line.replaceAll('FILES', folder), folder }))
      .filter(({ line }) => commandsOf(line)?.every(mayRun) === true);
    await rm(oracle.files, { recursive: true });
    for (const { folder } of lines) await mkdir(folder, { recursive: true });
    return lines;
  }

  test.each(SHELLS)('%s runs exactly the words that were judged, and opens only those files', async (shell) => {
    const lines = await judgedLines();
    expect(lines.length).toBeGreaterThan(COUNT / 6);
    const texts = lines.map(({ line }) => line);
    const good = await oracle.run(shell, texts, 0);
    // What stands behind && or || runs only in one of the two.
    const branching = texts.filter((line) => /&&|\|\|/.test(line));
    const bad = new Map((await oracle.run(shell, branching, 1)).map((ran, index) => [branching[index], ran]));
    const wrong: object[] = [];
    for (const [index, { line, folder }] of lines.entries()) {
      const judged = commandsOf(line) ?? [];
      const known = shown(
        judged.map(({ argv }) => argv).filter(([program = '']) => MARKERS.includes(basename(program))),
      );
      const ran = union(shown(good[index]?.commands ?? []), shown(bad.get(line)?.commands ?? []));
      // The same words twice may run once in each of the two.
      const same = bad.has(line)
        ? JSON.stringify([...new Set(ran)]) === JSON.stringify([...new Set(known)])
        : JSON.stringify(ran) === JSON.stringify(known);
      const surplus = ran.filter((text) => !known.includes(text));
      const made = (await readdir(folder)).map((name) => join(folder, name));
      const redirections = judged.flatMap((command) => command.redirections);
      // A redirection that cannot be opened ends its command, and so does a built-in: then less may run, never something else.
      const less =
        /[<>]&/.test(line) ||
        judged.some(({ argv: [program = ''] }) => !MARKERS.includes(program)) ||
        redirections.some(({ writes, path }) => !writes || !made.includes(path));
      if (surplus.length > 0 || (!less && !same)) {
        wrong.push({ line, judged: known, ran });
      }
      const writes = redirections.flatMap((one) => (one.writes ? [one.path] : []));
      if (made.some((path) => !writes.includes(path))) wrong.push({ line, made, writes });
    }
    expect(wrong).toEqual([]);
    // Nothing was written beside them either.
    expect(await readdir(oracle.home)).toEqual([]);
  });
});
