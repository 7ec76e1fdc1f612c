import type { SshCommand, SshTuple } from '../command.ts';
import type { ProtocolRules } from '../protocol-rules.ts';
import { coversSsh, grantsFiles, hitsSsh, type SshMatcher } from './match.ts';

/** Judging of SSH. A wrapper is opaque until an Allow rule names it. */
export const sshRules: ProtocolRules<SshTuple, SshCommand> = {
  covers: ({ ssh }, tuple, { loginUser }) => ssh !== undefined && coversSsh(ssh, tuple, loginUser),
  hits: ({ ssh }, tuple, { loginUser }) => ssh !== undefined && hitsSsh(ssh, tuple, loginUser),
  isOpaque(tuple, { loginUser }, allow) {
    if (tuple.type === 'opaque') return true;
    if (tuple.type !== 'exec' || !tuple.wrapper) return false;
    return !allow.some(({ ssh }) => ssh?.commands !== undefined && coversNamed(ssh, tuple, loginUser));
  },
  // Nothing has happened yet when SFTP begins: each of its requests is decided.
  isHarmless: (tuple, { loginUser }, allow) =>
    tuple.type === 'subsystem' &&
    tuple.name === 'sftp' &&
    allow.some(({ ssh }) => ssh !== undefined && grantsFiles(ssh, loginUser)),
  isNeverHeld: () => false,
  reuse: () => 'text',
};

/** Covered by a pattern that names the program, not by the operation Opaque. */
function coversNamed(ssh: SshMatcher, tuple: SshTuple, loginUser: string): boolean {
  const named = new Set(ssh.operations);
  named.delete('Opaque');
  return coversSsh({ ...ssh, operations: named }, tuple, loginUser);
}
