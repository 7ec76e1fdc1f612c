import { createHash, randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { LineWriter } from '../../record/line-writer.ts';
import { createResultCapture } from './result-capture.ts';

interface Chunk {
  readonly offset?: number;
  readonly data?: string;
  readonly bytes?: number;
  readonly recorded?: number;
  readonly sha256?: string;
}

function captured(limit: number, parts: readonly Buffer[]): Chunk[] {
  const chunks: Chunk[] = [];
  const capture = createResultCapture((members) => chunks.push(JSON.parse(`{${members.slice(1)}}`)));
  capture.begin(limit, 'test');
  for (const part of parts) capture.take(part, 0, part.length);
  const short = capture.end();
  if (short !== '') chunks.push((JSON.parse(`{${short.slice(1)}}`) as { result: Chunk }).result);
  return chunks;
}

const data = (chunks: readonly Chunk[]) =>
  Buffer.concat(chunks.map((chunk) => Buffer.from(chunk.data ?? '', 'base64')));

describe('result capture', () => {
  it('keeps a response under the limit whole, in one piece', () => {
    const chunks = captured(1000, [Buffer.from('ab'), Buffer.from('c')]);
    expect(chunks).toEqual([{ encoding: 'test', offset: 0, data: Buffer.from('abc').toString('base64'), bytes: 3 }]);
  });

  it('keeps nothing but length and digest at limit 0', () => {
    const sha256 = createHash('sha256').update('abc').digest('hex');
    expect(captured(0, [Buffer.from('abc')])).toEqual([{ encoding: 'test', bytes: 3, recorded: 0, sha256 }]);
  });

  it('says in the first event of a response, and there alone, how its bytes are read', () => {
    const chunks: Record<string, unknown>[] = [];
    const capture = createResultCapture((members) => chunks.push(JSON.parse(`{${members.slice(1)}}`)));
    for (const size of [70_000, 4097]) {
      capture.begin(1_000_000, 'test', ',"columns":[["id",23]]');
      capture.take(Buffer.alloc(size), 0, size);
      expect(capture.end()).toBe('');
    }
    capture.begin(1_000_000, 'test', ',"columns":[["id",23]]');
    capture.take(Buffer.alloc(4096), 0, 4096);
    expect(JSON.parse(`{${capture.end().slice(1)}}`)).toMatchObject({
      result: { encoding: 'test', offset: 0, columns: [['id', 23]], bytes: 4096 },
    });
    expect(chunks.map(({ offset, columns }) => [offset, columns])).toEqual([
      [0, [['id', 23]]],
      [65_536, undefined],
      [0, [['id', 23]]],
    ]);
  });

  it('writes into an event what it would have returned', () => {
    const given = [Buffer.from('abc'), Buffer.alloc(4096, 0xff), Buffer.alloc(0), Buffer.alloc(5000)];
    const pieces = createResultCapture(() => {}, 'request');
    const whole = createResultCapture(() => {}, 'request');
    for (const bytes of [...given, ...given]) {
      for (const capture of [pieces, whole]) {
        capture.begin(1_000_000, 'test/"', ',"columns":[["ä",23]]');
        capture.take(bytes, 0, bytes.length);
      }
      const line = new LineWriter(1);
      if (pieces.finish()) pieces.write(line);
      expect(line.bytes.toString('utf8', 0, line.length)).toBe(whole.end());
    }
  });

  it('emits nothing for a response without bytes', () => {
    expect(captured(10, [])).toEqual([]);
  });

  for (const limit of [0, 1, 1000, 65_535, 65_536, 65_537, 200_000, 299_999, 300_000, 400_000]) {
    for (const size of [1, 97, 16_384, 65_536, 70_000, 300_000]) {
      it(`splits 300,000 bytes given ${size} at a time at limit ${limit}`, () => {
        const all = randomBytes(300_000);
        const parts: Buffer[] = [];
        for (let at = 0; at < all.length; at += size) parts.push(all.subarray(at, at + size));
        const chunks = captured(limit, parts);
        const kept = data(chunks);
        expect(kept.equals(all.subarray(0, limit))).toBe(true);
        let offset = 0;
        for (const chunk of chunks) {
          if (chunk.data === undefined) continue;
          expect(chunk.offset).toBe(offset);
          offset += Buffer.from(chunk.data, 'base64').length;
        }
        const last = chunks.at(-1);
        expect(last?.bytes).toBe(all.length);
        expect(last?.sha256).toBe(limit < all.length ? createHash('sha256').update(all).digest('hex') : undefined);
      });
    }
  }

  it('takes the next response on its own', () => {
    const chunks: string[] = [];
    const capture = createResultCapture((members) => chunks.push(members));
    for (const text of ['first', 'second']) {
      capture.begin(3, 'test');
      capture.take(Buffer.from(text), 0, text.length);
      capture.end();
    }
    const sha256 = createHash('sha256').update('second').digest('hex');
    expect(chunks.at(-1)).toBe(`,"encoding":"test","bytes":6,"recorded":3,"sha256":"${sha256}"`);
  });
});
