import type { ChannelTuple, SshCommand, SshFacts, SshOperation, SshTuple } from '../command.ts';

/** What a channel is asked with besides its command. */
export interface SshAsked {
  /** The user on the target. */
  readonly loginUser: string;
  /** A terminal was asked for. */
  readonly interactive?: boolean;
}

const NOTHING = { argv: [], path: '', destination: '', subsystem: '', interactive: false } as const;

/** What conditions see of one part of a command. */
export function factsOf(operation: SshOperation, asked: SshAsked, rest: Partial<SshFacts> = {}): SshFacts {
  return { ...NOTHING, interactive: asked.interactive === true, ...rest, operation, loginUser: asked.loginUser };
}

function single(text: string, asked: SshAsked, tuple: SshTuple, rest: Partial<SshFacts> = {}): SshCommand {
  return {
    protocol: 'SSH',
    text,
    loginUser: asked.loginUser,
    statements: [factsOf(tuple.operation, asked, rest)],
    tuples: [tuple],
  };
}

/** A request `shell`: one decision, after which nothing is controlled. */
export function shellCommand(asked: SshAsked): SshCommand {
  return single('shell', { ...asked, interactive: true }, { type: 'channel', operation: 'Shell', statement: 0 });
}

/** Agent forwarding (`auth-agent-req@openssh.com`), X11 (`x11-req`) or a tun device (`tun@openssh.com`). */
export function channelCommand(operation: Exclude<ChannelTuple['operation'], 'Shell'>, asked: SshAsked): SshCommand {
  return single(operation, asked, { type: 'channel', operation, statement: 0 });
}

/** A request `subsystem`. */
export function subsystemCommand(name: string, asked: SshAsked): SshCommand {
  return single(
    `subsystem ${name}`,
    asked,
    { type: 'subsystem', operation: 'Subsystem', name, statement: 0 },
    { subsystem: name },
  );
}

/** One file that an operation touches. */
export interface FileAccess {
  readonly operation: 'ReadFile' | 'WriteFile';
  /** From `normalisePath`: absolute and without `.` or `..` segments. */
  readonly path: string;
  /** Everything below it as well. */
  readonly tree?: boolean;
}

/**
 * One request of a file protocol, with every path that it touches (a rename has two).
 * @param text as it is recorded and shown, such as `sftp open /var/log/shop/app.log`
 */
export function fileCommand(text: string, files: readonly FileAccess[], asked: SshAsked): SshCommand {
  return {
    protocol: 'SSH',
    text,
    loginUser: asked.loginUser,
    statements: files.map(({ operation, path }) => factsOf(operation, asked, { path })),
    tuples: files.map(({ operation, path, tree }, statement) => ({
      type: 'file',
      operation,
      path,
      tree: tree === true,
      statement,
    })),
  };
}

/** A port (`direct-tcpip`, `tcpip-forward`), or a Unix socket (`direct-streamlocal@openssh.com` and its counterpart). */
export type ForwardAddress = { readonly host: string; readonly port: number } | { readonly socket: string };

/** `host:port`, `[v6]:port` or `unix:/path`, as rules write it. An empty host, which listens on all addresses, is `*`. */
export function destinationOf(address: ForwardAddress): string {
  if ('socket' in address) return `unix:${address.socket}`;
  const host = address.host
    .toLowerCase()
    .replace(/\.$/, '')
    .replace(/^\[(.*)\]$/, '$1');
  if (host === '') return `*:${address.port}`;
  return host.includes(':') ? `[${host}]:${address.port}` : `${host}:${address.port}`;
}

/** LocalForward: the target dials the address. RemoteForward: the target listens on it. */
export function forwardCommand(
  operation: 'LocalForward' | 'RemoteForward',
  address: ForwardAddress,
  asked: SshAsked,
): SshCommand {
  const destination = destinationOf(address);
  return single(
    `${operation} ${destination}`,
    asked,
    { type: 'forward', operation, destination, statement: 0 },
    { destination },
  );
}
