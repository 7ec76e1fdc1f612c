import { cp, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createRecorder } from '../../proxy/recording/writer.ts';
import { recordKey } from '../../proxy/standalone/record-key.ts';
import { createAnchors } from '../../record/anchors.ts';
import { listSegments } from '../../record/segment.ts';
import type { CliIo } from '../io.ts';
import { runProgram } from '../program.ts';

let folder = '';
let state = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'verify-'));
  state = join(folder, 'sallyport');
});
afterEach(() => rm(folder, { recursive: true }));

async function run(...words: readonly string[]) {
  const result = { stdout: '', stderr: '', status: 0 };
  const add = (where: 'stdout' | 'stderr', text: string): void => {
    result[where] += text;
  };
  const io: CliIo = {
    stdout: { write: (text) => add('stdout', text) },
    stderr: { write: (text) => add('stderr', text) },
    env: { XDG_STATE_HOME: folder },
    cwd: folder,
    pid: process.pid,
    arguments: words,
    isTTY: false,
    signal: new AbortController().signal,
    onHangup: () => {},
    setExitCode: (code) => {
      result.status = code;
    },
  };
  await runProgram(io);
  return result;
}

/** What a gateway leaves in its state folder. Returns the path of the one segment. */
async function write(): Promise<string> {
  const recorder = createRecorder({ root: join(state, 'record'), pid: process.pid, signer: await recordKey(state) });
  recorder.onCheckpoint(
    createAnchors(join(state, 'anchors'), (error) => {
      throw error;
    }),
  );
  const stream = recorder.stream('shop', 'db');
  stream.append('command.received', '"session":"a","seq":1,"text":"SELECT 1"');
  stream.append('command.executed', '"session":"a","seq":1,"rows":1');
  await recorder.close();
  return (await listSegments(join(state, 'record'))).at(-1)?.path ?? '';
}

describe('verify', () => {
  it('says that a record is clean, and what that is worth with the keys and anchors of the folder itself', async () => {
    await write();
    const { stdout, status, stderr } = await run('verify');
    expect([status, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(
      /^shop\/db [0-9a-f]{12}: closed, 1 segment, 5 lines, signed to its end, 1 anchor\nclean: 1 stream, 5 lines/,
    );
    expect(stdout).toContain('The public key is the one in the folder itself');
    expect(stdout).toContain('The anchors are those of the folder itself');
  });

  it('takes a key and anchors from elsewhere, and then says nothing about them', async () => {
    const path = await write();
    await writeFile(join(folder, 'record.pub'), (await run('record', 'key')).stdout);
    await cp(join(state, 'anchors'), join(folder, 'kept'), { recursive: true });
    await rm(join(state, 'anchors'), { recursive: true });
    const { stdout, status } = await run('verify', 'sallyport', '--key', 'record.pub', '--anchors', 'kept');
    expect(status).toBe(0);
    expect(stdout.split('\n')).toHaveLength(3);
    const key = (await readFile(join(folder, 'record.pub'), 'utf8')).trim();
    expect((await run('verify', path, '--key', key)).status).toBe(0);
  });

  it('names the first bad line and ends with 1', async () => {
    const path = await write();
    const lines = await readFile(path, 'utf8');
    await writeFile(path, lines.replace('SELECT 1', 'SELECT 2'));
    const { stdout, status } = await run('verify');
    expect(status).toBe(1);
    expect(stdout).toMatch(
      /BAD sallyport\/record\/shop\/db\/[^:]+\.jsonl:3 \(n=2\): its bytes were changed.* \[altered\]\n/,
    );
    expect(stdout).toContain('bad: 1 of 1 stream');
    const json = await run('verify', '-o', 'json');
    const [report, summary] = json.stdout
      .trimEnd()
      .split('\n')
      .map((line): unknown => JSON.parse(line));
    expect(report).toMatchObject({
      stream: { state: 'bad', finding: { problem: 'altered', file: path, line: 3, n: 2 } },
    });
    expect(summary).toMatchObject({ summary: { bad: 1, streams: 1, keys: 'own', anchors: 'own' } });
    await writeFile(path, lines.slice(0, lines.lastIndexOf('{"v"')));
    const cut = await run('verify');
    expect([cut.status, cut.stdout]).toEqual([1, expect.stringContaining('[cut]')]);
  });

  it('ends with 2 when there is nothing to verify, or no such key', async () => {
    const missing = await run('verify', 'nowhere', '-o', 'json');
    expect([missing.status, JSON.parse(missing.stderr)]).toMatchObject([2, { error: { code: 'SPR008' } }]);
    await write();
    for (const key of ['nowhere.pub', 'sallyport.dev/record+00000000+AAAA']) {
      const { status, stderr } = await run('verify', '--key', key);
      expect([status, stderr]).toEqual([2, expect.stringContaining('SPR021')]);
    }
    expect((await run('verify', '--nonsense')).status).toBe(2);
    expect((await run('verify', '--anchors', 'nowhere')).status).toBe(2);
  });

  it('says so when it has no key and no anchors', async () => {
    const path = await write();
    const { stdout, status } = await run('verify', path);
    expect(status).toBe(0);
    expect(stdout).toContain('Signatures were not checked');
    expect(stdout).toContain('No anchors were given');
  });
});

describe('record key', () => {
  it('is private, stays the same, and prints its public half', async () => {
    const first = await run('record', 'key');
    expect(first.stdout).toMatch(/^sallyport\.dev\/record\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44}\n$/);
    expect((await run('record', 'key')).stdout).toBe(first.stdout);
    const key = first.stdout.trim();
    expect(JSON.parse((await run('record', 'key', '-o', 'json')).stdout)).toEqual({ current: key, keys: [key] });
    expect((await stat(join(state, 'record-key', 'key.pem'))).mode & 0o777).toBe(0o600);
  });

  it('is replaced, and what the one before it signed can still be verified', async () => {
    await write();
    const before = (await run('record', 'key')).stdout;
    const after = (await run('record', 'key', '--rotate')).stdout;
    expect(after.startsWith(before)).toBe(true);
    expect(after.split('\n')).toHaveLength(3);
    await write();
    expect((await run('verify')).status).toBe(0);
    const { status, stdout } = await run('verify', '--key', before.trim());
    expect(status).toBe(1);
    expect(stdout).toContain('[unknown-key]');
  });
});
