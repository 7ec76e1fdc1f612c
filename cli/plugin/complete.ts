import type { Command } from 'commander';
import type { CliIo } from '../io.ts';

/** Kinds of completion, as kubectl reads them from the last line (cobra's ShellCompDirective). */
const DIRECTIVES = { files: 0, noFiles: 4 } as const;

/** Adds what `kubectl_complete-sallyport` calls: candidates for the last word, one on a line, and a directive. */
export function registerComplete(program: Command, io: CliIo): void {
  program
    .command('__complete', { hidden: true })
    .argument('[words...]')
    .allowUnknownOption()
    .helpOption(false)
    .action((words: string[]) => void io.stdout.write(completions(program, words)));
}

/** @param words after `kubectl sallyport`; the last one is being written, and may be empty */
export function completions(program: Command, words: readonly string[]): string {
  const current = words.at(-1) ?? '';
  const before = words.slice(0, -1);
  let command = program;
  for (const word of before) command = command.commands.find((child) => child.name() === word) ?? command;
  const previous = before.at(-1) ?? '';
  const wanting = command.options.find(({ short, long }) => previous !== '' && [short, long].includes(previous));
  const takesValue = wanting !== undefined && (wanting.required || wanting.optional);
  if (takesValue) {
    if (wanting.argChoices !== undefined) return lines(wanting.argChoices, current, DIRECTIVES.noFiles);
    const isPath = /<(path|dir|file|folder)>/.test(wanting.flags);
    return lines([], current, isPath ? DIRECTIVES.files : DIRECTIVES.noFiles);
  }
  const children = command
    .createHelp()
    .visibleCommands(command)
    .map((child) => `${child.name()}\t${child.description()}`);
  const options = command
    .createHelp()
    .visibleOptions(command)
    .map(({ long, short, description }) => `${long ?? short ?? ''}\t${description}`);
  return lines(current.startsWith('-') ? options : children, current, DIRECTIVES.noFiles);
}

function lines(candidates: readonly string[], current: string, directive: number): string {
  const fitting = candidates.filter((candidate) => candidate.startsWith(current));
  return [...fitting, `:${directive}`].map((line) => `${line}\n`).join('');
}
