import { execFileSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import { completionScript, SHELLS } from './completion.ts';
import type { CliIo } from './io.ts';
import { createProgram } from './program.ts';

const io: CliIo = {
  stdout: { write: () => true },
  stderr: { write: () => true },
  env: {},
  cwd: '/',
  pid: 1,
  arguments: [],
  isTTY: false,
  signal: new AbortController().signal,
  onHangup: () => {},
  setExitCode: () => {},
};
const program = createProgram(io);

/** What bash offers after these words, the last of which is being typed. */
function offered(...words: string[]): string[] {
  const script = `${completionScript(program, 'bash')}
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _sallyport; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const output = execFileSync('bash', ['-c', script, 'bash', 'sallyport', ...words], {
    encoding: 'utf8',
    cwd: import.meta.dirname,
  });
  return output.split('\n').filter((line) => line !== '');
}

describe('completion', () => {
  test('commands and their subcommands', () => {
    expect(offered('va')).toEqual(['validate']);
    expect(offered('token', '')).toContain('create');
    expect(offered('sessions', 'f')).toEqual(['follow']);
    expect(offered('completion', '')).toEqual(expect.arrayContaining(['bash', 'zsh', 'fish']));
  });

  test('options of the command at hand, after others were given', () => {
    expect(offered('run', '-f', 'x', '--wor')).toEqual(['--workers']);
    expect(offered('validate', '--wor')).toEqual([]);
  });

  test('values: a choice, a path, nothing known', () => {
    expect(offered('validate', '-o', '')).toEqual(['text', 'json']);
    expect(offered('validate', '--file', 'mai')).toEqual(['main.ts']);
    expect(offered('run', '--workers', '')).toEqual([]);
  });

  test.each(SHELLS)('%s: every command and every long option is there', (shell) => {
    const script = completionScript(program, shell);
    const walk = (command: typeof program): void => {
      for (const option of command.options) expect(script).toContain((option.long ?? '').slice(2));
      for (const child of command.commands) {
        expect(script).toContain(child.name());
        walk(child as typeof program);
      }
    };
    walk(program);
  });
});
