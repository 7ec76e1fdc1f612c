import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { RecorderError } from '../../record/errors.ts';
import { parseEvent } from '../../record/format.ts';
import { recoverRecord } from '../../record/recover.ts';
import { listSegments, streamKey } from '../../record/segment.ts';
import { newSigner, verifyFolder } from '../../record/verify/real-record.fixture.ts';
import { fileSystem, type SegmentIo } from './segment-file.ts';
import { createRecorder } from './writer.ts';

const signer = newSigner();

/** What happens next: events of a turn, then how the disk behaves while they are flushed. */
const step = fc.record({
  events: fc.integer({ min: 0, max: 4 }),
  size: fc.integer({ min: 0, max: 300 }),
  /** Bytes that the disk takes before it is full; undefined: all. */
  room: fc.option(fc.integer({ min: 0, max: 800 }), { nil: undefined }),
  /** Bytes that one write takes at most. */
  atOnce: fc.constantFrom(1, 7, 100, 1_000_000),
  cutFails: fc.boolean(),
  syncFails: fc.boolean(),
  sync: fc.boolean(),
  wait: fc.constantFrom(0, 50, 150),
});

function systemError(code: string): Error {
  return Object.assign(new Error(code), { code });
}

it('whatever the disk does: whole lines, in order, once, and nothing missing that flush said was written', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 25 }), async (steps) => {
      const folder = await mkdtemp(join(tmpdir(), 'record-'));
      const disk = { room: Number.POSITIVE_INFINITY, atOnce: 1_000_000, cutFails: false, syncFails: false };
      const open = new Set<number>();
      const io: SegmentIo = {
        ...fileSystem,
        create(path) {
          const descriptor = fileSystem.create(path);
          open.add(descriptor);
          return descriptor;
        },
        close(descriptor) {
          fileSystem.close(descriptor);
          open.delete(descriptor);
        },
        write(descriptor, bytes, offset, length) {
          const taken = Math.min(length, disk.atOnce, disk.room);
          if (taken === 0) throw systemError('ENOSPC');
          disk.room -= taken;
          return fileSystem.write(descriptor, bytes, offset, taken);
        },
        truncate(descriptor, length) {
          if (disk.cutFails) throw systemError('EIO');
          fileSystem.truncate(descriptor, length);
        },
        async syncData(descriptor) {
          if (disk.syncFails) throw systemError('EIO');
          await fileSystem.syncData(descriptor);
        },
      };
      let now = 0;
      const clock = { wall: () => 1_767_225_600_000 + now, monotonic: () => now };
      const recorder = createRecorder({
        root: join(folder, 'record'),
        pid: process.pid,
        io,
        clock,
        segmentBytes: 1_200,
        signer,
        // No timer may get between the steps.
        syncDelayMs: 1_000_000,
      });
      const stream = recorder.stream('shop', 'db');
      let i = 0;
      let promised = 0;
      try {
        for (const { events, size, room, sync, wait, ...faults } of steps) {
          Object.assign(disk, faults, { room: room ?? Number.POSITIVE_INFINITY });
          now += wait;
          for (let count = 0; count < events; count++) {
            stream.append('command.received', `"i":${i++},"text":"${'ä'.repeat(size)}"`);
          }
          try {
            if (sync) await stream.sync();
            else stream.flush();
            promised = i;
          } catch (error) {
            if (!(error instanceof RecorderError)) throw error;
          }
          const { numbers } = await recorded(folder);
          expect(numbers.length).toBeGreaterThanOrEqual(promised);
          expect(numbers).toEqual(Array.from(numbers, (_, index) => index));
        }
        // Space is back: everything that was asked for comes into the record.
        Object.assign(disk, { room: Number.POSITIVE_INFINITY, cutFails: false, syncFails: false });
        now += 1_000;
        stream.flush();
        await stream.sync();
        expect(recorder.healthy).toBe(true);
      } finally {
        Object.assign(disk, { room: Number.POSITIVE_INFINITY, cutFails: false, syncFails: false });
        now += 1_000;
        await recorder.close();
      }
      expect(open.size).toBe(0);
      await recoverRecord({ root: join(folder, 'record'), signer, isAlive: () => false });
      const { numbers, damaged } = await recorded(folder);
      expect(numbers).toEqual(Array.from({ length: i }, (_, index) => index));
      expect(damaged).toBe(0);
      const [report] = await verifyFolder(folder, { anchors: '', signer }, { anchors: false });
      expect(report).toMatchObject({ state: 'closed', unsignedLines: 0 });
      await rm(folder, { recursive: true });
    }),
    { numRuns: 150 },
  );
});

/**
 * The member `i` of all whole events, and how many lines are none. A segment that was given up may end with a torn line: it is no event, and
 * nothing is done to it afterwards.
 */
async function recorded(folder: string): Promise<{ readonly numbers: unknown[]; readonly damaged: number }> {
  const numbers: unknown[] = [];
  let damaged = 0;
  const segments = await listSegments(join(folder, 'record'));
  for (const [index, segment] of segments.entries()) {
    const next = segments[index + 1];
    const last = next === undefined || streamKey(next) !== streamKey(segment);
    const lines = (await readFile(segment.path, 'utf8')).split('\n');
    if (lines.pop() !== '' && last) damaged++;
    for (const line of lines) {
      const event = parseEvent(line);
      if (event === undefined) damaged++;
      else if (event.i !== undefined) numbers.push(event.i);
    }
  }
  return { numbers, damaged };
}
