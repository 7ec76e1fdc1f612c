import type { Command, Option } from 'commander';

/** Shell completion, made from the commands themselves, so that it cannot fall behind them. */
export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

/** What an option wants after it. */
type Value = 'nothing' | 'path' | 'text' | readonly string[];

interface CompletionOption {
  readonly short: string | undefined;
  readonly long: string | undefined;
  readonly description: string;
  readonly value: Value;
}

interface CompletionCommand {
  /** Names from the program's on, such as `['token', 'create']`; empty for the program. */
  readonly path: readonly string[];
  readonly commands: readonly { readonly name: string; readonly description: string }[];
  readonly options: readonly CompletionOption[];
  /** Words that its argument takes. */
  readonly words: readonly string[];
}

function optionOf(option: Option): CompletionOption {
  let value: Value = 'text';
  if (option.argChoices !== undefined) value = option.argChoices;
  else if (!option.required && !option.optional) value = 'nothing';
  else if (/<(path|dir|file|folder)>/.test(option.flags)) value = 'path';
  return { short: option.short, long: option.long, description: option.description, value };
}

const HELP: CompletionOption = { short: '-h', long: '--help', description: 'show help', value: 'nothing' };

function commandsOf(command: Command, path: readonly string[]): CompletionCommand[] {
  return [
    {
      path,
      commands: command.commands.map((child) => ({ name: child.name(), description: child.description() })),
      options: [...command.options.filter(({ hidden }) => !hidden).map(optionOf), HELP],
      words: command.registeredArguments.flatMap(({ argChoices }) => argChoices ?? []),
    },
    ...command.commands.flatMap((child) => commandsOf(child, [...path, child.name()])),
  ];
}

const flagsOf = ({ short, long }: CompletionOption): string[] => [short, long].filter((flag) => flag !== undefined);
const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;
const wordsOf = ({ commands, options, words }: CompletionCommand): string[] => [
  ...commands.map(({ name }) => name),
  ...words,
  ...options.flatMap(flagsOf),
];

/** Cases of bash and zsh that find which command the words before the cursor name, into `at`. */
function commandCases(all: readonly CompletionCommand[], indent: string): string {
  return all
    .filter(({ path }) => path.length > 0)
    .map(({ path }) => `${indent}"${path.slice(0, -1).join(' ')}:${path.at(-1) ?? ''}") at="\${at:+$at }$word" ;;`)
    .join('\n');
}

/** Cases of bash and zsh for the word after an option that wants a value. */
function valueCases(
  all: readonly CompletionCommand[],
  action: { readonly path: string; readonly choices: (words: readonly string[]) => string },
): string {
  const cases: string[] = [];
  for (const { path, options } of all) {
    for (const option of options) {
      const { value } = option;
      if (value === 'nothing') continue;
      const pattern = flagsOf(option)
        .map((flag) => `"${path.join(' ')}:${flag}"`)
        .join('|');
      const does = value === 'text' ? '' : `${value === 'path' ? action.path : action.choices(value)}; `;
      cases.push(`    ${pattern}) ${does}return ;;`);
    }
  }
  return cases.join('\n');
}

function bash(all: readonly CompletionCommand[]): string {
  const words = all.map((command) => `    "${command.path.join(' ')}") words=${quoted(wordsOf(command).join(' '))} ;;`);
  return `# bash completion for sallyport: source <(sallyport completion bash)
_sallyport() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" prev="\${COMP_WORDS[COMP_CWORD-1]}" at='' words='' word i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="\${COMP_WORDS[i]}"
    case "$at:$word" in
${commandCases(all, '      ')}
    esac
  done
  case "$at:$prev" in
${valueCases(all, {
  path: 'compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur"))',
  choices: (choices) => `COMPREPLY=($(compgen -W ${quoted(choices.join(' '))} -- "$cur"))`,
})}
  esac
  case "$at" in
${words.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -F _sallyport sallyport
`;
}

/** Text of a zsh `_describe` item: the colon separates, so it is escaped. */
const described = (name: string, description: string): string =>
  quoted(`${name.replaceAll(':', '\\:')}:${description.replaceAll('\n', ' ')}`);

function zsh(all: readonly CompletionCommand[]): string {
  const words = all.map(({ path, commands, options, words: taken }) => {
    const items = [
      ...commands.map(({ name, description }) => described(name, description)),
      ...taken.map((word) => described(word, '')),
      ...options.flatMap((option) => flagsOf(option).map((flag) => described(flag, option.description))),
    ];
    return `    "${path.join(' ')}") items=(${items.join(' ')}) ;;`;
  });
  return `#compdef sallyport
# zsh completion for sallyport: source <(sallyport completion zsh)
_sallyport() {
  local at='' word prev="\${words[CURRENT-1]}"
  local -a items
  for word in "\${(@)words[2,CURRENT-1]}"; do
    case "$at:$word" in
${commandCases(all, '      ')}
    esac
  done
  case "$at:$prev" in
${valueCases(all, { path: '_files', choices: (words) => `compadd -- ${words.map(quoted).join(' ')}` })}
  esac
  case "$at" in
${words.join('\n')}
  esac
  _describe 'sallyport' items
}
compdef _sallyport sallyport
`;
}

const quotedFish = (text: string): string => `"${text.replace(/[\\"$]/g, '\\$&')}"`;

function fish(all: readonly CompletionCommand[]): string {
  const lines: string[] = ['complete -c sallyport -f'];
  for (const { path, commands, options, words } of all) {
    const line = `complete -c sallyport -n '__sallyport_at ${quotedFish(path.join(' '))}'`;
    for (const { name, description } of commands) {
      lines.push(`${line} -a ${quotedFish(name)} -d ${quotedFish(description)}`);
    }
    for (const word of words) lines.push(`${line} -a ${quotedFish(word)}`);
    for (const { short, long, description, value } of options) {
      const flags = [
        short === undefined ? '' : ` -s ${short.slice(1)}`,
        long === undefined ? '' : ` -l ${long.slice(2)}`,
      ];
      let takes = '';
      if (value === 'path') takes = ' -r -F';
      else if (value === 'text') takes = ' -x';
      else if (value !== 'nothing') takes = ` -x -a ${quotedFish(value.join(' '))}`;
      lines.push(`${line}${flags.join('')}${takes} -d ${quotedFish(description)}`);
    }
  }
  const names = all.filter(({ path }) => path.length > 0).map(({ path }) => quotedFish(path.join(' ')));
  return `# fish completion for sallyport: sallyport completion fish | source
function __sallyport_at
  set -l at
  for word in (commandline -opc)[2..-1]
    if contains -- (string join ' ' -- $at $word) ${names.join(' ')}
      set -a at $word
    end
  end
  test "$at" = "$argv[1]"
end
${lines.join('\n')}
`;
}

/** The completion script of the whole program for one shell. */
export function completionScript(program: Command, shell: Shell): string {
  const all = commandsOf(program, []);
  switch (shell) {
    case 'bash':
      return bash(all);
    case 'zsh':
      return zsh(all);
    case 'fish':
      return fish(all);
    default: {
      const never: never = shell;
      throw new Error(`unknown shell ${String(never)}`);
    }
  }
}
