import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { loadKubeConfig } from './access.ts';

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kubeconfig-'));
});
afterEach(() => rm(folder, { recursive: true }));

const base64 = (text: string): string => Buffer.from(text).toString('base64');

/** A kubeconfig with one of each, changed as a test likes. */
async function write(
  name: string,
  { cluster = {}, user = {}, context = {} }: { cluster?: object; user?: object; context?: object } = {},
): Promise<string> {
  const file = join(folder, name);
  const document = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'c', cluster: { server: 'https://api.example:6443', ...cluster } }],
    users: [{ name: 'u', user }],
    contexts: [{ name: 'x', context: { cluster: 'c', user: 'u', ...context } }],
    'current-context': 'x',
  };
  await writeFile(file, stringify(document));
  return file;
}

const load = (kubeconfig: string, more: object = {}) => loadKubeConfig({ kubeconfig, env: {}, ...more });

describe('a kubeconfig', () => {
  it('says where the server is, whom to trust and who we are', async () => {
    await writeFile(join(folder, 'ca.pem'), 'authority');
    const file = await write('config', {
      cluster: { 'certificate-authority': 'ca.pem', 'tls-server-name': 'kubernetes' },
      user: { 'client-certificate-data': base64('certificate'), 'client-key-data': base64('key') },
      context: { namespace: 'shop' },
    });
    const access = await load(file);
    expect(access.server.href).toBe('https://api.example:6443/');
    expect(access.namespace).toBe('shop');
    expect(await access.credential(false)).toEqual({
      headers: {},
      tls: { ca: 'authority', serverName: 'kubernetes', insecure: false, cert: 'certificate', key: 'key' },
    });
  });

  it('takes another context by name', async () => {
    const file = await write('config');
    await expect(load(file, { context: 'y' })).rejects.toMatchObject({ code: 'SPB015' });
    await load(file, { context: 'x' });
  });

  it('reads a token file again, at once when the token was refused', async () => {
    await writeFile(join(folder, 'token'), 'first\n');
    const access = await load(await write('config', { user: { tokenFile: 'token' } }));
    expect((await access.credential(false)).headers).toEqual({ Authorization: 'Bearer first' });
    await writeFile(join(folder, 'token'), 'second');
    expect((await access.credential(false)).headers).toEqual({ Authorization: 'Bearer first' });
    expect((await access.credential(true)).headers).toEqual({ Authorization: 'Bearer second' });
  });

  it('acts as somebody else', async () => {
    const access = await load(
      await write('config', { user: { token: 't', as: 'jane', 'as-uid': '7', 'as-groups': ['a', 'b'] } }),
    );
    expect((await access.credential(false)).headers).toEqual({
      Authorization: 'Bearer t',
      'Impersonate-User': 'jane',
      'Impersonate-Uid': '7',
      'Impersonate-Group': ['a', 'b'],
    });
  });

  it('is merged from several files, the first of a name counts', async () => {
    const first = await write('first', {
      cluster: { server: 'https://first.example' },
      context: { cluster: 'c', user: 'v' },
    });
    const second = join(folder, 'second');
    await writeFile(
      second,
      stringify({
        users: [{ name: 'v', user: { token: 'of v' } }],
        clusters: [{ name: 'c', cluster: { server: 'https://second.example' } }],
      }),
    );
    const access = await loadKubeConfig({ env: { KUBECONFIG: `${first}:${join(folder, 'none')}:${second}` } });
    expect(access.server.host).toBe('first.example');
    expect((await access.credential(false)).headers).toEqual({ Authorization: 'Bearer of v' });
  });

  it('is found at home', async () => {
    await mkdir(join(folder, '.kube'));
    await write('.kube/config');
    expect((await loadKubeConfig({ env: { HOME: folder } })).server.host).toBe('api.example:6443');
    await expect(loadKubeConfig({ env: { HOME: join(folder, 'nobody') } })).rejects.toMatchObject({ code: 'SPB017' });
    await expect(loadKubeConfig({ env: {} })).rejects.toMatchObject({ code: 'SPB017' });
  });

  it.each<[string, Parameters<typeof write>[1]]>([
    ['proxy-url', { cluster: { 'proxy-url': 'http://proxy' } }],
    ['auth-provider', { user: { 'auth-provider': { name: 'gcp' } } }],
    ['username', { user: { username: 'a', password: 'b' } }],
    ['as-user-extra', { user: { as: 'a', 'as-user-extra': {} } }],
    ['as-groups and as-uid need as', { user: { 'as-groups': ['a'] } }],
    ['needs its key', { user: { 'client-certificate-data': base64('x') } }],
    ['no server', { cluster: { server: 'nonsense' } }],
    ['not https', { cluster: { server: 'ftp://x' } }],
    ['without TLS', { cluster: { server: 'http://api.example' } }],
    ['no user', { context: { user: 'nobody' } }],
    ['no cluster', { context: { cluster: 'nowhere' } }],
    ['apiVersion', { user: { exec: { command: 'x', apiVersion: 'client.authentication.k8s.io/v1alpha1' } } }],
    ['no command', { user: { exec: { apiVersion: 'client.authentication.k8s.io/v1' } } }],
    [
      'ask a person',
      { user: { exec: { command: 'x', apiVersion: 'client.authentication.k8s.io/v1', interactiveMode: 'Always' } } },
    ],
  ])('is refused by name for %s', async (words, parts) => {
    const refused = load(await write('config', parts));
    await expect(refused).rejects.toMatchObject({ code: 'SPB015', message: expect.stringContaining(words) });
  });

  it('that cannot be read is not quoted', async () => {
    const file = join(folder, 'broken');
    await writeFile(file, 'users:\n- name: u\n  user: {token: hunter2\n');
    await expect(load(file)).rejects.toMatchObject({ code: 'SPB015', message: expect.not.stringContaining('hunter2') });
    await expect(load(join(folder, 'none'))).rejects.toMatchObject({ code: 'SPB015' });
  });
});

describe('a credential plugin', () => {
  async function plugin(script: string, more: object = {}): Promise<string> {
    const file = join(folder, 'plugin.sh');
    await writeFile(file, `#!/bin/sh\n${script}\n`);
    await chmod(file, 0o755);
    const exec = { command: './plugin.sh', apiVersion: 'client.authentication.k8s.io/v1', ...more };
    return write('config', { cluster: { 'certificate-authority-data': base64('ca') }, user: { exec } });
  }
  const credential = (status: string): string =>
    `echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":${status}}'`;
  const env = { PATH: '/usr/bin:/bin', HOME: '/nowhere' };

  it('is run once, and again when its token was refused or expires', async () => {
    const count = 'echo x >> count; n=$(wc -l < count | tr -d " ")';
    const file = await plugin(
      `cd ${folder}; ${count}; echo "{\\"apiVersion\\":\\"client.authentication.k8s.io/v1\\",\\"kind\\":\\"ExecCredential\\",\\"status\\":{\\"token\\":\\"t$n\\",\\"expirationTimestamp\\":\\"$WHEN\\"}}"`,
      { env: [{ name: 'WHEN', value: '2999-01-01T00:00:00Z' }] },
    );
    const access = await load(file, { env });
    const bearers = await Promise.all([access.credential(false), access.credential(false)]);
    expect(bearers.map(({ headers }) => headers['Authorization'])).toEqual(['Bearer t1', 'Bearer t1']);
    expect((await access.credential(true)).headers).toEqual({ Authorization: 'Bearer t2' });
    expect((await access.credential(false)).headers).toEqual({ Authorization: 'Bearer t2' });
  });

  it('may give a client certificate', async () => {
    const file = await plugin(credential('{"clientCertificateData":"cert","clientKeyData":"key"}'));
    const { tls, headers } = await (await load(file, { env })).credential(false);
    expect(tls).toMatchObject({ cert: 'cert', key: 'key', ca: 'ca' });
    expect(headers).toEqual({});
  });

  it('is told of the cluster when it wants to be', async () => {
    const file = await plugin(
      `echo "$KUBERNETES_EXEC_INFO" | grep -q '"server":"https://api.example:6443/"' || exit 3; echo "$KUBERNETES_EXEC_INFO" | grep -q '"certificate-authority-data":"${base64('ca')}"' || exit 4; ${credential('{"token":"t"}')}`,
      { provideClusterInfo: true },
    );
    expect((await (await load(file, { env })).credential(false)).headers).toEqual({ Authorization: 'Bearer t' });
  });

  it.each<[string, string]>([
    ['ends with an error', 'echo hunter2 >&2; exit 1'],
    ['prints no JSON', 'echo hunter2'],
    ['prints something else', 'echo "{}"'],
    ['prints an empty credential', credential('{}')],
    ['prints half a certificate', credential('{"clientCertificateData":"hunter2"}')],
    ['prints no time', credential('{"token":"hunter2","expirationTimestamp":"soon"}')],
  ])('that %s is an error that shows nothing of it', async (_, script) => {
    const access = await load(await plugin(script), { env });
    const refused = access.credential(false);
    await expect(refused).rejects.toMatchObject({ code: 'SPB016', message: expect.not.stringContaining('hunter2') });
  });
});

describe('the service account of a pod', () => {
  const env = { KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '6443', HOME: '/nowhere' };

  it('is used, read again, and comes before files', async () => {
    await writeFile(join(folder, 'token'), 'first');
    await writeFile(join(folder, 'ca.crt'), 'authority');
    await writeFile(join(folder, 'namespace'), 'shop');
    let time = 0;
    const access = await loadKubeConfig({
      env: { ...env, KUBECONFIG: await write('config') },
      mount: folder,
      now: () => time,
    });
    expect(access.server.href).toBe('https://[fd00::1]:6443/');
    expect(access.namespace).toBe('shop');
    await writeFile(join(folder, 'token'), 'second');
    expect((await access.credential(false)).headers).toEqual({ Authorization: 'Bearer first' });
    time = 11_000;
    expect(await access.credential(false)).toEqual({
      headers: { Authorization: 'Bearer second' },
      tls: { ca: 'authority' },
    });
    // One that is gone for a moment is used on; when it was refused that would be of no use.
    await rm(join(folder, 'token'));
    time = 22_000;
    expect((await access.credential(false)).headers).toEqual({ Authorization: 'Bearer second' });
    await expect(access.credential(true)).rejects.toMatchObject({ code: 'SPB017' });
  });

  it('comes after files for tools', async () => {
    const config = await write('config');
    const access = await loadKubeConfig({ env: { ...env, KUBECONFIG: config }, prefer: 'files', mount: folder });
    expect(access.server.host).toBe('api.example:6443');
  });

  it('must be mounted', async () => {
    await expect(loadKubeConfig({ env, mount: folder })).rejects.toMatchObject({ code: 'SPB017' });
  });
});
