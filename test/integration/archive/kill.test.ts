import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { expect, it, vi } from 'vitest';
import { listSegments } from '../../../record/segment.ts';
import { type Program, startProgram } from '../../support/program.ts';
import { segmentBytes } from '../../support/segments.ts';
import { type ArchiveGround, archiveGround } from './ground.ts';

const turns = (program: Program): number => program.output().split('\n').length;

/** Lets a proxy write some more turns. */
const further = (program: Program, more: number): Promise<void> => {
  const before = turns(program);
  return vi.waitFor(() => expect(turns(program)).toBeGreaterThan(before + more), { timeout: 20_000, interval: 5 });
};

async function proxy(ground: ArchiveGround, name: string) {
  const certificate = await ground.authority.issue(name);
  const state = path.join(ground.folder, name);
  await mkdir(state, { recursive: true });
  return {
    record: path.join(state, 'record'),
    start: (...more: string[]): Program =>
      startProgram(process.execPath, [
        path.join(import.meta.dirname, 'proxy-process.ts'),
        ...[state, ground.url, ground.authority.caPath, certificate.certificatePath, certificate.keyPath, ...more],
      ]),
  };
}

async function archivedBytes(ground: ArchiveGround): Promise<number> {
  const segments = await segmentBytes(path.join(ground.directory, 'record'));
  return [...segments.values()].reduce((sum, text) => sum + text.length, 0);
}

it('two proxies and one archive, kill -9 of each again and again: the archive has every byte, once', async () => {
  await using ground = await archiveGround();
  const [first, second] = [await proxy(ground, 'proxy-a'), await proxy(ground, 'proxy-b')];
  let archive = await ground.start();
  let [a, b] = [first.start(), second.start()];
  for (let round = 0; round < 3; round++) {
    await further(a, 40 + round * 13);
    await a.stop('SIGKILL');
    await archive.stop('SIGKILL');
    // Down for a while: what is written meanwhile has to wait, and the proxies do not.
    await further(b, 60);
    a = first.start();
    await further(a, 10);
    archive = await ground.start();
    await b.stop('SIGKILL');
    b = second.start();
    await further(b, 30);
    // In the middle of an append, most of the time.
    const before = await archivedBytes(ground);
    await vi.waitFor(async () => expect(await archivedBytes(ground)).toBeGreaterThan(before), {
      timeout: 20_000,
      interval: 1,
    });
    await archive.stop('SIGKILL');
    archive = await ground.start();
  }
  await Promise.all([a.stop(), b.stop()]);
  await archive.stop();
  const sources = new Map([...(await segmentBytes(first.record)), ...(await segmentBytes(second.record))]);
  const archived = await segmentBytes(path.join(ground.directory, 'record'));
  expect([...archived.keys()].sort()).toEqual([...sources.keys()].sort());
  // The last ones of a process that was killed are repaired by its next start, and there was one for all but the last.
  for (const [file, text] of sources) expect(archived.get(file) === text, file).toBe(true);
  expect((await listSegments(path.join(ground.directory, 'record'))).length).toBeGreaterThan(10);
  expect(await ground.findings()).toEqual([]);
}, 120_000);

it('a proxy that stops for good while the archive is away waits for it', async () => {
  await using ground = await archiveGround();
  const gateway = await proxy(ground, 'proxy-a');
  const archive = await ground.start();
  const program = gateway.start('last-copy');
  await further(program, 20);
  await archive.stop('SIGKILL');
  await further(program, 20);
  const stopped = program.stop();
  await program.printed('stopping');
  const before = program.output().split('does not take').length;
  await vi.waitFor(() => expect(program.output().split('does not take').length).toBeGreaterThan(before));
  await ground.start();
  await stopped;
  const archived = await segmentBytes(path.join(ground.directory, 'record'));
  const sources = await segmentBytes(gateway.record);
  for (const [file, text] of sources) expect(archived.get(file) === text, file).toBe(true);
  expect(archived.size).toBe(sources.size);
}, 120_000);
