import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmdirSync } from 'node:fs';
import { readFile, rm, statfs, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { createRecorder } from '../../../proxy/recording/writer.ts';
import { RecorderError } from '../../../record/errors.ts';
import { parseEvent } from '../../../record/format.ts';
import { listSegments } from '../../../record/segment.ts';
import { describeWith, type Need } from '../../support/requires.ts';

/** A file system of 1 MiB that is really full when it is. Needs root. */
function mountSmallDisk(): string | undefined {
  const folder = mkdtempSync(join(tmpdir(), 'record-disk-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m,mode=0700', 'tmpfs', folder], { stdio: 'pipe' });
    return folder;
  } catch {
    // Not root, or a sandbox that forbids it: the test says that it is skipped, and with CI=true it fails.
    rmdirSync(folder);
    return undefined;
  }
}

const disk = mountSmallDisk();
const mountedDisk: Need = () => (disk === undefined ? 'the right to mount a tmpfs (root)' : undefined);
afterAll(() => {
  if (disk === undefined) return;
  execFileSync('umount', [disk]);
  rmdirSync(disk);
});

function failureOf(action: () => void): RecorderError | undefined {
  try {
    action();
    return undefined;
  } catch (error) {
    if (error instanceof RecorderError) return error;
    throw error;
  }
}

describeWith([mountedDisk], 'a disk that is full', () => {
  const folder = disk ?? '';

  it('stops commands with a code, tears no line, and lets them run again by itself once there is space', async () => {
    const root = join(folder, 'record');
    const ballast = join(folder, 'ballast');
    const { bavail, bsize } = await statfs(folder);
    await writeFile(ballast, Buffer.alloc(Math.floor((bavail * bsize) / 2)));
    const resumed = Promise.withResolvers<void>();
    let failed = false;
    const recorder = createRecorder({
      root,
      pid: process.pid,
      onHealth: (failure) => {
        if (failure !== undefined) failed = true;
        else if (failed) resumed.resolve();
      },
    });
    const stream = recorder.stream('shop', 'db');
    let forwarded = 0;
    let failure: RecorderError | undefined;
    let i = 0;
    while (failure === undefined && i < 100_000) {
      stream.append('command.received', `"i":${i++},"text":"${'x'.repeat(137)}"`);
      failure = failureOf(() => stream.flush());
      if (failure === undefined) forwarded++;
    }
    expect(failure?.code).toBe('SPR001');
    expect(failure?.message).toContain('ENOSPC');
    expect(recorder.healthy).toBe(false);
    expect(await recorded(root)).toEqual(Array.from({ length: forwarded }, (_, index) => index));

    await rm(ballast);
    await resumed.promise;
    expect(recorder.healthy).toBe(true);
    stream.append('command.received', `"i":${i++}`);
    await stream.sync();
    await recorder.close();
    // The command that was refused is in the record too: it was asked for.
    expect(await recorded(root)).toEqual(Array.from({ length: i }, (_, index) => index));
    await rm(root, { recursive: true });
  });

  it('opens no stream, and does so once there is space', async () => {
    const root = join(folder, 'record');
    const ballast = join(folder, 'ballast');
    const { bavail, bsize } = await statfs(folder);
    await writeFile(ballast, Buffer.alloc(bavail * bsize));
    const resumed = Promise.withResolvers<void>();
    const recorder = createRecorder({
      root,
      pid: process.pid,
      onHealth: (failure) => failure === undefined && resumed.resolve(),
    });
    expect(failureOf(() => recorder.stream('shop', 'db'))?.code).toBe('SPR002');
    expect(recorder.healthy).toBe(false);
    await rm(ballast);
    await resumed.promise;
    recorder.stream('shop', 'db').flush();
    await recorder.close();
  });
});

/** The member `i` of all events that have one; fails on any damaged line. */
async function recorded(root: string): Promise<unknown[]> {
  const found: unknown[] = [];
  for (const segment of await listSegments(root)) {
    const lines = (await readFile(segment.path, 'utf8')).split('\n');
    expect(lines.pop()).toBe('');
    for (const line of lines) {
      const event = parseEvent(line);
      if (event === undefined) throw new Error(`damaged: ${line}`);
      if (event.i !== undefined) found.push(event.i);
    }
  }
  return found;
}
