import { expect, it } from 'vitest';
import { linesOf } from './lines.ts';

async function* pieces(text: string, size: number): AsyncGenerator<Buffer> {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function collect(chunks: AsyncIterable<Buffer>, maxBytes = 1000): Promise<string[]> {
  const lines: string[] = [];
  for await (const line of linesOf(chunks, maxBytes, 'watch pods')) lines.push(line);
  return lines;
}

it('finds the same lines wherever the stream is split', async () => {
  const text = '{"a":"grün €"}\n\n{"b":1}\n{"c":"\\n"}\n';
  for (let size = 1; size <= Buffer.byteLength(text); size++) {
    expect(await collect(pieces(text, size))).toEqual(['{"a":"grün €"}', '{"b":1}', '{"c":"\\n"}']);
  }
});

it('does not take half a line for a line, nor for none', async () => {
  await expect(collect(pieces('{"a":1}\n{"b":', 4))).rejects.toMatchObject({ code: 'SPB013' });
});

it('reads no more than the limit of one line', async () => {
  await expect(collect(pieces('x'.repeat(50), 10), 20)).rejects.toMatchObject({ code: 'SPB012' });
  await expect(collect(pieces(`${'x'.repeat(21)}\n`, 100), 20)).rejects.toMatchObject({ code: 'SPB012' });
  expect(await collect(pieces(`${'x'.repeat(20)}\n`, 7), 20)).toEqual(['x'.repeat(20)]);
});
