import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openStateFolder } from './state-folder.ts';

let folder: string;
let children: ChildProcess[];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sallyport-state-'));
  children = [];
});
afterEach(async () => {
  for (const child of children) child.kill('SIGKILL');
  await rm(folder, { recursive: true, force: true });
});

async function holder(path = folder): Promise<{ child: ChildProcess; said: string }> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'state-folder.fixture.ts'), path], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  const [said] = (await once(createInterface(child.stdout), 'line')) as [string];
  return { child, said };
}

describe('state folder', () => {
  test('is made for its owner alone, and announces whole files', async () => {
    const path = join(folder, 'deep', 'state');
    const state = await openStateFolder(path, 7);
    expect((await stat(path)).mode & 0o777).toBe(0o700);
    await state.announce('endpoints.json', '{}\n');
    expect(await readFile(join(path, 'run', 'endpoints.json'), 'utf8')).toBe('{}\n');
    expect(await readFile(join(path, 'run', 'pid'), 'utf8')).toBe('7\n');
    await state.release();
    expect(await readdir(join(path, 'run'))).toEqual([]);
  });

  test('a second one is refused, in the same process and in another', async () => {
    const state = await openStateFolder(folder, 42);
    await expect(openStateFolder(folder, 43)).rejects.toMatchObject({
      code: 'SPA006',
      message: expect.stringContaining('42'),
    });
    expect((await holder()).said).toBe('SPA006');
    await state.release();
    const again = await openStateFolder(folder, 44);
    await again.release();
  });

  test('the lock goes with a killed process, and what it left is no obstacle', async () => {
    const { child, said } = await holder();
    expect(said).toBe('held');
    await expect(openStateFolder(folder, 1)).rejects.toMatchObject({ code: 'SPA006' });
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
    expect(await readdir(join(folder, 'run'))).toContain('lock');
    const state = await openStateFolder(folder, 2);
    await expect(openStateFolder(folder, 3)).rejects.toMatchObject({ code: 'SPA006' });
    await state.release();
  });

  test('of many that start at once where one was killed, exactly one gets it', async () => {
    const { child } = await holder();
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
    const said = await Promise.all(Array.from({ length: 5 }, () => holder().then((each) => each.said)));
    expect(said.filter((each) => each === 'held')).toHaveLength(1);
    expect(said.filter((each) => each === 'SPA006')).toHaveLength(4);
  });

  test('a long path is locked as well', async () => {
    const path = join(folder, 'x'.repeat(60), 'y'.repeat(60));
    const state = await openStateFolder(path, 1);
    await expect(openStateFolder(path, 2)).rejects.toMatchObject({ code: 'SPA006' });
    await state.release();
  });

  test('a folder that others may write to, and one that is none, are refused', async () => {
    const open = join(folder, 'open');
    await mkdir(open);
    await chmod(open, 0o777);
    await expect(openStateFolder(open, 1)).rejects.toMatchObject({ code: 'SPA011' });
    await writeFile(join(folder, 'file'), '');
    await expect(openStateFolder(join(folder, 'file', 'state'), 1)).rejects.toMatchObject({ code: 'SPA011' });
  });
});
