/**
 * `initdb` takes a second or two, so it runs once per version and machine: the result is kept as a template and copied for each
 * server.
 */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chownSync, existsSync } from 'node:fs';
import { chmod, cp, mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { type PostgresVersion, type ServerBinaries, serverBinaries } from './server-binaries.ts';

const run = promisify(execFile);

/** Who the server runs as: it refuses root. Undefined: as ourselves. */
export interface ServerUser {
  readonly uid: number;
  readonly gid: number;
}

/** 65534 is `nobody` on every Linux; by number, because a slim image may have no name for it. */
export const serverUser: ServerUser | undefined = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : undefined;

export function giveTo(user: ServerUser | undefined, file: string): void {
  if (user !== undefined) chownSync(file, user.uid, user.gid);
}

export interface PostgresTemplate {
  readonly dataDirectory: string;
  readonly password: string;
  readonly binaries: ServerBinaries;
}

/** Owned by us and writable by nobody else, because its name can be guessed. */
async function cacheFolder(): Promise<string> {
  const uid = process.getuid?.() ?? 0;
  const folder = path.join(os.tmpdir(), `sallyport-test-cache-${uid}`);
  await mkdir(folder, { recursive: true, mode: 0o755 });
  const found = await stat(folder);
  if (found.uid !== uid || (found.mode & 0o022) !== 0) {
    throw new Error(`${folder} belongs to another user or can be written by others: remove it`);
  }
  return folder;
}

/** Two test processes may prepare the same thing: each prepares its own, the first rename wins. */
async function publish(prepared: string, target: string): Promise<void> {
  try {
    await rename(prepared, target);
  } catch (error) {
    if (!existsSync(target)) throw error;
    await rm(prepared, { recursive: true, force: true });
  }
}

async function usableBy(user: ServerUser | undefined, binaries: ServerBinaries): Promise<boolean> {
  try {
    await run(binaries.postgres, ['--version'], { ...user });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EACCES') return false;
    throw error;
  }
}

/** A checkout below /root cannot be read by the server's user: its programs are then copied to the cache. */
async function reachable(binaries: ServerBinaries, key: string, cache: string): Promise<ServerBinaries> {
  if (binaries.relocatable === undefined || (await usableBy(serverUser, binaries))) return binaries;
  const copy = path.join(cache, `${key}-programs`);
  if (!existsSync(copy)) {
    const prepared = `${copy}.${process.pid}.${randomBytes(4).toString('hex')}`;
    await cp(binaries.relocatable, prepared, { recursive: true, verbatimSymlinks: true });
    await publish(prepared, copy);
  }
  return { initdb: path.join(copy, 'bin', 'initdb'), postgres: path.join(copy, 'bin', 'postgres'), relocatable: copy };
}

async function initialise(binaries: ServerBinaries, target: string): Promise<void> {
  const prepared = `${target}.${process.pid}.${randomBytes(4).toString('hex')}`;
  await mkdir(prepared, { mode: 0o711 });
  const passwordFile = path.join(prepared, 'password');
  await writeFile(passwordFile, randomBytes(12).toString('hex'), { mode: 0o600 });
  giveTo(serverUser, passwordFile);
  const data = path.join(prepared, 'data');
  await mkdir(data, { mode: 0o700 });
  giveTo(serverUser, data);
  await run(
    binaries.initdb,
    [
      ...['--pgdata', data, '--username', 'postgres', '--pwfile', passwordFile, '--auth', 'scram-sha-256'],
      ...['--encoding', 'UTF8', '--locale', 'C.UTF-8', '--no-sync', '--wal-segsize', '1'],
    ],
    { ...serverUser, cwd: '/', env: { ...process.env, LC_ALL: 'C.UTF-8' } },
  );
  await chmod(passwordFile, 0o600);
  await publish(prepared, target);
}

/** @throws when this machine has no server of that version: guard the test with `requires.ts` */
export async function postgresTemplate(version: PostgresVersion): Promise<PostgresTemplate> {
  const found = serverBinaries(version);
  if (found === undefined) throw new Error(`there is no PostgreSQL ${version} server on this machine`);
  const cache = await cacheFolder();
  const { stdout } = await run(found.postgres, ['--version']);
  const key = `postgres-${stdout
    .trim()
    .replaceAll(/[^0-9.]+/g, '-')
    .replaceAll(/^-|-$/g, '')}`;
  const binaries = await reachable(found, key, cache);
  const template = path.join(cache, `${key}-template`);
  if (!existsSync(template)) await initialise(binaries, template);
  return {
    dataDirectory: path.join(template, 'data'),
    password: await readFile(path.join(template, 'password'), 'utf8'),
    binaries,
  };
}
