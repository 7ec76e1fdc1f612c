import { rm } from 'node:fs/promises';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { linkOf } from '../chain.ts';
import { isLedger } from '../ledger.ts';
import { parseSegmentFileName } from '../segment.ts';
import { type RealRecord, realRecord, verifyChanged } from './real-record.fixture.ts';

let record: RealRecord;
/** Paths of the segments, those of a stream one after the other. */
let files: string[] = [];
beforeAll(async () => {
  record = await realRecord();
  files = [...record.files.keys()].sort((a, b) => (streamOf(a) + numberOf(a) < streamOf(b) + numberOf(b) ? -1 : 1));
});
afterAll(() => rm(record.state, { recursive: true }));

const nameOf = (path: string): string => path.split('/').at(-1) ?? '';
const streamOf = (path: string): string =>
  `${path.slice(0, path.lastIndexOf('/'))}/${parseSegmentFileName(nameOf(path))?.process}`;
const numberOf = (path: string): string => String(parseSegmentFileName(nameOf(path))?.number).padStart(6, '0');
const contentOf = (path: string): Buffer => record.files.get(path) ?? Buffer.alloc(0);

/** Lines with their line feeds. */
function linesOf(path: string): Buffer[] {
  const content = contentOf(path);
  const lines: Buffer[] = [];
  for (let start = 0; start < content.length; ) {
    const end = content.indexOf(0x0a, start) + 1;
    lines.push(content.subarray(start, end));
    start = end;
  }
  return lines;
}

function nextOf(path: string): string | undefined {
  const next = files[files.indexOf(path) + 1];
  return next !== undefined && streamOf(next) === streamOf(path) ? next : undefined;
}

const pick = <T>(list: readonly T[], number: number): T => list[number % list.length] as T;
const any = fc.nat({ max: 1_000_000 });

/** The change is found, at that place first; a ledger that is bad leaves removed segments unexplained, and nothing else may be found. */
async function expectFound(
  changed: ReadonlyMap<string, Buffer | undefined>,
  place: string,
  options: { readonly anchors?: boolean; readonly key?: boolean } = { anchors: false },
): Promise<void> {
  const { findings } = await verifyChanged(record, changed, options);
  const [namespace = '', name = ''] = place.split('/');
  const others = findings.filter((finding) => !finding.startsWith(`${place} `));
  const allowed = isLedger({ namespace, name })
    ? others.filter((finding) => !finding.endsWith(' segment-missing'))
    : others;
  expect(findings.filter((finding) => finding.startsWith(`${place} `))).toHaveLength(1);
  expect(allowed).toEqual([]);
}

const check = (property: fc.IAsyncProperty<[number, number, number]>, numRuns: number) =>
  fc.assert(property, { numRuns });

describe('a real record', () => {
  it('is made of several streams and segments, a recovery and a removal', () => {
    const events = (type: string) => files.flatMap(linesOf).filter((line) => line.includes(`"e":"${type}"`)).length;
    expect(new Set(files.map(streamOf)).size).toBe(4);
    expect(files.length).toBeGreaterThan(6);
    expect(events('recorder.recovered')).toBe(1);
    expect(events('session.interrupted')).toBeGreaterThan(0);
    expect(events('segment.removed')).toBe(3);
    expect(events('recorder.checkpoint')).toBeGreaterThan(0);
  });

  it('is clean, with and without anchors and key', async () => {
    for (const options of [{}, { anchors: false }, { key: false }, { key: false, anchors: false }]) {
      const { reports, findings } = await verifyChanged(record, new Map(), options);
      expect(findings).toEqual([]);
      expect(reports.map(({ state }) => state)).toEqual(['closed', 'closed', 'closed', 'closed']);
      expect(reports.map(({ unsignedLines }) => unsignedLines)).toEqual([0, 0, 0, 0]);
    }
  });
});

describe('what is changed is found, and the first bad line is the right one', { timeout: 120_000 }, () => {
  it('a flipped bit', () =>
    check(
      fc.asyncProperty(any, any, any, async (which, where, bit) => {
        const path = pick(files, which);
        const content = Buffer.from(contentOf(path));
        const at = where % content.length;
        content[at] = (content[at] ?? 0) ^ (1 << (bit % 8));
        const line =
          contentOf(path)
            .subarray(0, at)
            .filter((byte) => byte === 0x0a).length + 1;
        await expectFound(new Map([[path, content]]), `${path}:${line}`);
      }),
      250,
    ));

  it('a flipped bit anywhere in the last line of a stream, which no other line vouches for', async () => {
    const path = files.find((file) => file.startsWith('shop/other/')) ?? '';
    const last = linesOf(path).length;
    const start = contentOf(path).length - (linesOf(path).at(-1)?.length ?? 0);
    for (let at = start; at < contentOf(path).length; at += at < start + 80 ? 1 : 7) {
      const content = Buffer.from(contentOf(path));
      content[at] = (content[at] ?? 0) ^ (1 << (at % 7));
      await expectFound(new Map([[path, content]]), `${path}:${last}`);
    }
  });

  it('a deleted line', () =>
    check(
      fc.asyncProperty(any, any, any, async (which, where, _) => {
        const path = pick(files, which);
        const lines = linesOf(path);
        const index = where % lines.length;
        const next = nextOf(path);
        const isLast = index === lines.length - 1;
        lines.splice(index, 1);
        const changed = new Map([[path, Buffer.concat(lines)]]);
        if (!isLast) await expectFound(changed, `${path}:${index + 1}`);
        else if (next !== undefined) await expectFound(changed, `${next}:1`);
        // Without its last line a stream looks as if it went on: only what is anchored tells.
        else await expectFound(changed, `${path}:${lines.length}`, { anchors: true });
      }),
      80,
    ));

  it('two lines swapped', () =>
    check(
      fc.asyncProperty(any, any, any, async (which, a, b) => {
        const path = pick(files, which);
        const lines = linesOf(path);
        const first = a % (lines.length - 1);
        const second = first + 1 + (b % (lines.length - 1 - first));
        [lines[first], lines[second]] = [pick(lines, second), pick(lines, first)];
        await expectFound(new Map([[path, Buffer.concat(lines)]]), `${path}:${first + 1}`);
      }),
      80,
    ));

  it('a line put in: one of the record', () =>
    check(
      fc.asyncProperty(any, any, any, async (which, where, source) => {
        const path = pick(files, which);
        const lines = linesOf(path);
        const copy = pick(files.flatMap(linesOf), source);
        const at = where % (lines.length + 1);
        // A copy before its own line is the line, and that is the copy.
        const place = lines[at]?.equals(copy) === true ? at + 2 : at + 1;
        lines.splice(at, 0, copy);
        await expectFound(new Map([[path, Buffer.concat(lines)]]), `${path}:${place}`);
      }),
      80,
    ));

  it('a line put in: a forged one that follows the one before it', () =>
    check(
      fc.asyncProperty(any, any, any, async (which, where, _) => {
        const path = pick(files, which);
        const lines = linesOf(path);
        const at = 1 + (where % lines.length);
        const before = pick(lines, at - 1);
        const n = Number(/"n":(\d+)/.exec(before.toString())?.[1]);
        const head = `{"v":1,"n":${n + 1},"t":"2026-01-04T12:00:00.000000Z","e":"command.executed","session":"x","seq":1`;
        lines.splice(at, 0, Buffer.from(`${head},"prev":"${linkOf(before)}"}\n`));
        await expectFound(new Map([[path, Buffer.concat(lines)]]), `${path}:${at + 1}`);
      }),
      80,
    ));

  it('a tail that was cut, against anchors', () =>
    check(
      fc.asyncProperty(any, any, any, async (which, where, bytes) => {
        const ends = files.filter((path) => nextOf(path) === undefined);
        const path = pick(ends, which);
        const lines = linesOf(path);
        const left = where % lines.length;
        // In the middle of a line, or between two.
        const torn = pick(lines, left).subarray(0, bytes % 3 === 0 ? 0 : bytes % (pick(lines, left).length - 1));
        const changed = new Map([[path, Buffer.concat([...lines.slice(0, left), torn])]]);
        const before = files[files.indexOf(path) - 1];
        const follows = before !== undefined && streamOf(before) === streamOf(path);
        const place = left > 0 ? `${path}:${left}` : follows ? `${before}:${linesOf(before).length}` : `${path}:1`;
        await expectFound(changed, place, { anchors: true });
      }),
      80,
    ));

  it('a segment that is missing', async () => {
    for (const path of files) {
      const next = nextOf(path);
      const changed = new Map([[path, undefined]]);
      if (next !== undefined) {
        await expectFound(changed, `${next}:1`);
        continue;
      }
      const { findings } = await verifyChanged(record, changed, { anchors: true });
      const before = files[files.indexOf(path) - 1];
      const follows = before !== undefined && streamOf(before) === streamOf(path);
      if (follows) expect(findings).toEqual([`${before}:${linesOf(before).length} cut`]);
      else expect(findings.some((finding) => finding.endsWith(' stream-missing'))).toBe(true);
    }
  });

  it('a segment played again, under every name that it could take', async () => {
    for (const path of files) {
      const name = nameOf(path);
      const folder = path.slice(0, path.lastIndexOf('/'));
      const names = [
        `${folder}/${name.replace(/-\d{6}\.jsonl$/, '-000009.jsonl')}`,
        `${folder}/${name.replace(/-\d{6}\.jsonl$/, '-000001.jsonl')}`,
        `${folder}/${name.replace(/^\d{8}/, '20250101')}`,
        `${folder}/${name.replace(/^\d{8}/, '20270101')}`,
        `${folder}/${name.replace(/-[0-9a-f]{12}-/, '-0123456789ab-')}`,
        `shop/elsewhere/${name}`,
      ];
      for (const copy of names) {
        if (record.files.has(copy)) continue;
        await expectFound(new Map([[copy, contentOf(path)]]), `${copy}:1`);
      }
      const victim = pick(files, files.indexOf(path) + 1);
      await expectFound(new Map([[victim, contentOf(path)]]), `${victim}:1`);
    }
  });
});
