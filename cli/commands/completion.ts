import { Argument, type Command } from 'commander';
import { completionScript, SHELLS, type Shell } from '../completion.ts';
import type { CliIo } from '../io.ts';

/** Adds `completion`. */
export function register(program: Command, io: CliIo): void {
  program
    .command('completion')
    .description('Print the completion script of a shell')
    .addArgument(new Argument('<shell>', 'which one').choices(SHELLS))
    .addHelpText(
      'after',
      `
Examples:
  source <(sallyport completion bash)      # in ~/.bashrc
  source <(sallyport completion zsh)       # in ~/.zshrc, after compinit
  sallyport completion fish | source       # in ~/.config/fish/config.fish`,
    )
    .action((shell: Shell) => void io.stdout.write(completionScript(program, shell)));
}
