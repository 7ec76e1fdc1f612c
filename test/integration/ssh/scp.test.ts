import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { describeWith, program } from '../../support/requires.ts';
import { startScpGround, type TestRules } from '../../support/sftp-ground.ts';

/** The protocol of scp before SFTP: stock scp and attacking ends, with a real `scp -t` or `scp -f` behind the session. */

let folder: string;
let home: string;
let inside: string;
let grounds: AsyncDisposable[];

const MB = 1024 * 1024;
const needs = [program('scp', 'openssh-client')];

beforeEach(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-scp-'));
  home = path.join(folder, 'home');
  inside = path.join(home, 'in');
  await mkdir(inside, { recursive: true });
  grounds = [];
});

afterEach(async () => {
  for (const each of grounds) await each[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

async function ground(role: 'sink' | 'source', paths: readonly string[], rules: TestRules = {}) {
  const started = await startScpGround(home, { read: [inside], write: [inside], ...rules }, role, paths);
  grounds.push(started);
  return started;
}

type Ground = Awaited<ReturnType<typeof ground>>;

async function scp(at: Ground, ...parameters: readonly string[]): Promise<{ code: number | null; output: string }> {
  const child = execFile('scp', ['-O', '-r', '-p', '-S', at.shell, ...parameters]);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (text: string) => (output += text));
  const [code] = (await once(child, 'close')) as [number | null];
  await at.idle();
  return { code, output };
}

const local = (name: string): string => path.join(folder, name);
const tree = async (): Promise<void> => {
  await mkdir(local('tree/sub'), { recursive: true });
  await writeFile(local('tree/a'), 'a');
  await writeFile(local('tree/.env'), 'PASSWORD=1');
  await writeFile(local('tree/sub/empty'), '');
};

/** Speaks the protocol by hand: each step waits for the answer to the last, unless it is told not to. */
async function byHand(at: Ground, steps: readonly (string | Buffer)[]): Promise<string> {
  const stream = await at.connect();
  let got = '';
  stream.on('data', (chunk: Buffer) => (got += chunk.toString('latin1')));
  stream.on('error', () => {});
  const closed = once(stream, 'close');
  for (const step of steps) stream.write(step);
  stream.end();
  await closed;
  await at.idle();
  return got;
}

describeWith(needs, 'scp -O', () => {
  test('uploads and downloads every byte, and the record has the digest', async () => {
    const contents = Buffer.concat([Buffer.from(Array.from({ length: 256 }, (_, i) => i)), randomBytes(16 * MB - 256)]);
    await writeFile(local('up'), contents, { mode: 0o640 });
    const up = await ground('sink', [path.join(inside, 'file')]);
    expect((await scp(up, local('up'), `host:${inside}/file`)).code).toBe(0);
    expect((await readFile(path.join(inside, 'file'))).equals(contents)).toBe(true);
    expect((await stat(path.join(inside, 'file'))).mode & 0o777).toBe(0o640);
    const down = await ground('source', [path.join(inside, 'file')]);
    expect((await scp(down, `host:${inside}/file`, local('down'))).code).toBe(0);
    expect((await readFile(local('down'))).equals(contents)).toBe(true);
    const sha256 = createHash('sha256').update(contents).digest('hex');
    expect(up.judge.requests.map(({ outcome }) => outcome)).toEqual([
      { status: 0, bytesRead: 0, bytesWritten: 16 * MB, sha256 },
    ]);
    expect(down.judge.requests.map(({ outcome }) => outcome)).toEqual([
      { status: 0, bytesRead: 16 * MB, bytesWritten: 0, sha256 },
    ]);
    expect([...up.errors, ...down.errors]).toEqual([]);
  });

  test('moves folders, judges each file under the name that it gets, and goes on after a refusal', async () => {
    await tree();
    const hidden = (name: string): boolean => name.includes('/.');
    const up = await ground('sink', [inside], { except: hidden });
    const sent = await scp(up, local('tree'), `host:${inside}`);
    expect(sent.code).toBe(1);
    expect(sent.output).toContain(`denied: WriteFile ${inside}/.env`);
    expect((await readdir(path.join(inside, 'tree'))).sort()).toEqual(['a', 'sub']);
    await writeFile(path.join(inside, 'tree/.env'), 'PASSWORD=1');
    const down = await ground('source', [path.join(inside, 'tree')], { except: hidden });
    await scp(down, `host:${inside}/tree`, local('back'));
    expect(down.judge.told).toEqual([`denied: ReadFile ${inside}/tree/.env`]);
    expect((await readdir(local('back'))).sort()).toEqual(['a', 'sub']);
    expect(await readFile(local('back/sub/empty'), 'utf8')).toBe('');
    expect([...up.errors, ...down.errors]).toEqual([]);
  });

  test('does not pass on what is masked', async () => {
    await writeFile(path.join(inside, 'file'), 'secret');
    const masker = () => ({ failure: undefined, push: (chunk: Buffer) => [chunk], end: () => [] });
    const down = await ground('source', [path.join(inside, 'file')], { masker });
    await scp(down, `host:${inside}/file`, local('down'));
    await expect(readFile(local('down'))).rejects.toThrow('ENOENT');
    expect(down.judge.told.join()).toContain('use scp without -O');
  });
});

describeWith(needs, 'an end that does not keep to the protocol', () => {
  test.each<[string, readonly string[]]>([
    ['a name that climbs', ['C0644 1 ..\n', 'x']],
    ['a name with a slash', ['C0644 1 ../../evil\n', 'x']],
    ['an empty name', ['C0644 1 \n', 'x']],
    ['a line without an end', ['C'.repeat(10_000)]],
    ['a size that is none', ['C0644 -1 a\n']],
    ['the end of no folder', ['E\n']],
    ['what is no record', ['hello\n']],
  ])('as a client is ended by %s', async (_name, steps) => {
    const at = await ground('sink', [inside]);
    await byHand(at, steps);
    expect(at.errors).toMatchObject([{ code: 'SPS081' }]);
    expect(await readdir(inside)).toEqual([]);
  });

  test('as a client that runs ahead gets none of its contents taken for records', async () => {
    await mkdir(path.join(inside, 'dir'));
    const at = await ground('sink', [inside], { write: [inside, path.join(inside, 'dir')] });
    const inner = 'C0644 4 b\nevil\0';
    await byHand(at, [`C0644 ${inner.length} a\n${inner}\0C0644 2 c\nok\0`]);
    expect((await readdir(inside)).sort()).toEqual(['a', 'c', 'dir']);
    expect(await readFile(path.join(inside, 'a'), 'utf8')).toBe(inner);
    const refused = await ground('sink', [path.join(home, 'out')], { write: [] });
    await byHand(refused, [`C0644 ${inner.length} a\n${inner}\0`]);
    // What was refused was not waited for: its contents are judged as the record that they look like.
    expect(refused.judge.requests.every(({ granted }) => !granted)).toBe(true);
  });

  test('as a client that agrees beforehand gets nothing of what is refused', async () => {
    await mkdir(path.join(inside, 'tree'));
    await writeFile(path.join(inside, 'tree/.key'), 'canary-7f3a');
    await writeFile(path.join(inside, 'tree/plain'), 'plain');
    const at = await ground('source', [path.join(inside, 'tree')], { except: (name) => name.includes('/.') });
    const got = await byHand(at, [Buffer.alloc(64)]);
    expect(got).toContain('plain');
    expect(got).not.toContain('canary-7f3a');
  });
});
