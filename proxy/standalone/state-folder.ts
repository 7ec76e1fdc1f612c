import { randomUUID } from 'node:crypto';
import { link, mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import net from 'node:net';
import { platform } from 'node:os';
import { join } from 'node:path';
import { ApiError } from '../../api/errors.ts';

/** The folder that keeps what a standalone gateway must not forget: keys, record, run-time information. Mode 0700. */
export interface StateFolder {
  readonly path: string;
  readonly record: string;
  readonly secrets: string;
  /** Writes STATE/run/NAME for `sallyport connect` and scripts. */
  announce(name: string, content: string): Promise<void>;
  release(): Promise<void>;
}

/** Longest path of a UNIX socket that every system takes (sun_path is 104 bytes on BSD, 108 on Linux), less the NUL. */
const MAX_SOCKET_PATH = 103;

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code;
const ignoreMissing = (error: unknown): void => {
  if (codeOf(error) !== 'ENOENT') throw error;
};

/** A listening socket that does nothing: it is there for as long as its process is. */
async function hold(address: string): Promise<net.Server> {
  const server = net.createServer((socket) => socket.destroy());
  server.unref();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ path: address, exclusive: true }, resolve);
  });
  return server;
}

/** Whether a process listens on the socket. */
function answers(address: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect({ path: address });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

const closed = (server: net.Server): Promise<void> => new Promise((resolve) => void server.close(() => resolve()));

/**
 * The lock is held by listening: the kernel ends that with the process, however it dies, and a process id that is used again
 * confuses nobody. On Linux a name in the abstract namespace is exclusive by itself; it does not reach into other network
 * namespaces, so a socket in the folder stands beside it. That one can be left behind: who finds it dead takes its place by `link`,
 * which only one of several does.
 * @throws ApiError SPA006 when another process has it
 */
async function lock(path: string): Promise<() => Promise<void>> {
  const held: net.Server[] = [];
  const taken = async (): Promise<ApiError> => {
    await Promise.all(held.map(closed));
    const pid = await readFile(join(path, 'run', 'pid'), 'utf8').catch(() => 'unknown');
    return new ApiError('SPA006', [path, pid.trim()]);
  };
  if (platform() === 'linux') {
    const { dev, ino } = await stat(path);
    try {
      held.push(await hold(`\0sallyport-state-${dev}-${ino}`));
    } catch (error) {
      if (codeOf(error) !== 'EADDRINUSE') throw error;
      throw await taken();
    }
  }
  const file = join(path, 'run', 'lock');
  const own = join(path, 'run', `lock-${randomUUID().slice(0, 8)}`);
  if (Buffer.byteLength(own) > MAX_SOCKET_PATH) {
    if (held.length > 0) return () => Promise.all(held.map(closed)).then(() => undefined);
    throw new Error(`its path is longer than ${MAX_SOCKET_PATH - 'run/lock-12345678'.length - 1} bytes`);
  }
  held.push(await hold(own));
  try {
    for (let attempt = 0; attempt < 3; attempt++) {
      try {
        await link(own, file);
        return async () => {
          await rm(file, { force: true });
          await Promise.all(held.map(closed));
        };
      } catch (error) {
        if (codeOf(error) !== 'EEXIST') throw error;
      }
      if (await answers(file)) break;
      // What was found dead may have been replaced by a living one since: it is looked at again once nobody else can.
      const aside = `${own}-old`;
      await rename(file, aside).catch(ignoreMissing);
      if (await answers(aside)) await link(aside, file).catch(ignoreMissing);
      await rm(aside, { force: true });
    }
  } finally {
    await rm(own, { force: true });
  }
  throw await taken();
}

/**
 * Opens the folder for one gateway and keeps others out until it is released or the process ends.
 * @throws ApiError SPA006 when another has it, SPA011 when it cannot be used
 */
export async function openStateFolder(path: string, pid: number): Promise<StateFolder> {
  let unlock: () => Promise<void>;
  try {
    await mkdir(join(path, 'run'), { recursive: true, mode: 0o700 });
    for (const folder of [path, join(path, 'run')]) {
      if (((await stat(folder)).mode & 0o022) !== 0) throw new Error(`others may write to ${folder}`);
    }
    unlock = await lock(path);
    await writeFile(join(path, 'run', 'pid'), `${pid}\n`, { mode: 0o600 });
  } catch (error) {
    if (error instanceof ApiError) throw error;
    throw new ApiError('SPA011', [path, error instanceof Error ? error.message : String(error)], error);
  }
  const announced = new Set<string>(['pid']);
  return {
    path,
    record: join(path, 'record'),
    secrets: join(path, 'secrets'),
    async announce(name, content) {
      announced.add(name);
      // Whoever reads it sees the old or the new content, never a part.
      const temporary = join(path, 'run', `${name}.new`);
      await writeFile(temporary, content, { mode: 0o600 });
      await rename(temporary, join(path, 'run', name));
    },
    async release() {
      for (const name of announced) await rm(join(path, 'run', name), { force: true });
      await unlock();
    },
  };
}
