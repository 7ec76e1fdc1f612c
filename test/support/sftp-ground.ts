/** A real sftp-server behind an SFTP session of ours, for real clients that speak to a program's standard streams (`sftp -D`). */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import net from 'node:net';
import path from 'node:path';
import type { Duplex, Writable } from 'node:stream';
import type { TextMasker } from '../../proxy/masking/stream/port.ts';
import { createScpSession } from '../../proxy/protocols/ssh/scp/session.ts';
import type {
  ByteSink,
  FileAccessTo,
  FileGrant,
  FileJudge,
  FileOutcome,
  FileRequest,
  FileSession,
} from '../../proxy/protocols/ssh/sftp/port.ts';
import { createSftpSession, type SftpOptions } from '../../proxy/protocols/ssh/sftp/session.ts';
import type { Need } from './requires.ts';

const SERVERS = ['/usr/lib/openssh/sftp-server', '/usr/libexec/openssh/sftp-server', '/usr/libexec/sftp-server'];

export const sftpServer: Need = () =>
  SERVERS.some((file) => existsSync(file)) ? undefined : 'sftp-server: apt-get install openssh-sftp-server';

/** What one request came to. */
export interface JudgedRequest {
  readonly request: FileRequest;
  readonly granted: boolean;
  outcome?: FileOutcome;
}

export interface TestJudge extends FileJudge {
  readonly requests: readonly JudgedRequest[];
  readonly told: readonly string[];
}

export interface TestRules {
  readonly read?: readonly string[];
  readonly write?: readonly string[];
  /** Paths that a person would be asked about: told to it, and granted when the promise resolves. */
  readonly hold?: { readonly path: string; readonly released: Promise<void>; asked?(): void };
  readonly maxBytesReturned?: number;
  readonly masker?: () => TextMasker;
  /** Whether a grant still holds. */
  readonly changed?: FileGrant['changed'];
  /** Paths that are left out again. */
  readonly except?: (path: string) => boolean;
  /** Folders whose contents do not go elsewhere. */
  readonly protect?: readonly string[];
}

/** A judge that knows folders: a path, or all below it. */
export function judgeOf(rules: TestRules): TestJudge {
  const requests: JudgedRequest[] = [];
  const told: string[] = [];
  const covers = ({ access, path: wanted }: FileAccessTo): boolean =>
    rules.except?.(wanted) !== true &&
    ((access === 'ReadFile' ? rules.read : rules.write) ?? []).some(
      (allowed) => wanted === allowed || wanted.startsWith(allowed === '/' ? '/' : `${allowed}/`),
    );
  const note = (request: FileRequest, granted: boolean): JudgedRequest => {
    const entry = { request, granted };
    requests.push(entry);
    return entry;
  };
  const settle = (entry: JudgedRequest, outcome: FileOutcome): void => {
    entry.outcome = outcome;
  };
  return {
    requests,
    told,
    async judge(request, signal) {
      const granted = request.metadata === true ? request.accesses.some(covers) : request.accesses.every(covers);
      const entry = note(request, granted);
      if (!granted) {
        const denied = request.accesses.find((access) => !covers(access));
        return { granted: false, message: `denied: ${denied?.access} ${denied?.path}` };
      }
      const held =
        request.metadata !== true &&
        rules.hold !== undefined &&
        request.accesses.some(({ path: wanted }) => wanted === rules.hold?.path);
      if (held) {
        const aborted = once(signal, 'abort').then(() => Promise.reject(signal.reason));
        rules.hold?.asked?.();
        await Promise.race([rules.hold?.released, aborted]);
      }
      const limit = rules.maxBytesReturned === undefined ? {} : { maxBytesReturned: rules.maxBytesReturned };
      const masker = rules.masker === undefined ? {} : { masker: rules.masker };
      const { changed = () => undefined } = rules;
      return { granted: true, held, ...limit, ...masker, changed, done: (outcome) => settle(entry, outcome) };
    },
    permits: (access) => (covers(access) ? 'Allow' : 'Deny'),
    protects: ({ path: asked, tree }) =>
      (rules.protect ?? []).some(
        (place) => asked === place || asked.startsWith(`${place}/`) || (tree === true && place.startsWith(`${asked}/`)),
      ),
    async note(request) {
      const entry = note(request, true);
      return (outcome) => settle(entry, outcome);
    },
    tell: (line) => void told.push(line),
  };
}

export interface SftpGround extends AsyncDisposable {
  /** For `sftp -D`. */
  readonly command: string;
  readonly judge: TestJudge;
  /** Errors that ended sessions. */
  readonly errors: readonly Error[];
  /** A client that speaks the protocol by hand. */
  connect(): Promise<Duplex>;
  /** Resolves when every session is over. */
  idle(): Promise<void>;
}

const PIPE = "const s=require('net').connect(process.argv[1]);process.stdin.pipe(s);s.pipe(process.stdout)";

/** Bytes into a stream, with its back pressure. */
export function sinkOf(stream: Writable): ByteSink {
  return (bytes) => {
    if (!stream.writable || stream.write(bytes)) return undefined;
    return new Promise((resolve) => {
      const done = (): void => {
        stream.off('drain', done).off('close', done);
        resolve();
      };
      stream.on('drain', done).on('close', done);
    });
  };
}

type MakeSession = (options: Pick<SftpOptions, 'judge' | 'toClient' | 'toServer'>) => FileSession;

/** @param home where the server starts, and where the socket lies */
export function startSftpGround(
  home: string,
  rules: TestRules,
  limits: Pick<SftpOptions, 'maxOutstanding' | 'maxOpenFiles'> = {},
): Promise<SftpGround> {
  const program = SERVERS.find((file) => existsSync(file)) ?? '';
  return startFileGround(home, rules, [program], (options) => createSftpSession({ ...options, ...limits }));
}

/** The far end of a legacy scp, and a program to give to `scp -O -S`. */
export async function startScpGround(
  home: string,
  rules: TestRules,
  role: 'sink' | 'source',
  paths: readonly string[],
): Promise<SftpGround & { readonly shell: string }> {
  const command = ['scp', '-r', '-p', role === 'sink' ? '-t' : '-f', ...paths];
  const create: MakeSession = (options) => createScpSession({ ...options, role, paths, recursive: true });
  const ground = await startFileGround(home, rules, command, create, true);
  const shell = path.join(home, `.shell-${crypto.randomUUID().slice(0, 8)}`);
  await writeFile(shell, `#!/bin/sh\nexec ${ground.command}\n`, { mode: 0o755 });
  return { ...ground, shell };
}

async function startFileGround(
  home: string,
  rules: TestRules,
  [program = '', ...parameters]: readonly string[],
  create: MakeSession,
  /** A client may end what it sends before it has read everything; one that leaves is noticed late then. */
  allowHalfOpen = false,
): Promise<SftpGround> {
  const judge = judgeOf(rules);
  const errors: Error[] = [];
  const running = new Set<Promise<void>>();
  const children = new Set<ChildProcess>();

  async function serve(client: Duplex): Promise<void> {
    const server = spawn(program, parameters, { cwd: home, stdio: ['pipe', 'pipe', 'inherit'] });
    children.add(server);
    server.stdin.on('error', () => {});
    client.on('error', () => {});
    const session = create({ judge, toClient: sinkOf(client), toServer: sinkOf(server.stdin) });
    const fail = (error: unknown): void => {
      session.close();
      if (!over) errors.push(error as Error);
      client.destroy();
      server.stdin.destroy();
    };
    let over = false;
    const up = (async () => {
      for await (const chunk of client) await session.fromClient(chunk as Buffer);
      server.stdin.end();
    })().catch(fail);
    const down = (async () => {
      for await (const chunk of server.stdout) await session.fromServer(chunk as Buffer);
      session.close();
      client.end();
    })().catch(fail);
    client.on('close', () => {
      over = true;
      session.close();
      server.stdin.end();
    });
    await Promise.all([up, down]);
    session.close();
    children.delete(server);
  }

  const socket = path.join(home, `.sftp-${crypto.randomUUID().slice(0, 8)}`);
  const listener = net.createServer({ allowHalfOpen }, (client) => {
    const run = serve(client).finally(() => running.delete(run));
    running.add(run);
  });
  listener.listen(socket);
  await once(listener, 'listening');
  return {
    command: `${process.execPath} -e "${PIPE}" ${socket}`,
    judge,
    errors,
    async connect() {
      const client = net.connect(socket);
      await once(client, 'connect');
      return client;
    },
    async idle() {
      await Promise.all(running);
    },
    async [Symbol.asyncDispose]() {
      for (const child of children) child.kill('SIGKILL');
      listener.close();
      await Promise.all(running);
    },
  };
}
