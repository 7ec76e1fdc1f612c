import type { KubernetesExec } from '../command.ts';
import { split } from '../ssh/split.ts';
import { isWrapper } from '../ssh/wrappers.ts';

/** Shells that take `-c SCRIPT` as sh does, and for whom the strict splitter answers. */
const SHELL = /^((\/usr)?\/bin\/)?(sh|bash|dash|ash|zsh|ksh)$/;
/** Options that change no word of the script. Of others nobody is sure, so the shell is judged as the wrapper that it is. */
const OPTIONS: ReadonlySet<string> = new Set([
  '-c',
  '-ec',
  '-ce',
  '-e',
  '-x',
  '-ex',
  '-u',
  '-eu',
  '-euc',
  '-exc',
  '-xc',
]);

/**
 * The simple commands that an exec runs. The words go to the container as they are, so they are one command, but `sh -c SCRIPT` is all
 * of the commands of the script, where the strict splitter is certain of it. Without words nobody knows what runs.
 */
export function execsOf(argv: readonly string[]): readonly KubernetesExec[] {
  const [program = '', ...words] = argv;
  const script = SHELL.test(program) ? scriptOf(words) : undefined;
  const parts = script === undefined ? undefined : split(script);
  if (
    parts !== undefined &&
    'commands' in parts &&
    parts.commands.every(({ redirections }) => redirections.length === 0)
  ) {
    return parts.commands.map((command) => ({
      argv: command.argv,
      wrapper: isWrapper(command.argv[0] ?? '', command.argv.slice(1)),
      shell: argv,
    }));
  }
  return [{ argv, wrapper: isWrapper(program, words) }];
}

/** The script of `-c`; words that follow it are its parameters, which a script without `$` does not read. */
function scriptOf(words: readonly string[]): string | undefined {
  for (const [index, word] of words.entries()) {
    if (!OPTIONS.has(word)) return undefined;
    if (word.includes('c')) return words[index + 1];
  }
  return undefined;
}
