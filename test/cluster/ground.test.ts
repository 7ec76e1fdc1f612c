/** The ground itself: what other tests rely on, and that it leaves nothing behind. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { describeWith } from '../support/requires.ts';
import { CommandError, type ControlPlane, controlPlaneNeeds, startControlPlane } from './control-plane.ts';
import { isAlive, recordedComponents } from './processes.ts';
import { helm } from './programs.ts';

/** Starts a cluster as another process would, and tells where. */
const RUNNER = `
import { startControlPlane } from ${JSON.stringify(new URL('./control-plane.ts', import.meta.url).href)};
const { folder } = await startControlPlane();
console.log(folder);
setInterval(() => undefined, 60_000);
`;

describeWith(controlPlaneNeeds, 'the control plane of tests', () => {
  let cluster!: ControlPlane & AsyncDisposable;
  beforeAll(async () => {
    cluster = await startControlPlane({ audit: 'Metadata' });
  }, 1_200_000);
  afterAll(() => cluster?.stop());

  test('knows users of every kind by their certificate', async () => {
    const user = { user: 'alice@example.com', groups: ['team/shop', 'on-call'] };
    const review = JSON.parse(await cluster.kubectl(['auth', 'whoami', '-o', 'json'], { as: user }));
    expect(review.status.userInfo).toMatchObject({
      username: 'alice@example.com',
      groups: ['team/shop', 'on-call', 'system:authenticated'],
    });
    const refused = cluster.kubectl(['get', 'secrets'], { as: user });
    await expect(refused).rejects.toThrow(/User "alice@example\.com" cannot list resource "secrets"/);
    await expect(refused).rejects.toBeInstanceOf(CommandError);
  });

  test('serves the CRDs', async () => {
    await cluster.applyCrds();
    const listed = await cluster.kubectl(['get', 'accessconnections', '-A', '-o', 'json']);
    expect(JSON.parse(listed)).toMatchObject({ kind: 'List', items: [] });
  });

  test('collects what has lost its owner, as every cluster does', async () => {
    const owner = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'owner', namespace: 'default' } };
    await cluster.apply(JSON.stringify(owner));
    const { metadata } = await cluster.get<{ metadata: { uid: string } }>('configmap', 'owner', 'default');
    const owned = { apiVersion: 'v1', kind: 'ConfigMap', name: 'owner', uid: metadata.uid };
    await cluster.apply(
      JSON.stringify({ ...owner, metadata: { name: 'owned', namespace: 'default', ownerReferences: [owned] } }),
    );
    await cluster.kubectl(['delete', 'configmap', 'owner']);
    await cluster.kubectl(['wait', '--for=delete', '--timeout=60s', 'configmap/owned']);
  });

  test('goes back to an older state with a snapshot of etcd', async () => {
    const snapshot = await cluster.etcd.snapshot();
    await cluster.kubectl(['create', 'namespace', 'later']);
    await cluster.etcd.restore(snapshot);
    await expect(cluster.kubectl(['get', 'namespace', 'later'])).rejects.toThrow(/not found/);
    await cluster.kubectl(['create', 'namespace', 'later']);
  });

  test('has an API server that can be stopped, killed and started on the same address', async () => {
    await cluster.apiServer.stop();
    await expect(cluster.kubectl(['get', 'namespaces'])).rejects.toThrow(/refused/);
    await cluster.apiServer.start();
    await cluster.kubectl(['get', 'namespaces']);
    await cluster.apiServer.kill();
    await cluster.apiServer.start();
    await cluster.kubectl(['get', 'namespaces']);
  });

  test('tells in its audit log who asked for what', async () => {
    await cluster.kubectl(['get', 'namespaces'], { as: { user: 'eve' } }).catch((error: CommandError) => error.status);
    const entries = await cluster.audit();
    expect(entries).toContainEqual(
      expect.objectContaining({
        verb: 'list',
        user: expect.objectContaining({ username: 'eve' }),
        responseStatus: expect.objectContaining({ code: 403 }),
      }),
    );
  });

  test('has helm', async () => {
    const { stdout } = await cluster.exec(await helm(), ['list', '--all-namespaces', '-o', 'json'], {
      environment: { KUBECONFIG: cluster.kubeconfig },
    });
    expect(JSON.parse(stdout)).toEqual([]);
  });

  test('does not meet another one, and leaves nothing when its runner is killed', async () => {
    const runner = spawn(process.execPath, ['--input-type=module-typescript', '--eval', RUNNER], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [folder] = (await once(createInterface({ input: runner.stdout }), 'line')) as [string];
    const components = await recordedComponents(folder);
    expect([...components.keys()]).toEqual(
      expect.arrayContaining(['etcd', 'kube-apiserver', 'kube-controller-manager']),
    );
    await cluster.kubectl(['get', 'namespaces']);
    runner.kill('SIGKILL');
    await once(runner, 'close');
    await using next = await startControlPlane();
    expect(existsSync(folder)).toBe(false);
    for (const process of components.values()) expect(await isAlive(process)).toBe(false);
    expect(next.folder).not.toBe(folder);
    await cluster.kubectl(['get', 'namespaces']);
  });
});
