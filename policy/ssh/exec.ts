import type { SshCommand, SshTransfer } from '../command.ts';
import { factsOf, type SshAsked } from './commands.ts';

export interface ExecAsked extends SshAsked {
  /**
   * The file protocols that the caller itself reads and decides, file by file, when a command turns out to speak one
   * (`SshCommand.transfer`). Without `sftp`, running an SFTP server is opaque; without `scp`, a transfer is judged as a whole tree.
   */
  readonly decodes?: readonly SshTransfer['type'][];
}

/**
 * What an `exec` request would do when `$SHELL -c COMMAND` runs it, the shell being sh, bash, dash, zsh or ksh. Whatever is not
 * certain is one opaque tuple. Pure and linear in the length of the command.
 */
export function analyseExec(command: Uint8Array | string, asked: ExecAsked): SshCommand {
  const text = typeof command === 'string' ? command : Buffer.from(command).toString('utf8');
  return {
    protocol: 'SSH',
    text,
    loginUser: asked.loginUser,
    statements: [factsOf('Opaque', asked)],
    tuples: [{ type: 'opaque', operation: 'Opaque', reason: 'it was not read', statement: 0 }],
  };
}
