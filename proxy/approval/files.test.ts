import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { shownDigest } from '../../approval/vote.ts';
import { at, held } from './approval.fixture.ts';
import { createRequestFiles, type RequestFiles } from './files.ts';
import { createHolder } from './folders.ts';
import { commandHash } from './hash.ts';
import { buildRequest } from './request.ts';

let folder: string;
let files: RequestFiles;
const holder = createHolder(process.pid);
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sallyport-request-files-'));
  files = createRequestFiles(folder, holder);
  await files.prepare('shop');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

function request(display: string, name = 'a') {
  const command = held();
  const presentation = { ...command.presentation, display, summary: display.slice(0, 120) || 'x' };
  const facts = { name, hash: commandHash(command), fingerprint: undefined, holder, now: Date.now() };
  return buildRequest({ ...command, presentation }, facts);
}

describe('a request in a file', () => {
  test('means the same when it is read again, whatever its text', async () => {
    let number = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.string({ unit: 'binary', minLength: 1, maxLength: 200 }),
          fc.string({
            unit: fc.constantFrom(' ', '\n', '\t', '\r', '#', ':', '-', '|', '>', "'", '"', '\\', 'a'),
            minLength: 1,
          }),
          fc.constantFrom('yes', 'null', '1e3', '~', '---', '...', '\n', ' x', 'x ', 'x\n\n', '\u2028', '\ud800'),
        ),
        async (display) => {
          const name = `a${number++}`;
          const made = request(display, name);
          await files.create(made);
          // By another reader, who cannot have it in memory.
          const read = await createRequestFiles(folder, holder).read(at(name));
          expect(read?.request).toEqual(made);
          expect(read && shownDigest(read.request)).toBe(shownDigest(made));
        },
      ),
      { numRuns: 150 },
    );
  });

  test('is made once, by whoever is first', async () => {
    const made = await Promise.all(Array.from({ length: 20 }, () => files.create(request('x'))));
    expect(made.filter((first) => first).length).toBe(1);
  });

  test('loses no change of those who write at once, also from several processes’ locks', async () => {
    await files.create(request('x'));
    const writers = Array.from({ length: 4 }, () => createRequestFiles(folder, createHolder(process.pid)));
    const change = (writer: RequestFiles, key: string) =>
      writer.update(at('a'), (found) => ({
        ...found,
        metadata: { ...found.metadata, annotations: { ...found.metadata.annotations, [key]: 'x' } },
      }));
    const keys = writers.flatMap((writer, w) => Array.from({ length: 10 }, (_, n) => [writer, `k${w}-${n}`] as const));
    await Promise.all(keys.map(([writer, key]) => change(writer, key)));
    const annotations = (await files.read(at('a')))?.request.metadata.annotations ?? {};
    expect(Object.keys(annotations).length).toBe(40);
  });

  test('is written by nobody in a way that nobody could read', async () => {
    await files.create(request('x'));
    const broken = files.update(at('a'), (found) => ({ ...found, status: { votes: 'x'.repeat(100) } }));
    await expect(broken).rejects.toMatchObject({ code: 'SPV020' });
    expect((await files.read(at('a')))?.request.status?.state).toBe('Pending');
  });

  test('a lock goes with its process', async () => {
    await files.create(request('x'));
    const gone = { ...holder, process: 'gone', started: '1' };
    await writeFile(`${files.path(at('a'))}.lock`, JSON.stringify(gone));
    const updated = await files.update(at('a'), (found) => ({ ...found, status: { state: 'Denied' } }));
    expect(updated?.request.status?.state).toBe('Denied');
  });

  test.each(['../x', 'a/b', '', 'A', '.used', 'a\n'])('%j is no name', async (name) => {
    await expect(files.read({ namespace: 'shop', name })).rejects.toMatchObject({ code: 'SPV022' });
    await expect(files.read({ namespace: name, name: 'a' })).rejects.toMatchObject({ code: 'SPV022' });
  });

  test('is no symbolic link, and not too large', async () => {
    await writeFile(join(folder, 'elsewhere'), 'x');
    await symlink(join(folder, 'elsewhere'), files.path(at('link')));
    await writeFile(files.path(at('large')), 'x'.repeat(1_048_577));
    for (const name of ['link', 'large']) await expect(files.read(at(name))).rejects.toMatchObject({ code: 'SPV020' });
  });
});
