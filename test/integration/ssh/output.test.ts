/** What comes back from programs: masked, recorded, and shown again. Stock ssh, a real server. */
import { createHash, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { RecordedEvent } from '../../../record/format.ts';
import type { ReplayStep } from '../../../record/replay/steps.ts';
import { listSegments } from '../../../record/segment.ts';
import { sallyportHere } from '../../support/in-process.ts';
import { describeWith } from '../../support/requires.ts';
import { type SshGround, startSshGround } from '../../support/ssh-ground.ts';
import { runClient, sshServer } from '../../support/sshd.ts';

const RESOURCES = `apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: agent}
spec:
  connections: {names: [masked, denied, plain]}
  subjects: [{serviceAccount: {name: agent}}]
  rules:
    - name: anything
      effect: Allow
      ssh: {operations: [Exec, Opaque, Shell], loginUsers: [deploy], commands: ["**", "sh **", "git-upload-pack **"]}
    - name: files
      effect: Allow
      ssh: {operations: [ReadFile, WriteFile], loginUsers: [deploy], paths: ["/**"]}
---
apiVersion: sallyport.dev/v1alpha1
kind: MaskingRule
metadata: {name: pii}
spec:
  connections: {names: [masked, denied]}
  content:
    - detectors: [Email, PrivateKey]
    - detectors: [CreditCard]
      transform: {partial: {keepLast: 4}}
    - pattern: CANARY-[0-9]+
---
apiVersion: sallyport.dev/v1alpha1
kind: MaskingRule
metadata: {name: no-binary}
spec:
  connections: {names: [denied]}
  content: [{detectors: [Email]}]
  binaryOutput: Deny
---
apiVersion: sallyport.dev/v1alpha1
kind: MaskingRule
metadata: {name: shadow}
spec:
  connections: {names: [masked]}
  files: [{paths: ["/**/shadow*"]}]
`;

const CANARIES = ['ana@example.com', '4111 1111 1111 1111', 'CANARY-4711', 'b3BlbnNzaC1rZXkt'];
const KEY = `-----BEGIN OPENSSH PRIVATE KEY-----\n${'b3BlbnNzaC1rZXkt\n'.repeat(3)}-----END OPENSSH PRIVATE KEY-----\n`;
const SECRETS = `mail ana@example.com\ncard 4111 1111 1111 1111, CANARY-4711\n${KEY}end\n`;
const SHOWN = 'mail ***\ncard ***************1111, ***\n***\nend\n';

describeWith(sshServer, 'output of programs over SSH', () => {
  let g: SshGround;
  let folder: string;
  let bannerFolder: string;
  beforeAll(async () => {
    bannerFolder = await mkdtemp(path.join(tmpdir(), 'sallyport-banner-'));
    const banner = path.join(bannerFolder, 'banner');
    await writeFile(banner, 'Ask ana@example.com before you change anything.\n');
    g = await startSshGround({
      sshd: { settings: [`Banner ${banner}`] },
      resources: { 'output.yaml': RESOURCES },
      connections: { masked: '', denied: '', plain: 'audit: {level: Full, maxResponseBytes: 4096}' },
    });
    folder = g.sshd.folder;
    await writeFile(path.join(folder, 'secrets.txt'), SECRETS, { mode: 0o644 });
  }, 60_000);
  afterAll(async () => {
    await g?.[Symbol.asyncDispose]();
    await rm(bannerFolder, { recursive: true, force: true });
  });

  const file = (name: string): string => path.join(folder, name);

  /** All of the record, as bytes. */
  async function everything(): Promise<string> {
    const segments = await listSegments(path.join(g.state, 'record'));
    return (await Promise.all(segments.map(({ path: at }) => readFile(at, 'utf8')))).join('');
  }

  async function ended(matches: (event: RecordedEvent) => boolean): Promise<RecordedEvent> {
    const events = await g.recorded(matches);
    return events.find(matches)!;
  }

  test('the banner of the target is shown, but not where something has to be masked', async () => {
    const options = ['LogLevel=INFO'];
    const said = async (connection: string) => (await g.ssh(['true'], { connection, options })).stderr;
    expect(await said('plain')).toContain('Ask ana@example.com before you change anything.');
    expect(await said('masked')).not.toContain('Ask');
  });

  test('is masked whatever pieces it comes in, on both streams, and the record holds no more than the client saw', async () => {
    const whole = await g.ssh([`cat ${file('secrets.txt')}`], { connection: 'masked' });
    expect(whole.stdout.toString()).toBe(SHOWN);
    const script = `while IFS= read -r -n1 -d '' c; do printf '%s' "$c"; [ $((RANDOM % 9)) = 0 ] && sleep 0.001; done < ${file('secrets.txt')}`;
    await writeFile(file('drip.sh'), `${script}\n`, { mode: 0o755 });
    const drip = await g.ssh([`bash ${file('drip.sh')}`], { connection: 'plain' });
    expect(drip.stdout.toString()).toBe(SECRETS);
    await writeFile(
      file('drip-masked'),
      `#!/bin/bash\n${script}\nprintf 'bob@' >&2; sleep 0.05; printf 'example.com' >&2\n`,
      { mode: 0o755 },
    );
    const masked = await g.ssh([file('drip-masked')], { connection: 'masked' });
    expect([masked.stdout.toString(), masked.stderr]).toEqual([SHOWN, '***']);
    await g.recorded((event) => event.e === 'command.executed' && Number(event['masked'] && 1) === 1);
    const masks = (await g.recorded()).filter(
      ({ e, masked: counts }) => e === 'command.executed' && counts !== undefined,
    );
    expect(masks.map(({ masked: counts }) => counts)).toEqual([
      { Email: 1, CreditCard: 1, 'default/pii': 1, PrivateKey: 1 },
      { Email: 2, CreditCard: 1, 'default/pii': 1, PrivateKey: 1 },
    ]);
    const segments = await listSegments(path.join(g.state, 'record'), { namespace: 'default', name: 'masked' });
    const record = (await Promise.all(segments.map(({ path: at }) => readFile(at, 'utf8')))).join('');
    expect(record).toContain('card ***************1111');
    for (const canary of CANARIES) expect(record).not.toContain(canary);
  });

  test('that is binary passes to the byte, hides no text, or ends the command where a rule says so', async () => {
    const every = Buffer.from(Array.from({ length: 256 }, (_, value) => value));
    const bytes = Buffer.concat([every, randomBytes(1024 * 1024)]);
    await writeFile(file('random.bin'), bytes, { mode: 0o644 });
    const passed = await g.ssh([`cat ${file('random.bin')}`], { connection: 'masked' });
    expect(passed.stdout.equals(bytes)).toBe(true);
    await writeFile(file('nul.bin'), `\0\0${SECRETS}`, { mode: 0o644 });
    const behind = await g.ssh([`cat ${file('nul.bin')}`], { connection: 'masked' });
    expect(behind.stdout.toString()).toBe(`\0\0${SHOWN}`);
    const ended126 = await g.ssh([`cat ${file('secrets.txt')} ${file('random.bin')}`], { connection: 'denied' });
    expect(ended126.status).toBe(126);
    expect(ended126.stdout.toString()).toBe(SHOWN);
    expect(ended126.stderr).toContain('SPM008');
  });

  test.each([
    ['a shell', [], 'what is typed into a shell is not judged'],
    ['git', ["git-upload-pack '/srv/repo.git'"], 'nothing can be masked'],
    ['rsync', ['rsync --server --sender -logDtpre.iLsfxC . /srv/'], 'Masking rules protect'],
  ])('%s is not run where nothing could be masked in it', async (_, command, words) => {
    const refused = await g.ssh(command, { connection: 'masked' });
    expect(refused.status).toBe(126);
    expect(refused.stderr).toContain(words);
    expect(refused.stderr).toMatch(/default\/(pii|shadow)/);
  });

  test('what cat would mask, sftp masks too, legacy scp does not pass on, and protected files are not read', async () => {
    await writeFile(file('shadow.txt'), SECRETS, { mode: 0o644 });
    const sftp = (name: string) =>
      runClient('sftp', [...g.parameters({ connection: 'masked' }), '-b', '-', '127.0.0.1'], {
        input: `get ${file(name)} ${file(`got-${name}`)}\n`,
      });
    expect((await sftp('secrets.txt')).status).toBe(0);
    expect(await readFile(file('got-secrets.txt'), 'utf8')).toBe(SHOWN);
    expect((await sftp('shadow.txt')).status).not.toBe(0);
    const closed = await ended(({ e, masked: counts }) => e === 'file.closed' && counts !== undefined);
    expect(closed['masked']).toMatchObject({ Email: 1, CreditCard: 1, 'default/pii': 1, PrivateKey: 1 });
    const denied = await ended(({ e }) => e === 'file.denied');
    expect(JSON.stringify(denied)).toContain('default/shadow');
    const copied = await runClient('scp', [
      ...g.parameters({ connection: 'masked' }),
      ...['-O', `127.0.0.1:${file('secrets.txt')}`, file('copied.txt')],
    ]);
    // It announces a length before the contents, which masked ones may not have.
    expect(copied.status).not.toBe(0);
    expect(existsSync(file('copied.txt')) ? await readFile(file('copied.txt'), 'utf8') : '').not.toContain('ana@');
  });

  test('beyond what is recorded shows its length and digest; input shows no more', async () => {
    const input = randomBytes(100_000);
    const result = await g.ssh(['tee /dev/stderr'], { connection: 'plain', input });
    expect(result.stdout.equals(input)).toBe(true);
    const found = await ended(
      ({ e, stdin }) => e === 'command.executed' && (stdin as { bytes?: number })?.bytes === 100_000,
    );
    const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
    expect(found).toMatchObject({ exit: 0, stdin: { bytes: 100_000, sha256: sha256(input) } });
    const { stdout, stderr } = found as unknown as Record<
      'stdout' | 'stderr',
      { bytes: number; recorded?: number; sha256?: string }
    >;
    expect([stdout.bytes, stderr.bytes]).toEqual([100_000, 100_000]);
    expect((stdout.recorded ?? 0) + (stderr.recorded ?? 0)).toBe(4096);
    expect(stderr.sha256).toBe(sha256(input));
    const secret = await g.ssh(['cat > /dev/null'], { connection: 'plain', input: 'typed-password\n' });
    expect(secret.status).toBe(0);
    await ended(({ e, stdin }) => e === 'command.executed' && (stdin as { bytes?: number })?.bytes === 15);
    expect(await everything()).not.toContain('typed-password');
  });

  test('a terminal is recorded as asciicast without what was typed, and played again', async () => {
    const client = g.start([], { connection: 'plain', flags: ['-tt'] });
    await client.says(/\$|#/);
    client.child.stdin?.write('stty -echo; PS1=; printf "\\033]0;owned\\007ready\\n"\n');
    await client.says(/owned.ready/);
    client.child.stdin?.write('read x; printf "got "; printf %s "$x" | wc -c\n');
    client.child.stdin?.write('s3cret-typed\n');
    await client.says(/got 12/);
    client.child.stdin?.write('exit 3\n');
    expect((await client.ended).status).toBe(3);
    const { session, seq } = await ended(({ e, exit }) => e === 'command.executed' && exit === 3);
    const id = String(session);
    expect(await everything()).not.toContain('s3cret-typed');

    const run = async (...parameters: string[]): Promise<string> => {
      const result = await sallyportHere(['sessions', ...parameters, '--state', g.state]);
      expect(result.stderr).toBe('');
      return result.stdout;
    };
    const steps = (await run('replay', id, '-o', 'json'))
      .trim()
      .split('\n')
      .slice(1)
      .map((line) => JSON.parse(line) as ReplayStep);
    const shown = steps
      .flatMap((step) => (step.kind === 'output' && typeof step.data === 'string' ? [step.data] : []))
      .join('');
    expect(shown).toContain('\u001b]0;owned\u0007ready\r\n');
    const text = await run('replay', id);
    expect(text).toContain('┊ ready\n');
    expect(text).toContain('┊ got 12\n');
    expect(text).toContain('exit 3');

    for (const version of [2, 3]) {
      const cast = (await run('replay', id, '--export', version === 2 ? 'asciicast' : 'asciicast-v3'))
        .trim()
        .split('\n');
      const header = JSON.parse(cast[0]!) as Record<string, unknown>;
      expect(header['version']).toBe(version);
      const events = cast.slice(1).map((line) => JSON.parse(line) as [number, string, string]);
      expect(events.every(([time, code]) => time >= 0 && 'orx'.includes(code))).toBe(true);
      const output = events.map(([, code, data]) => (code === 'o' ? data : '')).join('');
      expect(output).toContain('ready\r\n');
      expect(output).not.toContain('\u001b]');
      expect(events.some(([, code, data]) => code === 'x' && data === '3')).toBe(version === 3);
    }

    const played = await sallyportHere(
      ['sessions', 'replay', id, '--state', g.state, '--speed', '1000', '--terminal', String(seq)],
      {
        isTTY: true,
        env: { NO_COLOR: '1' },
      },
    );
    expect(played.stdout).toContain(`── terminal of #${String(seq)}`);
    expect(played.stdout).toContain('ready\r\n');
    expect(played.stdout).not.toContain('\u001b]');
    expect(await run('list', '--protocol', 'SSH')).toContain(id);
    expect(await run('list', '--protocol', 'Postgres')).not.toContain(id);
    expect(await run('show', id)).toMatch(/#\d+ .*executed.*exit 3/);
  });
});
