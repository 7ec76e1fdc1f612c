import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { link, mkdir, mkdtemp, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import * as n from '../../../proxy/protocols/ssh/sftp/constants.ts';
import { describeWith, program } from '../../support/requires.ts';
import { field, handClient, NO_ATTRIBUTES, uint64 } from '../../support/sftp-client.ts';
import { type SftpGround, sftpServer, startSftpGround, type TestRules } from '../../support/sftp-ground.ts';

/** Stock clients and attacking ones, straight at a session with a real sftp-server behind it: no SSH around it. */

let folder: string;
let home: string;
let inside: string;
let secret: string;
let grounds: SftpGround[];

const CANARY = 'canary-7f3a';
const MB = 1024 * 1024;

beforeEach(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-sftp-'));
  home = path.join(folder, 'home');
  inside = path.join(home, 'in');
  secret = path.join(folder, 'secret');
  for (const each of [home, inside, secret]) await mkdir(each);
  await writeFile(path.join(secret, 'key'), CANARY);
  grounds = [];
});

afterEach(async () => {
  for (const each of grounds) await each[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

async function ground(rules: TestRules = {}, more: Parameters<typeof startSftpGround>[2] = {}): Promise<SftpGround> {
  const started = await startSftpGround(home, { read: [inside], write: [inside], ...rules }, more);
  grounds.push(started);
  return started;
}

/** Runs stock sftp; lines that may fail begin with `-`. */
async function sftp(at: SftpGround, ...lines: readonly string[]): Promise<{ code: number | null; output: string }> {
  const batch = path.join(folder, 'batch');
  await writeFile(batch, `${lines.join('\n')}\n`);
  const child = execFile('sftp', ['-b', batch, '-D', at.command]);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (text: string) => (output += text));
  const [code] = (await once(child, 'close')) as [number | null];
  await at.idle();
  expect(at.errors).toEqual([]);
  return { code, output };
}

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
const local = (name: string): string => path.join(folder, name);

describeWith([sftpServer, program('sftp', 'openssh-client')], 'stock sftp', () => {
  test('uploads and downloads every byte, resumes, and the record has the digest', async () => {
    const contents = Buffer.concat([Buffer.from(Array.from({ length: 256 }, (_, i) => i)), randomBytes(16 * MB - 256)]);
    await writeFile(local('up'), contents);
    await writeFile(local('part'), contents.subarray(0, 5 * MB + 17));
    await writeFile(path.join(inside, 'rest'), contents.subarray(0, 3 * MB + 1));
    const at = await ground();
    const { code } = await sftp(
      at,
      `put ${local('up')} in/file`,
      `get in/file ${local('down')}`,
      `reget in/file ${local('part')}`,
      `reput ${local('up')} in/rest`,
    );
    expect(code).toBe(0);
    for (const file of [local('down'), local('part'), path.join(inside, 'file'), path.join(inside, 'rest')])
      expect((await readFile(file)).equals(contents), file).toBe(true);
    const opens = at.judge.requests.filter(({ request }) => request.operation === 'open');
    expect(opens.map(({ outcome }) => [outcome?.bytesRead, outcome?.bytesWritten])).toEqual([
      [0, 16 * MB],
      [16 * MB, 0],
      [11 * MB - 17, 0],
      [0, 13 * MB - 1],
    ]);
    expect(opens[0]?.outcome?.sha256).toBe(sha256(contents));
    expect(opens[2]?.outcome?.sha256).toBeUndefined();
  });

  test('works on folders, names, links, times and modes', async () => {
    await mkdir(local('tree/sub'), { recursive: true });
    await writeFile(local('tree/a'), 'a');
    await writeFile(local('tree/sub/b'), 'b');
    const at = await ground();
    const { code, output } = await sftp(
      at,
      'cd in',
      'pwd',
      'mkdir kept',
      `put -pr ${local('tree')} kept`,
      'rename kept moved',
      'ls -l moved/tree/sub',
      'ln moved/tree/a hard',
      'ln -s hard soft',
      'chmod 600 hard',
      'df',
      `get -r moved ${local('back')}`,
      'rm soft',
      'rm moved/tree/sub/b',
      'rmdir moved/tree/sub',
    );
    expect(output).not.toContain('denied');
    expect(code).toBe(0);
    expect(output).toContain(`Remote working directory: ${inside}`);
    expect(await readFile(path.join(inside, 'hard'), 'utf8')).toBe('a');
    expect(await readFile(local('back/tree/sub/b'), 'utf8')).toBe('b');
    expect(at.judge.requests.every(({ granted }) => granted)).toBe(true);
  });

  test('is refused what no rule allows, by whatever name, and goes on', async () => {
    await symlink(secret, path.join(inside, 'way'));
    await symlink(path.join(secret, 'key'), path.join(inside, 'key'));
    await symlink('in', path.join(home, 'here'));
    await writeFile(path.join(inside, 'mine'), 'mine');
    const at = await ground();
    const { code, output } = await sftp(
      at,
      `-get ${secret}/key ${local('1')}`,
      `-get in/key ${local('2')}`,
      `-get in/way/key ${local('3')}`,
      `-get in/../../secret/key ${local('4')}`,
      `-get in/way/../../secret/key ${local('5')}`,
      `-put ${local('batch')} in/way/new`,
      `-put ${local('batch')} in/key`,
      '-rm in/way/key',
      '-mkdir in/way/new',
      '-rename in/mine in/way/mine',
      '-ln -s ../../secret/key in/link',
      '-ln -s ../secret in/link',
      '-ln in/way/key in/link',
      '-chmod 777 in/key',
      '-ls in/way/',
      `get here/mine ${local('mine')}`,
    );
    expect(code).toBe(0);
    expect(output).not.toContain(CANARY);
    for (const name of ['1', '2', '3', '4', '5']) await expect(readFile(local(name))).rejects.toThrow('ENOENT');
    expect(await readFile(path.join(secret, 'key'), 'utf8')).toBe(CANARY);
    expect(await readFile(local('mine'), 'utf8')).toBe('mine');
    expect(at.judge.told).toContain(`denied: ReadFile ${secret}/key`);
  });

  test('does not carry a folder away from the rules about what is in it', async () => {
    await mkdir(path.join(inside, 'app/private'), { recursive: true });
    await writeFile(path.join(inside, 'app/private/key'), CANARY);
    const at = await ground({ protect: [path.join(inside, 'app/private')] });
    const { output } = await sftp(
      at,
      '-rename in/app in/plain',
      '-rename in/app/private/key in/key',
      '-ln in/app/private/key in/key',
    );
    expect(output).toMatch(/(rename|hardlink|link).*Permission denied/);
    expect(await readFile(path.join(inside, 'app/private/key'), 'utf8')).toBe(CANARY);
    await expect(readFile(path.join(inside, 'key'))).rejects.toThrow('ENOENT');
  });
});

describeWith([sftpServer], 'a client by hand', () => {
  test('uses a handle only for what it was opened for, and only while it is open', async () => {
    await writeFile(path.join(inside, 'file'), 'contents');
    const at = await ground();
    const client = await handClient(await at.connect());
    const reading = (await client.open(path.join(inside, 'file'), n.READ_FLAG)).bytes ?? Buffer.alloc(0);
    const writing =
      (await client.open(path.join(inside, 'new'), n.WRITE_FLAG | n.CREATE_FLAG)).bytes ?? Buffer.alloc(0);
    const listing = (await client.ask(n.OPENDIR, inside)).bytes ?? Buffer.alloc(0);
    const codes = async (...asked: Promise<{ code: number | undefined }>[]): Promise<unknown[]> =>
      (await Promise.all(asked)).map(({ code }) => code);
    expect(
      await codes(
        client.write(reading, 0, Buffer.from('x')),
        client.ask(n.FSETSTAT, field(reading), NO_ATTRIBUTES),
        client.read(writing, 0, 8),
        client.read(listing, 0, 8),
        client.ask(n.READDIR, field(reading)),
        client.read(Buffer.from([0, 0, 0, 9]), 0, 8),
        client.read(Buffer.alloc(256, 0xff), 0, 8),
        client.ask(n.EXTENDED, 'copy-data', field(writing), uint64(0), uint64(0), field(reading), uint64(0)),
        client.ask(n.EXTENDED, 'fsync@openssh.com', field(reading)),
      ),
    ).toEqual([3, 3, 3, 4, 4, 4, 4, 3, 4]);
    expect((await client.read(reading, 0, 8)).bytes?.toString()).toBe('contents');
    expect(await codes(client.ask(n.CLOSE, field(reading)), client.read(reading, 0, 8))).toEqual([0, 4]);
    client.end();
    await at.idle();
    expect(await readFile(path.join(inside, 'file'), 'utf8')).toBe('contents');
    const interrupted = at.judge.requests.filter(({ outcome }) => outcome?.interrupted);
    expect(interrupted.map(({ request }) => request.operation).sort()).toEqual(['open', 'opendir']);
  });

  test('hears of no extension that is not decided, and cannot use one', async () => {
    const at = await ground();
    const client = await handClient(await at.connect());
    expect(client.extensions).toContain('posix-rename@openssh.com');
    const answer = await client.ask(n.EXTENDED, 'exec@example.com', 'id');
    expect(answer).toMatchObject({ code: n.FX_OP_UNSUPPORTED });
    expect(answer.message).toContain('exec@example.com');
    client.end();
  });

  test('learns nothing of paths that it may not know', async () => {
    await symlink(secret, path.join(inside, 'way'));
    const at = await ground();
    const client = await handClient(await at.connect());
    const names = async (...paths: readonly string[]): Promise<unknown[]> =>
      Promise.all(paths.map(async (each) => (await client.ask(n.REALPATH, each)).name));
    expect(await names('.', 'in/.', `${secret}/key`, `${secret}/none/none`, 'in/way')).toEqual([
      home,
      inside,
      `${secret}/key`,
      `${secret}/none/none`,
      path.join(inside, 'way'),
    ]);
    for (const there of [`${secret}/key`, `${secret}/none/none`])
      for (const type of [n.STAT, n.LSTAT, n.READLINK, n.OPENDIR])
        expect(await client.ask(type, there)).toMatchObject({ code: n.FX_PERMISSION_DENIED });
    expect(await client.ask(n.STAT, path.join(inside, 'none/none'))).toMatchObject({ code: n.FX_NO_SUCH_FILE });
    client.end();
  });

  test('opens for writing with any flag that writes', async () => {
    await writeFile(path.join(inside, 'file'), 'contents');
    const at = await ground({ write: [] });
    const client = await handClient(await at.connect());
    for (const flags of [n.WRITE_FLAG, n.TRUNCATE_FLAG, n.CREATE_FLAG, n.READ_FLAG | n.TRUNCATE_FLAG, n.APPEND_FLAG])
      expect(await client.open(path.join(inside, 'file'), flags)).toMatchObject({ code: n.FX_PERMISSION_DENIED });
    expect(await readFile(path.join(inside, 'file'), 'utf8')).toBe('contents');
    client.end();
  });

  test.each<[string, Buffer]>([
    ['a packet of no known type', Buffer.from([0, 0, 0, 5, 77, 0, 0, 0, 1])],
    ['a path that is longer than its packet', Buffer.from([0, 0, 0, 9, n.STAT, 0, 0, 0, 1, 0, 0, 1, 0])],
    ['a packet that no server takes', Buffer.from([0, 4, 0, 1, n.WRITE])],
    ['a second INIT', Buffer.from([0, 0, 0, 5, n.INIT, 0, 0, 0, 3])],
  ])('ends by %s', async (_name, bytes) => {
    const at = await ground();
    const stream = await at.connect();
    const client = await handClient(stream);
    stream.write(bytes);
    await client.closed;
    await at.idle();
    expect(at.errors).toMatchObject([{ name: 'FileProtocolError', code: 'SPS070' }]);
  });

  test('reads up to the limit of a grant', async () => {
    await writeFile(path.join(inside, 'file'), Buffer.alloc(3000, 0xee));
    const at = await ground({ maxBytesReturned: 2000 });
    const client = await handClient(await at.connect());
    const handle = (await client.open(path.join(inside, 'file'), n.READ_FLAG)).bytes ?? Buffer.alloc(0);
    expect((await client.read(handle, 0, 1500)).bytes?.length).toBe(1500);
    for (const offset of [1500, 0])
      expect(await client.read(handle, offset, 1000)).toMatchObject({ code: n.FX_FAILURE });
    expect(client.received().filter((byte) => byte === 0xee).length).toBe(1500);
    client.end();
  });
});

describeWith([sftpServer], 'a file that is open when policy changes', () => {
  test('is read on only while it may be', async () => {
    await writeFile(path.join(inside, 'file'), 'contents');
    let changed: string | undefined;
    const at = await ground({ changed: () => (changed === undefined ? undefined : Promise.resolve(changed)) });
    const client = await handClient(await at.connect());
    const handle = (await client.open(path.join(inside, 'file'), n.READ_FLAG | n.WRITE_FLAG)).bytes ?? Buffer.alloc(0);
    const listing = (await client.ask(n.OPENDIR, inside)).bytes ?? Buffer.alloc(0);
    expect((await client.read(handle, 0, 4)).bytes?.toString()).toBe('cont');
    changed = 'denied by now';
    for (const answer of [
      client.read(handle, 4, 4),
      client.write(handle, 0, Buffer.from('x')),
      client.ask(n.READDIR, field(listing)),
    ])
      expect(await answer).toMatchObject({ code: n.FX_PERMISSION_DENIED, message: 'denied by now' });
    expect(await client.ask(n.CLOSE, field(handle))).toMatchObject({ code: n.FX_OK });
    expect(await readFile(path.join(inside, 'file'), 'utf8')).toBe('contents');
    client.end();
  });
});

describeWith([sftpServer], 'a request that waits for people', () => {
  test('holds those behind it, and not the answers of those before', async () => {
    const released = Promise.withResolvers<void>();
    await writeFile(path.join(inside, 'file'), 'contents');
    const at = await ground({ hold: { path: path.join(inside, 'held'), released: released.promise } });
    const client = await handClient(await at.connect());
    const order: string[] = [];
    const note = (name: string) => () => void order.push(name);
    const before = client.ask(n.STAT, path.join(inside, 'file')).then(note('before'));
    const held = client.open(path.join(inside, 'held'), n.WRITE_FLAG | n.CREATE_FLAG).then(note('held'));
    const after = client.ask(n.STAT, path.join(inside, 'file')).then(note('after'));
    await before;
    await expect(readFile(path.join(inside, 'held'))).rejects.toThrow('ENOENT');
    released.resolve();
    await Promise.all([held, after]);
    expect(order).toEqual(['before', 'held', 'after']);
    client.end();
  });

  test('is withdrawn when the client leaves', async () => {
    const asked = Promise.withResolvers<void>();
    const never = Promise.withResolvers<void>().promise;
    const at = await ground({ hold: { path: path.join(inside, 'held'), released: never, asked: asked.resolve } });
    const client = await handClient(await at.connect());
    void client.open(path.join(inside, 'held'), n.WRITE_FLAG | n.CREATE_FLAG);
    await asked.promise;
    client.end();
    await at.idle();
    await expect(readFile(path.join(inside, 'held'))).rejects.toThrow('ENOENT');
  });

  test('is refused when its path means another file by then', async () => {
    const released = Promise.withResolvers<void>();
    await mkdir(path.join(inside, 'dir'));
    await writeFile(path.join(inside, 'dir/key'), 'mine');
    const asked = Promise.withResolvers<void>();
    const hold = { path: path.join(inside, 'dir/key'), released: released.promise, asked: asked.resolve };
    const at = await ground({ hold });
    const client = await handClient(await at.connect());
    const opened = client.open(path.join(inside, 'dir/key'), n.READ_FLAG);
    await asked.promise;
    await rename(path.join(inside, 'dir'), path.join(inside, 'old'));
    await symlink(secret, path.join(inside, 'dir'));
    released.resolve();
    const answer = await opened;
    expect(answer).toMatchObject({ code: n.FX_PERMISSION_DENIED });
    client.end();
    await at.idle();
    expect(client.received().includes(CANARY)).toBe(false);
  });
});

describeWith([sftpServer], 'a file whose contents are masked', () => {
  /** Seven digits, wherever they stand; keeps back what could become some. */
  const masker = () => {
    let kept = '';
    return {
      failure: undefined,
      push(chunk: Buffer): Buffer[] {
        const text = kept + chunk.toString('latin1');
        const tail = /\d*$/.exec(text)?.[0].length ?? 0;
        kept = text.slice(text.length - tail);
        return [Buffer.from(text.slice(0, text.length - tail).replace(/\d{7}/g, '[number]'), 'latin1')];
      },
      end: (): Buffer[] => [Buffer.from(kept.replace(/\d{7}/g, '[number]'), 'latin1')],
    };
  };
  const line = 'call 5550123 now\n';
  const shown = 'call [number] now\n';

  test('comes out masked, whole, at any offset and in any pieces', async () => {
    const lines = 200_000;
    await writeFile(path.join(inside, 'file'), line.repeat(lines));
    const at = await ground({ masker });
    const { code } = await sftp(at, `get in/file ${local('down')}`);
    expect(code).toBe(0);
    expect((await readFile(local('down'), 'utf8')) === shown.repeat(lines)).toBe(true);
    const client = await handClient(await at.connect());
    const handle = (await client.open(path.join(inside, 'file'), n.READ_FLAG)).bytes ?? Buffer.alloc(0);
    for (const offset of [18 * 100_000 + 3, 5, 18 * 3 + 7, 18 * (lines - 1)]) {
      const { bytes } = await client.read(handle, offset, 4);
      expect(bytes?.toString()).toBe(shown.repeat(2).slice(offset % 18, (offset % 18) + 4));
    }
    for (let offset = 0; offset < 40; offset++) await client.read(handle, offset, 1);
    expect(await client.read(handle, 18 * lines, 4)).toMatchObject({ code: n.FX_EOF });
    expect(client.received().includes('5550123')).toBe(false);
    client.end();
  });

  test('is not copied by the server', async () => {
    await writeFile(path.join(inside, 'file'), line);
    const at = await ground({ masker });
    const client = await handClient(await at.connect());
    const source = (await client.open(path.join(inside, 'file'), n.READ_FLAG)).bytes ?? Buffer.alloc(0);
    const target = (await client.open(path.join(inside, 'to'), n.WRITE_FLAG | n.CREATE_FLAG)).bytes ?? Buffer.alloc(0);
    const copied = await client.ask(
      n.EXTENDED,
      'copy-data',
      field(source),
      uint64(0),
      uint64(0),
      field(target),
      uint64(0),
    );
    expect(copied).toMatchObject({ code: n.FX_PERMISSION_DENIED });
    expect(await readFile(path.join(inside, 'to'), 'utf8')).toBe('');
    client.end();
  });
});

describeWith([sftpServer], 'an agent that tries everything', () => {
  test('gets nothing out of what it may not read, and changes nothing there', async () => {
    await symlink(secret, path.join(inside, 'way'));
    await symlink(path.join(secret, 'key'), path.join(inside, 'key'));
    await link(path.join(secret, 'key'), path.join(secret, 'other'));
    await mkdir(path.join(inside, 'dir'));
    const names = ['in', 'way', 'key', 'dir', '..', '.', '', 'secret', 'home', 'new', secret, inside, home, '/'];
    const at = await ground();
    const random = mulberry(20_260_726);
    const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
    const anyPath = (): string => Array.from({ length: 1 + Math.floor(random() * 5) }, () => pick(names)).join('/');
    for (let round = 0; round < 12; round++) {
      const client = await handClient(await at.connect());
      const handles: Buffer[] = [Buffer.from([0, 0, 0, 0])];
      const asked: Promise<unknown>[] = [];
      for (let i = 0; i < 120; i++) asked.push(attempt(client, handles));
      await Promise.all(asked);
      expect(client.received().includes(CANARY)).toBe(false);
      client.end();
      await at.idle();
    }
    expect(at.errors).toEqual([]);
    expect(at.judge.requests.some(({ granted }) => granted)).toBe(true);
    expect(await readFile(path.join(secret, 'key'), 'utf8')).toBe(CANARY);
    expect(await readFile(path.join(secret, 'other'), 'utf8')).toBe(CANARY);

    async function attempt(client: Awaited<ReturnType<typeof handClient>>, handles: Buffer[]): Promise<void> {
      const handle = (): ReturnType<typeof field> => field(pick(handles));
      const kind = Math.floor(random() * 16);
      switch (kind) {
        case 0:
        case 1:
        case 2: {
          const { bytes } = await client.open(anyPath(), Math.floor(random() * 64));
          if (bytes !== undefined) handles.push(bytes);
          return;
        }
        case 3:
          await client.ask(n.READ, handle(), uint64(0), 4096);
          return;
        case 4:
          await client.ask(n.WRITE, handle(), uint64(0), 'overwritten');
          return;
        case 5:
          await client.ask(pick([n.RENAME, n.SYMLINK]), anyPath(), anyPath());
          return;
        case 6:
          await client.ask(
            n.EXTENDED,
            pick(['hardlink@openssh.com', 'posix-rename@openssh.com']),
            anyPath(),
            anyPath(),
          );
          return;
        case 7:
          await client.ask(n.EXTENDED, 'copy-data', handle(), uint64(0), uint64(0), handle(), uint64(0));
          return;
        case 8:
          await client.ask(pick([n.REMOVE, n.RMDIR]), anyPath());
          return;
        case 9:
          await client.ask(pick([n.MKDIR, n.SETSTAT]), anyPath(), NO_ATTRIBUTES);
          return;
        case 10:
          await client.ask(pick([n.CLOSE, n.FSTAT, n.READDIR]), handle());
          return;
        default: {
          const { bytes } = await client.ask(pick([n.OPENDIR, n.STAT, n.LSTAT, n.READLINK, n.REALPATH]), anyPath());
          if (bytes !== undefined) handles.push(bytes);
        }
      }
    }
  });
});

/** Random numbers that are the same in every run. */
function mulberry(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}
