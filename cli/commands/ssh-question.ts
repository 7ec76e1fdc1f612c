import type { CompiledConnection } from '../../policy/bundle.ts';
import { SSH_OPERATIONS, type SshCommand, type SshOperation } from '../../policy/command.ts';
import {
  channelCommand,
  fileCommand,
  forwardCommand,
  type SshAsked,
  shellCommand,
  subsystemCommand,
} from '../../policy/ssh/commands.ts';
import { analyseExec } from '../../policy/ssh/exec.ts';
import { normalisePath } from '../../policy/ssh/path.ts';
import { CliError } from '../errors.ts';

/** What can be asked for; whether a command is opaque is found out. */
export type AskedOperation = Exclude<SshOperation, 'Opaque'>;
export const ASKED_OPERATIONS = SSH_OPERATIONS.filter(
  (operation): operation is AskedOperation => operation !== 'Opaque',
);

export interface SshQuestion {
  /** Default: the only principal of the connection's certificates. */
  readonly loginUser?: string;
  /** Default: Exec. */
  readonly operation?: AskedOperation;
  readonly terminal?: boolean;
}

/**
 * The command that an agent would send, from the command line: text of an Exec, path of a file, `host:port` or `unix:/path` of a
 * forward, name of a subsystem; nothing for the rest.
 * @throws CliError SPC035 when it is not said who logs in, SPC036 when the text is not what the operation takes
 */
export function sshCommandOf(
  connection: CompiledConnection,
  text: string,
  { loginUser, operation = 'Exec', terminal = false }: SshQuestion,
): SshCommand {
  const asked: SshAsked = { loginUser: loginUser ?? onlyPrincipal(connection), interactive: terminal };
  switch (operation) {
    case 'Exec':
      return analyseExec(text, { ...asked, decodes: ['sftp', 'scp'] });
    case 'ReadFile':
    case 'WriteFile': {
      const normal = normalisePath(text);
      if ('reason' in normal) throw new CliError('SPC036', [operation, normal.reason, 'an absolute path']);
      return fileCommand(`${operation} ${normal.path}`, [{ operation, path: normal.path }], asked);
    }
    case 'LocalForward':
    case 'RemoteForward':
      return forwardCommand(operation, addressOf(operation, text), asked);
    case 'Subsystem':
      if (text === '') throw new CliError('SPC036', [operation, 'there is none', 'the name of a subsystem']);
      return subsystemCommand(text, asked);
    case 'Shell':
      return shellCommand(asked);
    case 'AgentForward':
    case 'X11Forward':
    case 'Tunnel':
      return channelCommand(operation, asked);
    default:
      return operation satisfies never;
  }
}

function onlyPrincipal({ namespace, name, credential }: CompiledConnection): string {
  const principals = credential.sshCertificate?.principals ?? [];
  const [only] = principals;
  if (only === undefined || principals.length > 1) throw new CliError('SPC035', [`${namespace}/${name}`]);
  return only;
}

function addressOf(operation: string, text: string): Parameters<typeof forwardCommand>[1] {
  if (text.startsWith('unix:/')) return { socket: text.slice('unix:'.length) };
  const match = /^(\[[0-9A-Fa-f:.]+\]|[^:/ ]*):([0-9]{1,5})$/.exec(text);
  if (match === null) {
    throw new CliError('SPC036', [operation, `${text === '' ? 'nothing' : text} is none`, 'host:port or unix:/path']);
  }
  return { host: match[1] === '*' ? '' : (match[1] ?? ''), port: Number(match[2]) };
}
