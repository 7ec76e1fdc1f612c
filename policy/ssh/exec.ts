import type { SshCommand, SshFacts, SshTransfer, SshTuple } from '../command.ts';
import { type FileAccess, factsOf, type SshAsked } from './commands.ts';
import { rsyncServer } from './rsync.ts';
import { type ScpServer, scpServer } from './scp.ts';
import { MAX_COMMAND, type SimpleCommand, split } from './split.ts';
import { isWrapper } from './wrappers.ts';

export interface ExecAsked extends SshAsked {
  /**
   * The file protocols that the caller itself reads and decides, file by file, when a command turns out to speak one
   * (`SshCommand.transfer`). Without `sftp`, running an SFTP server is opaque; without `scp`, a transfer is judged as a whole tree.
   */
  readonly decodes?: readonly SshTransfer['type'][];
}

/**
 * What an `exec` request would do when `$SHELL -c COMMAND` runs it, the shell being sh, bash, dash, zsh or ksh. Whatever is not
 * certain is one opaque tuple. Pure, and linear in the length of the command.
 */
export function analyseExec(command: Uint8Array | string, asked: ExecAsked): SshCommand {
  const text = typeof command === 'string' ? command : decoded(command);
  if (text === undefined) return opaque(escaped(command as Uint8Array), asked, 'it is not UTF-8');
  const parts = split(text);
  if ('reason' in parts) return opaque(text, asked, parts.reason);
  const [only] = parts.commands;
  const alone = parts.commands.length === 1 && only !== undefined && only.redirections.length === 0;
  const into = new Parts(asked);
  let transfer: SshTransfer | undefined;
  for (const simple of parts.commands) {
    const spoken = analyseSimple(simple, into, asked, alone);
    transfer ??= spoken;
    for (const { reads, writes, path } of simple.redirections) {
      if (reads) into.file({ operation: 'ReadFile', path }, []);
      if (writes) into.file({ operation: 'WriteFile', path }, []);
    }
  }
  into.terminal();
  return {
    protocol: 'SSH',
    text,
    loginUser: asked.loginUser,
    statements: into.statements,
    tuples: into.tuples,
    ...(transfer === undefined ? {} : { transfer }),
  };
}

function decoded(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

/** Readable, and different for different bytes. */
function escaped(bytes: Uint8Array): string {
  return Array.from(bytes.subarray(0, MAX_COMMAND), (byte) =>
    byte >= 0x20 && byte < 0x7f && byte !== 0x5c
      ? String.fromCharCode(byte)
      : `\\x${byte.toString(16).padStart(2, '0')}`,
  ).join('');
}

function opaque(text: string, asked: SshAsked, reason: string): SshCommand {
  const into = new Parts(asked);
  into.opaque(reason, []);
  into.terminal();
  const { loginUser } = asked;
  return { protocol: 'SSH', text, loginUser, statements: into.statements, tuples: into.tuples };
}

/** Tuples with the facts of each. */
class Parts {
  readonly statements: SshFacts[] = [];
  readonly tuples: SshTuple[] = [];
  readonly #asked: SshAsked;

  constructor(asked: SshAsked) {
    this.#asked = asked;
  }

  #fact(operation: SshFacts['operation'], rest: Partial<SshFacts>): number {
    return this.statements.push(factsOf(operation, this.#asked, rest)) - 1;
  }

  exec(argv: readonly string[], wrapper: boolean, unsure?: string): void {
    const statement = this.#fact('Exec', { argv });
    const because = unsure === undefined ? {} : { unsure };
    this.tuples.push({ type: 'exec', operation: 'Exec', argv, wrapper, ...because, statement });
  }

  file({ operation, path, tree = false }: FileAccess, argv: readonly string[], seen = false): void {
    const statement = this.#fact(operation, { argv, path });
    this.tuples.push({ type: 'file', operation, path, tree, ...(seen ? {} : { unseen: true }), statement });
  }

  sftp(argv: readonly string[]): void {
    const statement = this.#fact('Subsystem', { argv, subsystem: 'sftp' });
    this.tuples.push({ type: 'subsystem', operation: 'Subsystem', name: 'sftp', statement });
  }

  /** Pagers, editors and others start a shell when they are told to by a key. */
  terminal(): void {
    if (this.#asked.interactive !== true) return;
    this.tuples.push({ type: 'channel', operation: 'Shell', terminal: true, statement: this.#fact('Shell', {}) });
  }

  opaque(reason: string, argv: readonly string[]): void {
    this.tuples.push({ type: 'opaque', operation: 'Opaque', reason, statement: this.#fact('Opaque', { argv }) });
  }
}

/** @returns the transfer, when the command is all there is and the caller decides its files */
function analyseSimple(
  { argv }: SimpleCommand,
  into: Parts,
  { decodes = [] }: ExecAsked,
  alone: boolean,
): SshTransfer | undefined {
  const [program = ''] = argv;
  if (isSftpServer(program) && argv.length === 1 && alone && decodes.includes('sftp')) {
    into.sftp(argv);
    return { type: 'sftp' };
  }
  const scp = scpServer(argv);
  if (scp !== undefined) {
    if ('reason' in scp) {
      into.exec(argv, true, scp.reason);
      return undefined;
    }
    const decides = alone && decodes.includes('scp');
    for (const file of scp.files) into.file(decides ? { ...file, tree: false } : file, argv, decides);
    return decides ? scpTransfer(scp) : undefined;
  }
  const rsync = rsyncServer(argv);
  if (rsync === undefined) into.exec(argv, isWrapper(program, argv.slice(1)));
  else if ('reason' in rsync) into.exec(argv, true, rsync.reason);
  else for (const file of rsync) into.file(file, argv);
  return undefined;
}

function isSftpServer(program: string): boolean {
  return /^((\/usr)?\/(lib|libexec)(\/(openssh|ssh))?\/)?(sftp-server|internal-sftp)$/.test(program);
}

function scpTransfer({ role, files, recursive }: ScpServer): SshTransfer {
  return { type: 'scp', role, paths: files.map(({ path }) => path), recursive };
}
