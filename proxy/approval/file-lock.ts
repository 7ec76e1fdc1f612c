import { link, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { ownerIsAlive, parseOwner } from '../../record/owner.ts';
import { ApprovalError, hasCode } from './errors.ts';
import type { Holder } from './request.ts';

/** Longest wait for somebody else's lock, which is held for one read and one write. */
const WAIT_MS = 10_000;
/** A lock of another machine whose process cannot be judged from here is left behind when it is this old. */
const FOREIGN_MS = 30_000;

/**
 * Keeps two processes from writing one file at once, so that neither loses the other's change. It protects what people see and votes
 * from getting lost; that a command runs once does not rest on it.
 * @param mode of the lock's file
 * @throws ApprovalError SPV021 when somebody else keeps it
 */
export async function withFileLock<T>(path: string, holder: Holder, mode: number, work: () => Promise<T>): Promise<T> {
  const lock = `${path}.lock`;
  const content = JSON.stringify(holder);
  const deadline = performance.now() + WAIT_MS;
  for (let pause = 1; !(await take(lock, content, mode)); pause = Math.min(pause * 2, 50)) {
    if (performance.now() > deadline) throw new ApprovalError('SPV021', [path]);
    if (!(await breakIfDead(lock, holder))) await delay(pause);
  }
  try {
    return await work();
  } finally {
    await rm(lock, { force: true });
  }
}

async function take(lock: string, content: string, mode: number): Promise<boolean> {
  try {
    await writeFile(lock, content, { flag: 'wx', mode });
    return true;
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return false;
    throw error;
  }
}

/** Removes a lock whose owner is gone. What was found dead may have been replaced by a living one since: that one is put back. */
async function breakIfDead(lock: string, own: Holder): Promise<boolean> {
  const found = await readLock(lock);
  if (found === undefined) return true;
  if (!isDead(found, own)) return false;
  const aside = `${lock}.${own.process}`;
  try {
    await rename(lock, aside);
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return true;
    throw error;
  }
  if ((await readLock(aside))?.content !== found.content) {
    await link(aside, lock).catch((error: unknown) => {
      if (!hasCode(error, 'EEXIST')) throw error;
    });
  }
  await rm(aside, { force: true });
  return true;
}

interface FoundLock {
  readonly content: string;
  readonly ageMs: number;
}

async function readLock(lock: string): Promise<FoundLock | undefined> {
  try {
    const [content, { mtimeMs }] = await Promise.all([readFile(lock, 'utf8'), stat(lock)]);
    return { content, ageMs: Date.now() - mtimeMs };
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

function isDead({ content, ageMs }: FoundLock, own: Holder): boolean {
  let owner: unknown;
  try {
    owner = JSON.parse(content);
  } catch (error) {
    // Made and not written yet, or its maker died between the two.
    if (!(error instanceof SyntaxError)) throw error;
    return ageMs > FOREIGN_MS;
  }
  return holderIsGone(owner, own.host) ?? ageMs > FOREIGN_MS;
}

/** Whether the process is gone; undefined when it runs on another machine, so that nothing is known of it. */
export function holderIsGone(holder: unknown, host: string): boolean | undefined {
  const owner = parseOwner(holder);
  if (owner === undefined || (holder as { readonly host?: unknown }).host !== host) return undefined;
  return !ownerIsAlive(owner);
}
