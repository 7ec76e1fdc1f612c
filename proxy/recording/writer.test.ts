import { mkdtemp, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { firstLink, linkOf, originOf } from '../../record/chain.ts';
import { RecorderError } from '../../record/errors.ts';
import { eventHead, parseEvent, type RecordedEvent } from '../../record/format.ts';
import { openNote } from '../../record/note.ts';
import type { Checkpoint, CommandStream } from '../../record/port.ts';
import { newSigner } from '../../record/verify/real-record.fixture.ts';
import { verifyRecord } from '../../record/verify/verify.ts';
import { fileSystem, type SegmentIo } from './segment-file.ts';
import { createRecorder, type Recorder, type RecorderOptions } from './writer.ts';

let root = '';
let recorder: Recorder | undefined;
beforeEach(async () => {
  root = join(await mkdtemp(join(tmpdir(), 'record-')), 'record');
});
afterEach(async () => {
  await recorder?.close().catch((error: unknown) => {
    // Some tests leave the disk full on purpose.
    if (!(error instanceof RecorderError)) throw error;
  });
  recorder = undefined;
  await rm(join(root, '..'), { recursive: true });
});

function open(options: Partial<RecorderOptions> = {}): CommandStream {
  recorder = createRecorder({ root, pid: process.pid, ...options });
  return recorder.stream('shop', 'db');
}

async function files(): Promise<string[]> {
  return (await readdir(join(root, 'shop', 'db'))).sort().map((file) => join(root, 'shop', 'db', file));
}

async function events(): Promise<RecordedEvent[]> {
  const found: RecordedEvent[] = [];
  for (const file of await files()) {
    const lines = (await readFile(file, 'utf8')).split('\n');
    expect(lines.pop()).toBe('');
    for (const line of lines) {
      const event = parseEvent(line);
      if (event === undefined) throw new Error(`damaged line in ${file}: ${line}`);
      found.push(event);
    }
  }
  return found;
}

/** Numbers of all events but the heads of segments, which take none. */
const numbers = (list: readonly RecordedEvent[]) => list.filter(({ e }) => e !== 'segment.start').map(({ n }) => n);
const upTo = (last: number) => Array.from({ length: last }, (_, index) => index + 1);

function systemError(code: string): Error {
  return Object.assign(new Error(code), { code });
}

function thrownBy(action: () => void): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

/** A clock that tests move, so that no test waits for a retry. */
function manualClock() {
  let now = 1_000;
  return {
    wall: () => 1_767_225_600_000 + now,
    monotonic: () => now,
    advance: (ms: number) => {
      now += ms;
    },
  };
}

/** A disk with so many bytes left; a write may be cut short anywhere. */
function smallDisk(room: number) {
  const disk = { room, truncateFails: false, syncFails: undefined as string | undefined, syncs: 0 };
  const io: SegmentIo = {
    ...fileSystem,
    write(descriptor, bytes, offset, length) {
      const taken = Math.min(length, disk.room);
      if (taken === 0) throw systemError('ENOSPC');
      disk.room -= taken;
      return fileSystem.write(descriptor, bytes, offset, taken);
    },
    truncate(descriptor, length) {
      if (disk.truncateFails) throw systemError('EIO');
      fileSystem.truncate(descriptor, length);
    },
    async syncData(descriptor) {
      disk.syncs++;
      if (disk.syncFails !== undefined) throw systemError(disk.syncFails);
      await fileSystem.syncData(descriptor);
    },
  };
  return { disk, io };
}

describe('writing', () => {
  it('writes head, start and events with sequence, time and type; nobody else may read them', async () => {
    const stream = open();
    expect(stream.append('command.received', '"session":"s1","seq":1')).toBe(2);
    stream.flush();
    const [head, start, received] = await events();
    expect(head).toMatchObject({ v: 1, n: 0, e: 'segment.start', format: 1, segment: 1, previous: null, sessions: [] });
    expect(start).toMatchObject({ v: 1, n: 1, e: 'recorder.start' });
    expect(received).toMatchObject({ v: 1, n: 2, e: 'command.received', session: 's1', seq: 1 });
    expect(received?.t).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
    const [file = ''] = await files();
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect((await stat(join(root, 'shop', 'db'))).mode & 0o777).toBe(0o700);
  });

  it('hands a turn over in one write', () => {
    let writes = 0;
    const io: SegmentIo = {
      ...fileSystem,
      write(...args) {
        writes++;
        return fileSystem.write(...args);
      },
    };
    const stream = open({ io });
    writes = 0;
    for (let i = 0; i < 100; i++) stream.append('command.received', `"seq":${i}`);
    stream.flush();
    expect(writes).toBe(1);
    stream.flush();
    expect(writes).toBe(1);
  });

  it('keeps a burst of 20,000 events whole and in order over several segments', async () => {
    const stream = open({ segmentBytes: 500_000 });
    for (let i = 0; i < 20_000; i++) {
      stream.append('command.received', `"session":"s${i % 8}","i":${i},"text":"SELECT 'ä😀', ${i}"`);
      if (i % 13 === 0) stream.flush();
    }
    await recorder?.close();
    const all = await events();
    expect((await files()).length).toBeGreaterThan(3);
    expect(all.flatMap(({ i }) => (i === undefined ? [] : [i]))).toEqual(Array.from({ length: 20_000 }, (_, i) => i));
    const counted = numbers(all);
    expect(counted).toEqual(upTo(counted.length));
  });

  it('writes a turn that is larger than its buffers', async () => {
    const stream = open();
    for (let i = 0; i < 40; i++) stream.append('command.received', `"i":${i},"text":"${'é'.repeat(100_000)}"`);
    stream.flush();
    expect((await events()).filter(({ e }) => e === 'command.received')).toHaveLength(40);
  });

  it('names the running sessions and the segment before at the head of the next one', async () => {
    const stream = open({ segmentBytes: 1 });
    stream.append('session.start', '"session":"a"');
    stream.append('session.start', '"session":"b"');
    stream.append('session.end', '"session":"a"');
    stream.flush();
    const head = (await events()).filter(({ e }) => e === 'segment.start').at(-1);
    expect(head?.sessions).toEqual(['b']);
    expect(head?.previous).toMatch(/-\d{6}\.jsonl$/);
  });

  it('begins a new segment with each day', async () => {
    const clock = manualClock();
    const stream = open({ clock });
    clock.advance(86_400_000);
    stream.append('command.received', '"seq":1');
    stream.flush();
    expect(await files()).toHaveLength(2);
  });

  it('refuses names that lead out of the folder', () => {
    recorder = createRecorder({ root, pid: process.pid });
    for (const name of ['..', '../x', 'a/b', '', '.', 'A', 'a\u0000']) {
      expect(thrownBy(() => recorder?.stream('shop', name))).toMatchObject({ code: 'SPR006' });
    }
  });

  it('keeps two recorders of one connection apart', async () => {
    const stream = open();
    const second = createRecorder({ root, pid: process.pid });
    second.stream('shop', 'db').append('command.received', '"who":2');
    stream.append('command.received', '"who":1');
    await second.close();
    stream.flush();
    expect(await files()).toHaveLength(2);
    expect(numbers(await events()).filter((n) => n === 1)).toHaveLength(2);
  });

  it('appends what is broadcast to every stream', async () => {
    open();
    recorder?.stream('shop', 'other');
    recorder?.broadcast('bundle.changed', '"hash":"sha256:1"');
    await recorder?.close();
    expect((await events()).map(({ e }) => e)).toContain('bundle.changed');
  });

  it('ends sessions that run when it is closed', async () => {
    const stream = open();
    stream.append('session.start', '"session":"a"');
    stream.flush();
    await recorder?.close();
    const all = await events();
    expect(all.slice(-2)).toMatchObject([
      { e: 'session.interrupted', session: 'a', reason: 'the gateway stopped' },
      { e: 'recorder.stop', sessions: ['a'] },
    ]);
  });

  it('ends with recorder.stop, in a full segment too, and refuses what comes later', async () => {
    const stream = open({ segmentBytes: 1 });
    await recorder?.close();
    expect((await events()).at(-1)?.e).toBe('recorder.stop');
    stream.append('command.received', '"seq":1');
    expect(thrownBy(() => stream.flush())).toMatchObject({ code: 'SPR005' });
  });
});

describe('the chain', () => {
  const signer = newSigner();

  it('links every line to the bytes of the one before it, over segments, whatever characters they hold', async () => {
    const stream = open({ segmentBytes: 1_000, signer });
    let link = firstLink(
      originOf({ namespace: 'shop', name: 'db', process: (await files())[0]?.split('-').at(-2) ?? '' }),
    );
    // A lone surrogate is no character: what stands in the file is what counts.
    for (const text of ['a', 'ä', '😀', '\ud800', '\udc00', 'x'.repeat(700)]) {
      stream.append('command.received', `"text":"${text}"`);
      stream.flush();
    }
    await recorder?.close();
    expect((await files()).length).toBeGreaterThan(1);
    for (const file of await files()) {
      const bytes = await readFile(file);
      for (let start = 0, end = 0; start < bytes.length; start = end) {
        end = bytes.indexOf(0x0a, start) + 1;
        const line = bytes.subarray(start, end);
        expect(parseEvent(line.toString())?.prev).toBe(link);
        link = linkOf(line);
      }
    }
  });

  it('takes events in pieces among others, also where a line is signed, a note is due, and what was begun is not ended', async () => {
    const signer = newSigner();
    const { disk, io } = smallDisk(Number.POSITIVE_INFINITY);
    const clock = manualClock();
    const stream = open({ signer, io, clock });
    const head = eventHead('command.executed', '"session":"s1","seq":');
    const piece = (seq: number) => {
      const line = stream.begin(head);
      line.integer(seq);
      line.text(`,"text":"ä😀${'x'.repeat(seq % 700)}"`);
      return stream.end();
    };
    expect(piece(1)).toBe(2);
    expect(stream.append('command.received', '"session":"s1","seq":2,"text":"\ud800"')).toBe(3);
    stream.begin(head).text('never ended');
    expect(piece(3)).toBe(4);
    stream.flush();
    for (let seq = 4; seq < 400; seq++) piece(seq);
    disk.room = 20_000;
    expect(thrownBy(() => stream.flush())).toBeInstanceOf(RecorderError);
    disk.room = Number.POSITIVE_INFINITY;
    piece(400);
    clock.advance(1_000);
    piece(401);
    await recorder?.close();
    const list = await events();
    const seen = list.filter(({ e }) => e === 'command.executed').map(({ seq }) => seq);
    expect(seen).toEqual(upTo(401).filter((seq) => seq !== 2));
    expect(numbers(list)).toEqual(upTo(list.length - 1));
    expect(list.some(({ e }) => e === 'recorder.resumed')).toBe(true);
    for await (const report of verifyRecord({ paths: [root], verifiers: [signer] }))
      expect(report.finding).toBeUndefined();
  });

  it('signs in intervals in which something was written, at the end of a segment, and at its own', async () => {
    const stream = open({ segmentBytes: 4_000, signer, checkpointMs: 1, syncDelayMs: 1 });
    const seen: Checkpoint[] = [];
    for (let count = 1; count <= 3; count++) {
      const next = Promise.withResolvers<void>();
      const stop = recorder?.onCheckpoint((checkpoint) => {
        seen.push(checkpoint);
        next.resolve();
      });
      stream.append('command.received', `"i":${count}`);
      stream.flush();
      await next.promise;
      stop?.();
    }
    recorder?.onCheckpoint((checkpoint) => seen.push(checkpoint));
    stream.append('command.received', `"text":"${'x'.repeat(4_000)}"`);
    stream.flush();
    await recorder?.close();
    const signed = (await events()).filter(({ note }) => note !== undefined);
    expect(signed.map(({ e }) => e)).toEqual([
      ...Array.from({ length: signed.length - 2 }, () => 'recorder.checkpoint'),
      'segment.end',
      'recorder.stop',
    ]);
    expect(signed.length).toBeGreaterThanOrEqual(5);
    expect(seen.map(({ n, note }) => [n, note])).toEqual(signed.map(({ n, note }) => [n, note]));
    for (const { note } of seen) expect(openNote(note, [signer]).result).toBe('valid');
    // Nothing was written behind a checkpoint but checkpoints: there are no two in a row.
    const all = (await events()).map(({ e }) => e);
    expect(all.some((e, index) => e === 'recorder.checkpoint' && all[index + 1] === e)).toBe(false);
  });

  it('tells of a checkpoint only when it is on disk', async () => {
    const { disk, io } = smallDisk(Number.POSITIVE_INFINITY);
    const clock = manualClock();
    const stream = open({ io, clock, signer, segmentBytes: 700 });
    const seen: Checkpoint[] = [];
    recorder?.onCheckpoint((checkpoint) => seen.push(checkpoint));
    disk.syncFails = 'EIO';
    stream.append('command.received', `"text":"${'x'.repeat(700)}"`);
    await expect(stream.sync()).rejects.toMatchObject({ code: 'SPR003' });
    expect((await events()).filter(({ note }) => note !== undefined)).toHaveLength(1);
    expect(seen).toEqual([]);
    disk.syncFails = undefined;
    clock.advance(200);
    await recorder?.close();
    expect(seen.map(({ n }) => n)).toEqual([(await events()).at(-1)?.n]);
  });
});

describe('a disk that is full', () => {
  it('refuses at every byte of a turn, tears no line, and loses nothing once there is space', async () => {
    const base = join(root, '..');
    for (let room = 0; room < 260; room += 7) {
      const clock = manualClock();
      const { disk, io } = smallDisk(Number.POSITIVE_INFINITY);
      root = join(base, String(room));
      const own = createRecorder({ root, pid: process.pid, io, clock });
      const stream = own.stream('shop', 'db');
      disk.room = room;
      for (let i = 0; i < 3; i++) stream.append('command.received', `"i":${i},"text":"ä"`);
      const error = thrownBy(() => stream.flush());
      expect(error).toMatchObject({ code: 'SPR001' });
      expect(String(error)).toContain('ENOSPC');
      expect(own.healthy).toBe(false);
      await events();
      disk.room = Number.POSITIVE_INFINITY;
      clock.advance(200);
      stream.append('command.received', '"i":3');
      stream.flush();
      expect(own.healthy).toBe(true);
      const all = await events();
      expect(all.flatMap(({ i }) => (i === undefined ? [] : [i]))).toEqual([0, 1, 2, 3]);
      expect(all.at(-1)).toMatchObject({ e: 'recorder.resumed', reason: 'SPR001', dropped: 0 });
      expect(numbers(all)).toEqual(upTo(6));
      await own.close();
    }
    root = join(base, 'record');
  });

  it('keeps refusing while a torn line cannot be cut off', async () => {
    const clock = manualClock();
    const { disk, io } = smallDisk(Number.POSITIVE_INFINITY);
    const stream = open({ io, clock });
    disk.room = 10;
    disk.truncateFails = true;
    stream.append('command.received', '"i":0');
    expect(thrownBy(() => stream.flush())).toMatchObject({ code: 'SPR001' });
    disk.room = Number.POSITIVE_INFINITY;
    clock.advance(200);
    expect(thrownBy(() => stream.flush())).toMatchObject({ code: 'SPR001' });
    disk.truncateFails = false;
    clock.advance(200);
    stream.flush();
    expect((await events()).map(({ e }) => e)).toEqual([
      'segment.start',
      'recorder.start',
      'command.received',
      'recorder.resumed',
    ]);
  });

  it('asks a full disk ten times a second at most', () => {
    const clock = manualClock();
    let writes = 0;
    const stream = open({
      clock,
      io: {
        ...fileSystem,
        write(...args) {
          if (++writes > 2) throw systemError('ENOSPC');
          return fileSystem.write(...args);
        },
      },
    });
    writes = 2;
    for (let i = 0; i < 50; i++) {
      stream.append('command.received', '"i":0');
      expect(thrownBy(() => stream.flush())).toMatchObject({ code: 'SPR001' });
    }
    expect(writes).toBe(3);
  });

  it('bounds what it keeps in memory, counts the rest, and refuses the commands of it', async () => {
    const clock = manualClock();
    const { disk, io } = smallDisk(Number.POSITIVE_INFINITY);
    const stream = open({ io, clock });
    disk.room = 0;
    const text = 'x'.repeat(1_000_000);
    for (let i = 0; i < 20; i++) stream.append('command.received', `"i":${i},"text":"${text}"`);
    disk.room = Number.POSITIVE_INFINITY;
    clock.advance(200);
    expect(thrownBy(() => stream.flush())).toMatchObject({ code: 'SPR010' });
    stream.flush();
    const all = await events();
    const kept = all.filter(({ e }) => e === 'command.received').length;
    expect(kept).toBeLessThan(12);
    expect(all.find(({ e }) => e === 'recorder.resumed')).toMatchObject({ dropped: 20 - kept, kept });
  });

  it('comes back by itself', async () => {
    const { disk, io } = smallDisk(Number.POSITIVE_INFINITY);
    const healthy = Promise.withResolvers<void>();
    let failed = false;
    const stream = open({
      io,
      onHealth: (failure) => {
        if (failure === undefined && failed) healthy.resolve();
        failed = true;
      },
    });
    disk.room = 0;
    stream.append('command.received', '"i":0');
    expect(thrownBy(() => stream.flush())).toBeInstanceOf(RecorderError);
    disk.room = Number.POSITIVE_INFINITY;
    await healthy.promise;
    expect(recorder?.healthy).toBe(true);
  });

  it('does not open a stream, leaves no file behind, and opens it later', async () => {
    const clock = manualClock();
    const { disk, io } = smallDisk(20);
    recorder = createRecorder({ root, pid: process.pid, io, clock });
    expect(thrownBy(() => recorder?.stream('shop', 'db'))).toMatchObject({ code: 'SPR002' });
    expect(thrownBy(() => recorder?.stream('shop', 'db'))).toMatchObject({ code: 'SPR002' });
    expect(recorder.healthy).toBe(false);
    expect(await files()).toEqual([]);
    disk.room = Number.POSITIVE_INFINITY;
    clock.advance(200);
    recorder.stream('shop', 'db').flush();
    expect(recorder.healthy).toBe(true);
  });

  it('says nothing to an agent about paths', () => {
    const { disk, io } = smallDisk(Number.POSITIVE_INFINITY);
    const stream = open({ io });
    disk.room = 0;
    stream.append('command.received', '"i":0');
    const error = thrownBy(() => stream.flush());
    if (!(error instanceof RecorderError)) throw error;
    expect(error.message).toBe('the record of shop/db cannot be written (ENOSPC), so no command is run');
    expect(error.hint).not.toContain(root);
    expect(error.path).toContain(root);
  });
});

describe('durability', () => {
  it('shares one fdatasync among all who wait', async () => {
    const { disk, io } = smallDisk(Number.POSITIVE_INFINITY);
    const stream = open({ io });
    disk.syncs = 0;
    const waits: Promise<void>[] = [];
    for (let i = 0; i < 100; i++) {
      stream.append('command.received', `"i":${i}`);
      waits.push(stream.sync());
    }
    await Promise.all(waits);
    expect(disk.syncs).toBe(2);
    await stream.sync();
    expect(disk.syncs).toBe(2);
  });

  it('serves everybody who asks again as soon as served', async () => {
    const stream = open();
    let served = 0;
    async function client(): Promise<void> {
      for (let i = 0; i < 50; i++) {
        stream.append('command.received', '"i":0');
        await stream.sync();
        served++;
      }
    }
    await Promise.all(Array.from({ length: 16 }, client));
    expect(served).toBe(800);
  });

  it('makes durable by itself what nobody waits for', async () => {
    const synced = Promise.withResolvers<void>();
    const stream = open({
      syncDelayMs: 5,
      io: {
        ...fileSystem,
        async syncData(descriptor) {
          await fileSystem.syncData(descriptor);
          synced.resolve();
        },
      },
    });
    stream.append('command.received', '"i":0');
    await synced.promise;
    expect((await events()).at(-1)).toMatchObject({ i: 0 });
  });

  it('tells everybody who waits that an fdatasync failed, and goes on in a new segment', async () => {
    const clock = manualClock();
    const { disk, io } = smallDisk(Number.POSITIVE_INFINITY);
    const stream = open({ io, clock });
    disk.syncFails = 'EIO';
    stream.append('command.received', '"i":0');
    const first = stream.sync();
    stream.append('command.received', '"i":1');
    const second = stream.sync();
    await expect(first).rejects.toMatchObject({ code: 'SPR003' });
    await expect(second).rejects.toMatchObject({ code: 'SPR003' });
    expect(recorder?.healthy).toBe(false);
    disk.syncFails = undefined;
    clock.advance(200);
    stream.append('command.received', '"i":2');
    await stream.sync();
    expect(recorder?.healthy).toBe(true);
    expect(await files()).toHaveLength(2);
    expect((await events()).at(-1)).toMatchObject({ e: 'recorder.resumed', reason: 'SPR003' });
  });

  it('syncs a segment that was rotated away while somebody waits', async () => {
    const { disk, io } = smallDisk(Number.POSITIVE_INFINITY);
    const stream = open({ io, segmentBytes: 300 });
    disk.syncs = 0;
    stream.append('command.received', `"text":"${'x'.repeat(400)}"`);
    await stream.sync();
    expect(disk.syncs).toBeGreaterThanOrEqual(2);
  });

  it('notices that its folder was removed, refuses, and begins anew', async () => {
    const clock = manualClock();
    const stream = open({ clock });
    await rename(root, `${root}.moved`);
    await rm(`${root}.moved`, { recursive: true });
    clock.advance(200);
    stream.append('command.received', '"i":0');
    expect(thrownBy(() => stream.flush())).toMatchObject({ code: 'SPR004' });
    clock.advance(200);
    stream.flush();
    expect((await events()).map(({ e }) => e)).toEqual(['segment.start', 'command.received', 'recorder.resumed']);
    stream.append('command.received', '"i":1');
    await stream.sync();
    expect(recorder?.healthy).toBe(true);
    expect(await files()).toHaveLength(1);
  });

  it('does not call durable what was written to a removed file', async () => {
    const stream = open();
    await rm(root, { recursive: true });
    stream.append('command.received', '"i":0');
    await expect(stream.sync()).rejects.toBeInstanceOf(RecorderError);
  });
});
