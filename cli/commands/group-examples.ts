import type { AddHelpTextContext } from 'commander';

/**
 * The examples of a group of commands, for `addHelpText('afterAll', …)`: the group's own help shows all of them, the help of a command in
 * it those that call it, so that nobody has to look for theirs.
 * @param examples one to a line; a deeper indented line goes on with the one before it
 */
export function groupExamples(examples: readonly string[]): (context: AddHelpTextContext) => string {
  return ({ command }) => {
    const own = examples.filter((example) => example.includes(`sallyport ${pathOf(command)} `));
    const shown = command.commands.length > 0 || own.length === 0 ? examples : own;
    return `\nExamples:\n${shown.map((example) => `  ${example}`).join('\n')}`;
  };
}

function pathOf(command: AddHelpTextContext['command']): string {
  const names: string[] = [];
  for (let each: typeof command | null = command; each?.parent; each = each.parent) names.unshift(each.name());
  return names.join(' ');
}
