import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { Command } from 'commander';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createDevelopmentVerifier, developmentKey } from '../../proxy/identity/development.ts';
import { createTokenVerifier } from '../../proxy/identity/verifier.ts';
import type { CliIo } from '../io.ts';
import * as connect from './connect.ts';
import * as token from './token.ts';

let folder = '';
let stdout = '';
let exitCode: number | undefined;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sallyport-connect-'));
  stdout = '';
  exitCode = undefined;
});
afterEach(() => rm(folder, { recursive: true }));

const signal = AbortSignal.timeout(60_000);
/** Runs a command line; `env` is the whole environment that it sees. */
async function sallyport(env: Record<string, string>, ...words: string[]): Promise<void> {
  const io: CliIo = {
    stdout: { write: (text) => (stdout += text) },
    stderr: { write: () => true },
    env,
    cwd: folder,
    pid: 1,
    arguments: words,
    isTTY: false,
    signal,
    onHangup: () => {},
    setExitCode: (code) => {
      exitCode = code;
    },
  };
  const program = new Command().exitOverride().configureOutput({ writeErr: () => {} });
  token.register(program, io);
  connect.register(program, io);
  // Commands made before exitOverride inherit nothing.
  const override = (command: Command): void => {
    command.exitOverride().configureOutput({ writeErr: () => {} });
    command.commands.forEach(override);
  };
  override(program);
  await program.parseAsync(words, { from: 'user' });
}

const verify = async (text: string) => {
  const key = await developmentKey(join(folder, 'state'));
  return createTokenVerifier({ issuers: [createDevelopmentVerifier(key, Date.now)], now: Date.now }).verify(
    text,
    signal,
    '::1',
  );
};

describe('token create', () => {
  test('prints the token alone, and the gateway on the same state folder accepts it', async () => {
    const words = [
      '--as',
      'okta:ada',
      '--group',
      'team:data',
      '--group',
      'team:ops',
      '--claim',
      'job=a=b',
      '--claim',
      'x=1',
      '--claim',
      'x=2',
    ];
    await sallyport({}, 'token', 'create', ...words, '--ttl', '1h30m', '--state', 'state');
    expect(stdout).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+\n$/);
    const { subject, tokenLifetimeSeconds } = await verify(stdout.trim());
    expect(subject).toMatchObject({
      username: 'okta:ada',
      groups: ['team:data', 'team:ops'],
      claims: { job: 'a=b', x: ['1', '2'] },
    });
    expect(tokenLifetimeSeconds).toBe(5_400);
  });

  test('with -o json says when it ends', async () => {
    await sallyport({}, 'token', 'create', '--as', 'okta:ada', '--state', 'state', '-o', 'json');
    const printed = JSON.parse(stdout) as { token: string; expiresAt: string };
    expect(new Date(printed.expiresAt)).toEqual((await verify(printed.token)).sessionExpiresAt);
  });

  test.each([
    ['no subject', []],
    ['a time without a unit', ['--as', 'a:b', '--ttl', '10']],
    ['a claim without a value', ['--as', 'a:b', '--claim', 'job']],
    ['another format', ['--as', 'a:b', '-o', 'yaml']],
  ])('refuses %s as a usage error', async (_name, words) => {
    await expect(sallyport({}, 'token', 'create', ...words)).rejects.toMatchObject({
      name: /CommanderError|InvalidArgumentError/,
    });
    expect(stdout).toBe('');
  });

  test.each([
    ['SPI019', ['--as', 'reporter']],
    ['SPI021', ['--as', 'a:b', '--group', 'data']],
    ['SPI022', ['--as', 'a:b', '--claim', 'exp=9']],
    ['SPI023', ['--as', 'a:b', '--ttl', '25h']],
  ])('refuses with %s: %o', async (code, words) => {
    await expect(sallyport({}, 'token', 'create', ...words, '--state', 'state')).rejects.toMatchObject({ code });
  });
});

describe('connect', () => {
  let gateway: net.Server;
  let port = 0;
  beforeEach(async () => {
    gateway = net.createServer((socket) => socket.destroy()).listen(0, '127.0.0.1');
    await once(gateway, 'listening');
    port = (gateway.address() as net.AddressInfo).port;
  });
  afterEach(() => {
    gateway.close();
  });

  async function running(more: Record<string, unknown> = {}): Promise<void> {
    const base = { namespace: 'shop', address: '127.0.0.1', port };
    const connections = [
      { ...base, name: 'db', protocol: 'Postgres', database: 'shop' },
      { ...base, name: 'host', protocol: 'SSH', user: 'deploy' },
      { ...base, name: 'api', protocol: 'Gopher' },
      { ...base, name: 'cluster', protocol: 'Kubernetes' },
    ];
    await mkdir(join(folder, 'state', 'run'), { recursive: true });
    const endpoints = { connections, tls: { caFile: '/state/tls/ca.crt' }, plaintext: false, ...more };
    await writeFile(join(folder, 'state', 'run', 'endpoints.json'), JSON.stringify(endpoints));
  }
  const words = ['shop/db', '--as', 'system:serviceaccount:shop:reporter', '--state', 'state'];

  test('starts psql with everything set and nothing of the environment in the way', async () => {
    await running();
    await mkdir(join(folder, 'bin'));
    const psql = join(folder, 'bin', 'psql');
    await writeFile(psql, '#!/bin/sh\nenv > "$OUT"\nprintf "%s|" "$@" >> "$OUT"\nexit 3\n');
    await chmod(psql, 0o755);
    const env = {
      PATH: [join(folder, 'bin'), '/usr/bin', '/bin'].join(delimiter),
      OUT: join(folder, 'out'),
      PGHOSTADDR: '192.0.2.1',
      PGSERVICE: 'elsewhere',
      PGHOST: 'elsewhere',
      PGOPTIONS: '-c statement_timeout=1s',
    };
    await sallyport(env, 'connect', ...words, '--', '-c', 'SELECT 1', '-tA');
    const seen = await readFile(join(folder, 'out'), 'utf8');
    for (const line of [
      'PGHOST=127.0.0.1',
      `PGPORT=${port}`,
      'PGDATABASE=shop',
      'PGSSLMODE=verify-full',
      'PGSSLROOTCERT=/state/tls/ca.crt',
      'PGUSER=reporter',
      'PGOPTIONS=-c statement_timeout=1s',
    ]) {
      expect(seen).toContain(`${line}\n`);
    }
    expect(seen).not.toMatch(/PGHOSTADDR|PGSERVICE/);
    expect(seen.endsWith('-c|SELECT 1|-tA|')).toBe(true);
    const given = /^PGPASSWORD=(.*)$/m.exec(seen)?.[1] ?? '';
    expect((await verify(given)).subject.serviceAccount).toEqual({ namespace: 'shop', name: 'reporter' });
    expect(exitCode).toBe(1);
  });

  test('prints the parameters with -o json, without TLS where the gateway has none', async () => {
    await running({ plaintext: true });
    await sallyport({}, 'connect', ...words, '-o', 'json');
    expect(JSON.parse(stdout)).toMatchObject({ PGHOST: '127.0.0.1', PGSSLMODE: 'disable' });
    expect(stdout).not.toContain('PGSSLROOTCERT');
  });

  test('starts ssh with the gateway as the only host that is trusted, and answers its questions in parts', async () => {
    await running();
    await mkdir(join(folder, 'bin'));
    await mkdir(join(folder, 'state', 'ssh'));
    const ssh = join(folder, 'bin', 'ssh');
    const ask = (question: string): string => `printf '%s;' "$("$SSH_ASKPASS" '${question}')" >> "$OUT"`;
    const script = [
      '#!/bin/sh',
      'printf "%s;" "$@" > "$OUT"',
      ask('(deploy@127.0.0.1) Token: '),
      ask('(deploy@127.0.0.1) Rest of the token, from character 1024: '),
      'exit 126',
    ];
    await writeFile(ssh, `${script.join('\n')}\n`);
    await chmod(ssh, 0o755);
    const env = { PATH: [join(folder, 'bin'), '/usr/bin', '/bin'].join(delimiter), OUT: join(folder, 'out') };
    const long = ['--claim', `padding=${'x'.repeat(1200)}`];
    await sallyport(
      env,
      'connect',
      'shop/host',
      '--as',
      'okta:ada',
      ...long,
      '--state',
      'state',
      '--',
      '-T',
      'id',
      '-u',
    );
    const seen = (await readFile(join(folder, 'out'), 'utf8')).split(';');
    const at = seen.indexOf('deploy@127.0.0.1');
    expect(seen.slice(at, at + 4)).toEqual(['deploy@127.0.0.1', '-T', 'id', '-u']);
    const knownHosts = join(folder, 'state', 'ssh', 'known_hosts');
    for (const option of [
      `UserKnownHostsFile=${knownHosts}`,
      'StrictHostKeyChecking=yes',
      `Port=${port}`,
      'ControlPath=none',
    ])
      expect(seen).toContain(option);
    const [first = '', rest = ''] = seen.slice(at + 4);
    expect(first.length).toBe(1023);
    expect((await verify(first + rest)).subject.username).toBe('okta:ada');
    // That of ssh: 126 is a denial.
    expect(exitCode).toBe(126);
  });

  test('prints what ssh and other programs need', async () => {
    await running();
    const as = ['shop/host', '--as', 'okta:ada', '--state', 'state', '--user', 'ops'];
    await sallyport({}, 'connect', ...as, '-o', 'json');
    expect(JSON.parse(stdout)).toMatchObject({ host: '127.0.0.1', port, user: 'ops' });
    stdout = '';
    await sallyport({}, 'connect', ...as, '-o', 'config');
    expect(stdout).toMatch(/^Host shop-host\n {2}HostName 127\.0\.0\.1\n {2}User ops\n/);
    expect(stdout).not.toMatch(/[\w-]+\.[\w-]+\.[\w-]{20}/);
  });

  test('runs kubectl with a kubeconfig that is there for as long as it runs', async () => {
    await writeFile(join(folder, 'ca.crt'), 'authority');
    await running({ tls: { caFile: join(folder, 'ca.crt') } });
    const bin = join(folder, 'bin');
    await mkdir(bin);
    await writeFile(
      join(bin, 'kubectl'),
      `#!/bin/sh\ncp "$KUBECONFIG" '${folder}/seen'\necho "$KUBECONFIG" >'${folder}/path'\nexit 3\n`,
    );
    await chmod(join(bin, 'kubectl'), 0o700);
    const as = ['shop/cluster', '--as', 'okta:ada', '--state', 'state'];
    await sallyport({ PATH: `${bin}${delimiter}${process.env.PATH}` }, 'connect', ...as, '--', 'get', 'pods');
    expect(exitCode).toBe(3);
    const config = JSON.parse(await readFile(join(folder, 'seen'), 'utf8')) as {
      clusters: { cluster: { server: string } }[];
      users: { user: { token: string } }[];
    };
    expect(config.clusters[0]?.cluster.server).toBe(`https://127.0.0.1:${port}`);
    expect((await verify(config.users[0]?.user.token ?? '')).subject.username).toBe('okta:ada');
    await expect(readFile((await readFile(join(folder, 'path'), 'utf8')).trim())).rejects.toMatchObject({
      code: 'ENOENT',
    });
    await sallyport({}, 'connect', ...as, '-o', 'config');
    expect(JSON.parse(stdout)).toMatchObject({ kind: 'Config', 'current-context': 'shop-cluster' });
    await expect(sallyport({ PATH: '/nonexistent' }, 'connect', ...as)).rejects.toMatchObject({ code: 'SPC028' });
  });

  test('says what is missing', async () => {
    await expect(sallyport({}, 'connect', ...words)).rejects.toMatchObject({ code: 'SPC020' });
    await running();
    const as = ['--as', 'a:b', '--state', 'state'];
    await expect(sallyport({}, 'connect', 'shop/other', ...as)).rejects.toMatchObject({
      code: 'SPC021',
      message: expect.stringContaining('shop/db'),
    });
    await expect(sallyport({}, 'connect', 'shop/api', ...as)).rejects.toMatchObject({ code: 'SPC022' });
    await expect(sallyport({}, 'connect', 'shop/db', ...as, '-o', 'config')).rejects.toMatchObject({ code: 'SPC026' });
    await mkdir(join(folder, 'state', 'ssh'));
    await expect(sallyport({ PATH: '/nonexistent' }, 'connect', 'shop/host', ...as)).rejects.toMatchObject({
      code: 'SPC024',
    });
    await expect(sallyport({ PATH: '/nonexistent' }, 'connect', ...words)).rejects.toMatchObject({ code: 'SPC023' });
    gateway.close();
    await once(gateway, 'close');
    await expect(sallyport({}, 'connect', ...words)).rejects.toMatchObject({ code: 'SPC020' });
  });
});
