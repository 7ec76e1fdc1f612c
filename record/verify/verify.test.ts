import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { recordRemovals } from '../../proxy/recording/ledger.ts';
import { createRecorder } from '../../proxy/recording/writer.ts';
import { createAnchors } from '../anchors.ts';
import { createChain, originOf, type PendingLine } from '../chain.ts';
import { eventBody } from '../format.ts';
import { encodeVerifier } from '../note.ts';
import { recoverRecord } from '../recover.ts';
import { type RetentionOptions, removeExpiredSegments } from '../retention.ts';
import { listSegments, segmentFileName } from '../segment.ts';
import { newSigner, type RealRecord, realRecord, verifyChanged, verifyFolder } from './real-record.fixture.ts';
import type { StreamReport } from './stream.ts';
import { verifyRecord } from './verify.ts';

async function verify(options: Parameters<typeof verifyRecord>[0]): Promise<StreamReport[]> {
  const reports: StreamReport[] = [];
  for await (const report of verifyRecord(options)) reports.push(report);
  return reports;
}

const signer = newSigner();
const stream = { namespace: 'shop', name: 'db', process: '6e750857035f' };
const TIME = '2026-03-01T10:11:12.123456Z';

/** The bytes of a segment as whoever has the key can make them. Heads take no number. */
function segment(
  events: readonly (readonly [event: Parameters<typeof eventBody>[2], members: string, skipped?: number])[],
  { signed = true, process = stream.process } = {},
): Buffer {
  const head =
    `"format":1,"connection":{"namespace":"shop","name":"db"},"segment":1,"previous":null,` +
    `"owner":{"pid":1,"process":"${process}"},"sessions":[]`;
  const lines: PendingLine[] = [eventBody(0, TIME, 'segment.start', head)];
  let n = 0;
  for (const [event, members, skipped = 0] of events) {
    n += 1 + skipped;
    const body = eventBody(n, TIME, event, members);
    lines.push(event === 'recorder.checkpoint' || event === 'recorder.stop' ? { n, time: TIME, body } : body);
  }
  return createChain(originOf({ ...stream, process }), signed ? signer : undefined).link(lines);
}

let state = '';
const file = segmentFileName(TIME, 1, stream.process, 1);
beforeEach(async () => {
  state = await mkdtemp(join(tmpdir(), 'verify-'));
});
afterEach(() => rm(state, { recursive: true }));

async function place(content: Buffer, name = file): Promise<string> {
  const path = join(state, 'record', 'shop', 'db', name);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, content);
  return path;
}

const begin = ['recorder.start', '"owner":{}'] as const;
const stop = ['recorder.stop', '"sessions":[]'] as const;

describe('sessions', () => {
  it('names the session that has no end although its stream has', async () => {
    const events = [begin, ['session.start', '"session":"a"'], ['session.start', '"session":"b"']] as const;
    await place(segment([...events, ['session.end', '"session":"a"'], stop]));
    const [report] = await verify({ paths: [state], verifiers: [signer] });
    expect(report?.finding).toMatchObject({ problem: 'session-without-end', line: 4, n: 3, detail: 'b' });
  });

  it('says nothing of one in a stream that is open, or that lost events and said so', async () => {
    await place(segment([begin, ['session.start', '"session":"a"'], ['recorder.checkpoint', '']]));
    const [open] = await verify({ paths: [state], verifiers: [signer] });
    expect(open).toMatchObject({ state: 'open', unsignedLines: 0, lastN: 3 });
    for (const [dropped, skipped, problem] of [
      [0, 0, 'session-without-end'],
      [2, 2, undefined],
      [2, 3, 'out-of-place'],
    ] as const) {
      const resumed = ['recorder.resumed', `"dropped":${dropped}`, skipped] as const;
      await place(segment([begin, ['session.start', '"session":"a"'], resumed, stop]));
      const [report] = await verify({ paths: [state], verifiers: [signer] });
      expect(report?.finding?.problem).toBe(problem);
    }
  });
});

describe('signatures', () => {
  it('wants one at the end of a stream, and by a key that was given', async () => {
    await place(segment([begin, stop], { signed: false }));
    const [unsigned] = await verify({ paths: [state], verifiers: [signer] });
    expect(unsigned?.finding).toMatchObject({ problem: 'unsigned', line: 3 });
    const [unchecked] = await verify({ paths: [state], verifiers: [] });
    expect(unchecked?.state).toBe('closed');
    await place(segment([begin, ['recorder.checkpoint', ''], ['recorder.heartbeat', ''], stop]));
    const [other] = await verify({ paths: [state], verifiers: [newSigner()] });
    // The first one, although only the last one is checked where all is well.
    expect(other?.finding).toMatchObject({ problem: 'unknown-key', line: 3 });
    const [both] = await verify({ paths: [state], verifiers: [newSigner(), signer] });
    expect(both?.state).toBe('closed');
  });

  it('names the first wrong one when the chain was made anew without the key', async () => {
    const forger = newSigner();
    const lines: PendingLine[] = segment([begin, ['recorder.checkpoint', ''], ['recorder.checkpoint', ''], stop])
      .toString()
      .trimEnd()
      .split('\n')
      .map((line, index) => {
        const body = line
          .replace(/(,"note":".*")?,"prev":"[^"]*"\}$/, '')
          .replace('recorder.start","', 'recorder.start","x":1,"');
        return index < 2 ? body : { n: index, time: TIME, body };
      });
    // Under the name and id of the real key: only the signature itself gives it away.
    const chain = createChain(originOf(stream), { ...forger, name: signer.name, id: signer.id });
    await place(chain.link(lines));
    const [report] = await verify({ paths: [state], verifiers: [signer] });
    expect(report?.finding).toMatchObject({ problem: 'signature', line: 3, n: 2 });
  });
});

describe('what whoever holds the key can do', () => {
  it('is found where something else was anchored, and only there', async () => {
    const anchors = join(state, 'anchors');
    const anchor = createAnchors(anchors, (error) => {
      throw error;
    });
    const events = (text: string) =>
      [begin, ['command.received', `"text":"${text}"`], ['recorder.checkpoint', ''], stop] as const;
    const path = await place(segment(events('DROP TABLE orders')));
    const note = /"n":3.*"note":(".*?[^\\]"),"prev"/.exec(await readFile(path, 'utf8'))?.[1] ?? '""';
    anchor({ ...stream, n: 3, time: TIME, note: JSON.parse(note) });
    const [genuine] = await verify({ paths: [state], verifiers: [signer], anchors });
    expect(genuine).toMatchObject({ state: 'closed', anchors: 1 });
    await place(segment(events('SELECT 1')));
    const [trusted] = await verify({ paths: [state], verifiers: [signer] });
    expect(trusted?.state).toBe('closed');
    const [rewritten] = await verify({ paths: [state], verifiers: [signer], anchors });
    expect(rewritten?.finding).toMatchObject({ problem: 'rewritten', line: 4, n: 3 });
  });

  it('anchors that others signed, or that are torn, are counted and not believed', async () => {
    const anchors = join(state, 'anchors');
    const path = await place(segment([begin, ['recorder.checkpoint', ''], stop]));
    await mkdir(join(anchors, 'shop', 'db'), { recursive: true });
    const forged = createChain(originOf(stream), newSigner());
    forged.link([{ n: 2, time: TIME, body: '{' }]);
    const [{ note } = { note: '' }] = forged.written(1);
    const kept = join(anchors, 'shop', 'db', `${stream.process}.jsonl`);
    await writeFile(kept, `${JSON.stringify({ n: 2, note })}\n{"n":3,"no`);
    createAnchors(anchors, (error) => {
      throw error;
    })({
      ...stream,
      n: 3,
      time: TIME,
      note: JSON.parse(/"n":3.*"note":(".*?[^\\]"),"prev"/.exec(await readFile(path, 'utf8'))?.[1] ?? '""'),
    });
    const [report] = await verify({ paths: [state], verifiers: [signer], anchors });
    expect(report).toMatchObject({ state: 'closed', anchors: 1, unusableAnchors: 2 });
  });
});

describe('a record that is being written', () => {
  it('is clean at any time, and says what is not signed yet', async () => {
    const root = join(state, 'record');
    const recorder = createRecorder({ root, pid: process.pid, signer, segmentBytes: 3_000 });
    const written = recorder.stream('shop', 'db');
    for (let seq = 1; seq <= 60; seq++) {
      written.append('command.received', `"session":"a","seq":${seq},"text":"${'x'.repeat(seq * 3)}"`);
      written.flush();
      const [report] = await verify({ paths: [state], verifiers: [signer] });
      expect(report).toMatchObject({ state: 'open' });
      expect(report?.finding).toBeUndefined();
    }
    await recorder.close();
    const [closed] = await verify({ paths: [state], verifiers: [signer] });
    expect(closed).toMatchObject({ state: 'closed', unsignedLines: 0 });
  });

  it('takes half a line at its end for one that is being written, and nothing else', async () => {
    const content = segment([begin, ['recorder.checkpoint', '']]);
    const half = '{"v":1,"n":3,"t":"2026-03-01T1';
    for (const torn of [half, half.slice(0, 3), '\0\0\0\0', `${half}\0\0`]) {
      await place(Buffer.concat([content, Buffer.from(torn)]));
      const [report] = await verify({ paths: [state], verifiers: [signer] });
      expect(report?.state).toBe('open');
      expect(report?.remarks).toHaveLength(1);
    }
    await place(Buffer.concat([content, Buffer.from('something')]));
    const [report] = await verify({ paths: [state], verifiers: [signer] });
    expect(report?.finding).toMatchObject({ problem: 'not-a-line', line: 4 });
  });
});

describe('parts of a record', () => {
  let record: RealRecord;
  beforeAll(async () => {
    record = await realRecord();
  });
  afterAll(() => rm(record.state, { recursive: true }));

  it('single segments, wherever they lie: what was before them was not given, a gap between them is one', async () => {
    const long = (await listSegments(record.root, { namespace: 'shop', name: 'db' })).filter(
      ({ number }) => number > 3,
    );
    for (const [index, { path, file: name }] of long.entries()) {
      if (index !== 1) await writeFile(join(state, name), await readFile(path));
    }
    const paths = long.map(({ file: name }) => join(state, name));
    const [first = '', , third = ''] = paths;
    const [gap] = await verify({ paths: [first, third], verifiers: [record.signer] });
    expect(gap?.finding).toMatchObject({ problem: 'segment-missing', file: third, line: 1 });
    const [single] = await verify({ paths: [third], verifiers: [record.signer], anchors: record.anchors });
    expect(single).toMatchObject({
      namespace: 'shop',
      name: 'db',
      segments: 1,
      remarks: [expect.stringContaining('begins with segment 6')],
    });
    expect(single?.finding?.problem).toBe('cut');
    const [unanchored] = await verify({ paths: [third], verifiers: [record.signer] });
    expect(unanchored?.state).toBe('open');
  });

  it('a segment whose removal was recorded and then interrupted is still there, and no fault', async () => {
    const root = join(state, 'record');
    const options = { root, pid: process.pid, signer };
    const recorder = createRecorder(options);
    recorder.stream('shop', 'db');
    await recorder.close();
    const round = (enter: RetentionOptions['enter']) =>
      removeExpiredSegments({ root, enter, now: new Date(Date.now() + 500 * 86_400_000), retentionDays: () => 1 });
    const killed = round(async (removed) => {
      await recordRemovals(options, removed, () => {});
      throw new Error('killed');
    });
    await expect(killed).rejects.toThrow('killed');
    const [, report] = await verify({ paths: [state], verifiers: [signer] });
    expect(report).toMatchObject({ state: 'closed', remarks: [expect.stringContaining('is still there')] });
    // The next round says it again, and does it.
    expect(await round((removed) => recordRemovals(options, removed, () => {}))).toHaveLength(1);
    const after = await verify({ paths: [state], verifiers: [signer] });
    expect(after.map(({ name, state: is }) => [name, is])).toEqual([
      ['retention', 'closed'],
      ['retention', 'closed'],
    ]);
  });

  it('without the event that says so a removed segment is a missing one', async () => {
    const ledger = [...record.files.keys()].find((name) => name.startsWith('sallyport.dev/'));
    const missing = await verifyChanged(record, new Map([[ledger ?? '', undefined]]), { anchors: false });
    expect(missing.findings).toHaveLength(1);
    expect(missing.findings[0]).toMatch(/-000003\.jsonl:1 segment-missing$/);
  });

  it('of nothing there is no verdict', async () => {
    await mkdir(join(state, 'record'));
    await expect(verify({ paths: [state], verifiers: [] })).rejects.toMatchObject({ code: 'SPR008' });
  });
});

describe('a recovery', () => {
  it('cuts a torn line and nothing else: what was damaged before stays, and is named', async () => {
    const content = segment([begin, ['command.received', '"seq":1'], ['command.received', '"seq":2']]);
    const lines = content.toString().split('\n');
    const damaged = [lines[0], lines[1], `x${lines[2]}`, lines[3], '{"v":1,"n":4,'].join('\n');
    const path = await place(Buffer.from(damaged));
    const { recovered } = await recoverRecord({ root: join(state, 'record'), signer, isAlive: () => false });
    expect(recovered).toMatchObject([{ truncatedBytes: 13 }]);
    const after = await readFile(path, 'utf8');
    expect(after.startsWith(damaged.slice(0, -13))).toBe(true);
    expect(after).toMatch(/"recorder.recovered","truncatedBytes":13,"damagedLines":1,"brokenLinks":1/);
    const [report] = await verify({ paths: [state], verifiers: [signer] });
    expect(report?.finding).toMatchObject({ problem: 'not-a-line', line: 3 });
  });

  it('names its key, so that whoever has several knows which', async () => {
    const recorder = createRecorder({ root: join(state, 'record'), pid: process.pid, signer });
    recorder.stream('shop', 'db');
    await recorder.close();
    const [written] = await listSegments(join(state, 'record'));
    expect(await readFile(written?.path ?? '', 'utf8')).toContain(JSON.stringify(encodeVerifier(signer)));
    expect((await verifyFolder(state, { anchors: '', signer }, { anchors: false }))[0]?.state).toBe('closed');
  });
});
