import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmdirSync } from 'node:fs';
import { chmod } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, it, vi } from 'vitest';
import { describeWith, type Need } from '../../support/requires.ts';
import { appendCommands, segmentBytes } from '../../support/segments.ts';
import { sinkGround } from '../sinks/ground.ts';
import { archiveGround } from './ground.ts';

function mountSmallDisk(): string | undefined {
  const folder = mkdtempSync(path.join(tmpdir(), 'archive-disk-'));
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

const ARRIVAL = { timeout: 30_000, interval: 50 };

describeWith([mountedDisk], 'an archive whose disk is full', () => {
  it('acknowledges nothing that it cannot keep, holds no command up, and has everything once there is space', async () => {
    const directory = disk ?? '';
    await chmod(directory, 0o700);
    await using ground = await archiveGround({ minFreeBytes: 0 }, directory);
    await using gateway = await sinkGround();
    const archive = await ground.start();
    const certificate = await ground.authority.issue('proxy-a');
    const following = await gateway.follow({
      archive: {
        type: 'remote',
        url: ground.url,
        caFile: ground.authority.caPath,
        certificateFile: certificate.certificatePath,
        keyFile: certificate.keyPath,
      },
    });
    const stream = gateway.recorder.stream('shop', 'db');
    for (let round = 0; round < 20; round++) {
      appendCommands(stream, 1000);
      await stream.sync();
    }
    await vi.waitFor(() => expect(gateway.messages.join('\n')).toContain('status 507, SPH009'), ARRIVAL);
    expect(archive.output()).toContain('SPH009');
    // Nothing but what the gateway wrote, as far as it came.
    const source = await segmentBytes(gateway.root);
    for (const [file, text] of await segmentBytes(path.join(directory, 'record'))) {
      expect(source.get(file)?.startsWith(text), file).toBe(true);
    }
    appendCommands(stream, 10);
    await stream.sync();
    execFileSync('mount', ['-o', 'remount,size=32m', directory]);
    await vi.waitFor(async () => {
      expect(await following.metric('sallyport_sink_lag_bytes', { sink: 'archive' })).toBe(0);
    }, ARRIVAL);
    await following.stop();
    expect(await segmentBytes(path.join(directory, 'record'))).toEqual(await segmentBytes(gateway.root));
    expect(await ground.findings()).toEqual([]);
    await archive.stop();
  }, 120_000);
});
