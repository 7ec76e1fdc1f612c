/** The archive's port for people: real tokens and certificates, real rights, read through `kubectl sallyport`. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { recordSessions } from '../../bench/sessions-ground.ts';
import { createRecorder } from '../../proxy/recording/writer.ts';
import { recordKey, recordPublicKeys } from '../../proxy/standalone/record-key.ts';
import { type CertificateAuthority, createAuthority } from '../support/certificates.ts';
import { type Program, startProgram } from '../support/program.ts';
import { describeWith } from '../support/requires.ts';
import { entryFile, repositoryRoot } from '../support/sallyport.ts';
import { type ControlPlane, controlPlaneNeeds, startControlPlane } from './control-plane.ts';
import { createPlugin, type Plugin } from './plugin-ground.ts';

const AUDITOR = { user: 'ada', groups: ['shop-auditors'] };
const OTHER = { user: 'eve', groups: [] };

describeWith(controlPlaneNeeds, 'the archive, read by people', () => {
  let cluster!: ControlPlane & AsyncDisposable;
  let plugin!: Plugin;
  let folder = '';
  let archive!: Program;
  let authority!: CertificateAuthority;
  let readingPort = 0;
  let auditor = '';
  let other = '';

  /** The way to the archive without a node: its address. */
  const way = () => ['--archive', `https://127.0.0.1:${readingPort}`, '--archive-ca', authority.caPath];
  const list = (kubeconfig: string, ...words: string[]) =>
    plugin.json<{ session: string; connection: string }>(kubeconfig, 'sessions', 'list', ...words, ...way());

  beforeAll(async () => {
    folder = await mkdtemp(path.join(os.tmpdir(), 'archive-reading-'));
    [cluster, plugin, authority] = await Promise.all([startControlPlane(), createPlugin(), createAuthority(folder)]);
    for (const namespace of ['shop', 'bank', 'sallyport-system'])
      await cluster.kubectl(['create', 'namespace', namespace]);
    await cluster.apply(await readFile(path.join(repositoryRoot, 'examples', 'auditors-rbac.yaml'), 'utf8'));
    await recordSome();
    await startArchive();
    auditor = await cluster.clientAs(AUDITOR.user, AUDITOR.groups);
    other = await cluster.clientAs(OTHER.user, OTHER.groups);
  }, 1_200_000);
  afterAll(async () => {
    await archive?.stop();
    await cluster?.stop();
    await plugin?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  async function recordSome(): Promise<void> {
    const state = path.join(folder, 'state');
    await mkdir(state, { mode: 0o700 });
    const recorder = createRecorder({
      root: path.join(state, 'record'),
      pid: process.pid,
      signer: await recordKey(state),
    });
    recordSessions(recorder.stream('shop', 'orders'), 20, 3);
    recordSessions(recorder.stream('shop', 'stock'), 5, 3);
    recordSessions(recorder.stream('bank', 'ledger'), 7, 3);
    await recorder.close();
    await writeFile(path.join(folder, 'record.pub'), (await recordPublicKeys(state)).join('\n'));
  }

  async function startArchive(): Promise<void> {
    const served = await authority.issue('sallyport-archive', ['DNS:sallyport-archive.sallyport-system.svc']);
    const configuration = path.join(folder, 'archive.yaml');
    const archiveServer = {
      address: '127.0.0.1:0',
      readingAddress: '127.0.0.1:0',
      namespacesFromNames: true,
      directory: path.join(folder, 'state'),
      certificateFile: served.certificatePath,
      keyFile: served.keyPath,
      clientCaFile: authority.caPath,
      minFreeBytes: 0,
    };
    await writeFile(
      configuration,
      stringify({ apiVersion: 'sallyport.dev/v1alpha1', kind: 'SallyportConfiguration', archiveServer }),
    );
    archive = startProgram(process.execPath, [
      ...[entryFile('source'), 'archive', 'run', '-c', configuration, '--kubeconfig', cluster.kubeconfig, '-o', 'json'],
    ]);
    await archive.printed('"event":"ready"');
    const ready = archive
      .output()
      .split('\n')
      .find((line) => line.includes('"event":"ready"'));
    readingPort = (JSON.parse(ready ?? '') as { readingPort: number }).readingPort;
  }

  test('whoever may audit one connection sees that one alone, by a client certificate of the cluster', async () => {
    const connections = async (...words: string[]) =>
      new Set((await list(auditor, ...words)).map(({ connection }) => connection));
    expect(await connections('-A')).toEqual(new Set(['shop/orders']));
    expect(await connections('-n', 'shop')).toEqual(new Set(['shop/orders']));
    expect(await connections('-n', 'bank')).toEqual(new Set());
    const refused = await plugin.run(auditor, 'sessions', 'list', '--connection', 'bank/ledger', ...way());
    expect(refused.status).toBe(1);
    expect(refused.stderr).toContain('SPH031: ada may not read the record of bank/ledger');
    expect(archive.output()).toContain('"username":"ada"');
  });

  test('who has no right sees nothing, and not whether there is something', async () => {
    expect(await list(other, '-A')).toEqual([]);
    const [session] = await list(auditor, '-A');
    for (const id of [session?.session ?? '', 'none-of-this-name']) {
      const shown = await plugin.run(other, 'sessions', 'show', id, ...way());
      expect(shown.status).toBe(1);
      expect(shown.stderr).toContain(`SPR009`);
    }
  });

  test('filters are applied where the record is, and a session is shown and replayed', async () => {
    const denied = await list(auditor, '-n', 'shop', '--denied', '--text', '/(?i)^delete/');
    expect(denied).toHaveLength(2);
    const id = denied[0]?.session ?? '';
    const shown = await plugin.run(auditor, 'sessions', 'show', id, ...way());
    expect(shown.stdout).toContain('no-deletes');
    const replayed = await plugin.run(auditor, 'sessions', 'replay', id, ...way());
    expect([replayed.status, replayed.stderr]).toEqual([0, '']);
    expect(replayed.stdout).toContain('DELETE');
    const refused = await plugin.run(auditor, 'sessions', 'list', '--text', '/(/', ...way());
    expect(refused.status).toBe(2);
  });

  test('the segments are verified where the person is, with a key that they bring; other people cannot', async () => {
    const key = ['--key', path.join(folder, 'record.pub')];
    const clean = await plugin.run(auditor, 'verify', '--connection', 'shop/orders', ...key, ...way());
    expect([clean.status, clean.stderr]).toEqual([0, '']);
    expect(clean.stdout).toContain('clean: 1 stream');
    const refused = await plugin.run(other, 'verify', '--connection', 'shop/orders', ...key, ...way());
    expect(refused.status).toBe(2);
    expect(refused.stderr).toContain('SPH031');
  });

  test('recorded commands are decided again under other policies', async () => {
    const policies = path.join(folder, 'policies');
    await mkdir(policies);
    const connection = {
      apiVersion: 'sallyport.dev/v1alpha1',
      kind: 'AccessConnection',
      metadata: { name: 'orders', namespace: 'shop' },
      spec: {
        protocol: 'Postgres',
        target: { host: 'db', port: 5432, database: 'shop' },
        credential: { secretRef: { name: 'db' } },
      },
    };
    await writeFile(path.join(policies, 'orders.yaml'), stringify(connection));
    const again = await plugin.run(auditor, 'replay', '--policies', policies, '--connection', 'shop/orders', ...way());
    expect(again.status).toBe(1);
    expect(again.stdout).toContain('58 of 60 commands would come out differently');
  });

  test('a token of the API server, or one for the archive alone, says who asks; one for Sallyport’s proxies says nothing', async () => {
    await cluster.kubectl(['-n', 'shop', 'create', 'serviceaccount', 'auditor']);
    const role = ['--role=orders-auditor', '--serviceaccount=shop:auditor'];
    await cluster.kubectl(['-n', 'shop', 'create', 'rolebinding', 'robot', ...role]);
    const token = async (...audience: string[]): Promise<string> =>
      (await cluster.kubectl(['-n', 'shop', 'create', 'token', 'auditor', ...audience])).trim();
    const withToken = async (text: string): Promise<string> => {
      const file = path.join(folder, `kubeconfig-${Math.random()}`);
      const config = {
        apiVersion: 'v1',
        kind: 'Config',
        'current-context': 'it',
        contexts: [{ name: 'it', context: { cluster: 'it', user: 'it', namespace: 'shop' } }],
        clusters: [{ name: 'it', cluster: { server: cluster.server, 'certificate-authority': cluster.caFile } }],
        users: [{ name: 'it', user: { token: text } }],
      };
      await writeFile(file, stringify(config));
      return file;
    };
    for (const good of [await token(), await token('--audience', 'sallyport-archive')])
      expect(await list(await withToken(good))).toHaveLength(20);
    for (const bad of [await token('--audience', 'sallyport'), 'nonsense', `${(await token()).slice(0, -4)}AAAA`]) {
      const refused = await plugin.run(await withToken(bad), 'sessions', 'list', ...way());
      expect(refused.status).toBe(1);
      expect(refused.stderr).toContain('SPH030');
      expect(refused.stderr + archive.output()).not.toContain(bad);
    }
  });

  test('a right that is taken away is gone within seconds', async () => {
    await cluster.kubectl(['-n', 'shop', 'delete', 'rolebinding', 'orders-auditor']);
    await expect.poll(async () => (await list(auditor, '-A')).length, { timeout: 60_000, interval: 500 }).toBe(0);
  });

  test('an archive of another installation is not believed', async () => {
    const foreign = path.join(folder, 'foreign');
    await mkdir(foreign);
    const { caPath } = await createAuthority(foreign, 'somebody else');
    const [, address = ''] = way();
    const refused = await plugin.run(auditor, 'sessions', 'list', '--archive', address, '--archive-ca', caPath);
    expect(refused.status).toBe(1);
    expect(refused.stderr).toContain('SPC061');
    const unknown = await plugin.run(auditor, 'sessions', 'list', '--archive', address);
    expect(unknown.stderr).toContain('SPC062');
  });
});
