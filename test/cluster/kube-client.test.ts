import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadKubeConfig } from '../../kube/access.ts';
import {
  CONFIG_MAPS,
  DEPLOYMENTS,
  type Deployment,
  NAMESPACES,
  PODS,
  SUBJECT_ACCESS_REVIEWS,
  TOKEN_REVIEWS,
} from '../../kube/builtin.ts';
import { createKubeClient } from '../../kube/client.ts';
import { isAlreadyExists, isConflict, isForbidden, isInvalid } from '../../kube/errors.ts';
import type { KubeClient } from '../../kube/types.ts';
import { describeWith } from '../support/requires.ts';
import { type ControlPlane, controlPlaneNeeds, startControlPlane } from './control-plane.ts';
import { startFaultProxy } from './fault-proxy.ts';
import { clientOf, configMap, createNamespace } from './kube-ground.ts';

/** Ends what hangs; nothing is expected of it. */
const LIMIT = { timeout: 60_000 };

describeWith(controlPlaneNeeds, 'the client and a real API server', () => {
  let cluster: ControlPlane & AsyncDisposable;
  let client: KubeClient;
  beforeAll(async () => {
    cluster = await startControlPlane();
    client = await clientOf(cluster.kubeconfig);
    await createNamespace(client, 'client');
  });
  afterAll(async () => {
    client?.close();
    await cluster?.stop();
  });

  it('reads, and says undefined for what is not there', async () => {
    expect(await client.get(NAMESPACES, { name: 'client' })).toMatchObject({
      kind: 'Namespace',
      status: { phase: 'Active' },
    });
    expect(await client.get(CONFIG_MAPS, { namespace: 'client', name: 'none' })).toBeUndefined();
    expect(await client.get(CONFIG_MAPS, { namespace: 'none', name: 'none' })).toBeUndefined();
  });

  it('creates once', async () => {
    const made = await client.create(CONFIG_MAPS, configMap('client', 'once', { a: '1' }), { fieldManager: 'tests' });
    expect(made.metadata.uid).toMatch(/-/);
    const again = client.create(CONFIG_MAPS, configMap('client', 'once'));
    await expect(again).rejects.toSatisfy(isAlreadyExists);
    await client.create(CONFIG_MAPS, configMap('client', 'dry'), { dryRun: true });
    expect(await client.get(CONFIG_MAPS, { namespace: 'client', name: 'dry' })).toBeUndefined();
  });

  it('updates by compare-and-set', async () => {
    const made = await client.create(CONFIG_MAPS, configMap('client', 'cas', { a: '1' }));
    const changed = await client.update(CONFIG_MAPS, { ...made, data: { a: '2' } });
    const late = client.update(CONFIG_MAPS, { ...made, data: { a: '3' } });
    await expect(late).rejects.toSatisfy(isConflict);
    await expect(late).rejects.not.toSatisfy(isAlreadyExists);
    expect((await client.get(CONFIG_MAPS, made.metadata))?.data).toEqual({ a: '2' });
    expect(changed.metadata.resourceVersion).not.toBe(made.metadata.resourceVersion);
  });

  it('applies, and takes fields over only by force', async () => {
    const object = configMap('client', 'applied', { a: '1', b: '1' });
    await client.apply(CONFIG_MAPS, object, { fieldManager: 'first' });
    await client.apply(CONFIG_MAPS, configMap('client', 'applied', { a: '1' }), { fieldManager: 'first' });
    expect((await client.get(CONFIG_MAPS, object.metadata))?.data).toEqual({ a: '1' });
    const theirs = configMap('client', 'applied', { a: '2' });
    const refused = client.apply(CONFIG_MAPS, theirs, { fieldManager: 'second' });
    await expect(refused).rejects.toMatchObject({ code: 'SPB006', causes: [{ field: '.data.a' }] });
    await client.apply(CONFIG_MAPS, theirs, { fieldManager: 'second', force: true });
    expect((await client.get(CONFIG_MAPS, object.metadata))?.data).toEqual({ a: '2' });
  });

  it('patches in all three ways, and subresources', async () => {
    const labels = { app: 'patched' };
    const container = { name: 'main', image: 'x' };
    const deployment: Deployment = {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { namespace: 'client', name: 'patched' },
      spec: {
        replicas: 0,
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec: { containers: [container] } },
      },
    };
    const { metadata } = await client.create(DEPLOYMENTS, deployment);
    const json = { type: 'json', body: [{ op: 'add', path: '/metadata/annotations', value: { json: '1' } }] } as const;
    await client.patch(DEPLOYMENTS, metadata, json);
    await client.patch(DEPLOYMENTS, metadata, { type: 'merge', body: { metadata: { annotations: { merge: '1' } } } });
    const second = { name: 'second', image: 'y' };
    const strategic = { spec: { template: { spec: { containers: [second] } } } };
    const patched = await client.patch(DEPLOYMENTS, metadata, { type: 'strategic', body: strategic });
    expect(patched.metadata.annotations).toMatchObject({ json: '1', merge: '1' });
    const { template } = patched.spec as unknown as { template: { spec: { containers: { name: string }[] } } };
    expect(template.spec.containers.map(({ name }) => name).sort()).toEqual(['main', 'second']);
    const condition = { type: 'Odd', status: 'True', lastUpdateTime: null } as const;
    const status = await client.patch(DEPLOYMENTS, metadata, {
      type: 'merge',
      subresource: 'status',
      body: { status: { conditions: [condition] } },
    });
    expect(status.status?.conditions).toContainEqual(expect.objectContaining({ type: 'Odd' }));
    const { annotations, ...rest } = status.metadata;
    expect(annotations).toBeDefined();
    const statusUpdate = await client.updateStatus(DEPLOYMENTS, { ...status, metadata: rest, spec: { replicas: 9 } });
    // Only the status is written by it.
    expect(statusUpdate.spec?.replicas).toBe(0);
  });

  it('deletes the object that was meant', async () => {
    const made = await client.create(CONFIG_MAPS, configMap('client', 'deleted'));
    const other = client.delete(CONFIG_MAPS, made.metadata, { uid: '00000000-0000-0000-0000-000000000000' });
    await expect(other).rejects.toSatisfy(isConflict);
    await expect(client.delete(CONFIG_MAPS, made.metadata, { resourceVersion: '1' })).rejects.toSatisfy(isConflict);
    const settings = { uid: made.metadata.uid, propagation: 'Foreground' } as const;
    expect(await client.delete(CONFIG_MAPS, made.metadata, settings)).toBe(true);
    await expect.poll(() => client.get(CONFIG_MAPS, made.metadata), LIMIT).toBeUndefined();
    expect(await client.delete(CONFIG_MAPS, made.metadata)).toBe(false);
  });

  it('says what was refused, and in which field', async () => {
    const invalid = client.create(CONFIG_MAPS, configMap('client', 'Not_A_Name'));
    await expect(invalid).rejects.toSatisfy(isInvalid);
    await expect(invalid).rejects.toMatchObject({ status: 422, causes: [{ field: 'metadata.name' }] });
    const nobody = await clientOf(await cluster.clientAs('nobody'));
    const forbidden = nobody.list(PODS, { namespace: 'client' });
    await expect(forbidden).rejects.toSatisfy(isForbidden);
    await expect(forbidden).rejects.toMatchObject({ object: 'list pods in client' });
    nobody.close();
  });

  it('asks who a token is, and what somebody may do', async () => {
    const token = (await cluster.kubectl(['create', 'token', 'default', '--audience=sallyport'])).trim();
    const review = (audience: string) =>
      client.create(TOKEN_REVIEWS, {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenReview',
        metadata: { name: '' },
        spec: { token, audiences: [audience] },
      });
    expect((await review('sallyport')).status?.user?.username).toBe('system:serviceaccount:default:default');
    expect((await review('another')).status?.authenticated ?? false).toBe(false);
    const may = (user: string, groups: string[]) =>
      client.create(SUBJECT_ACCESS_REVIEWS, {
        apiVersion: 'authorization.k8s.io/v1',
        kind: 'SubjectAccessReview',
        metadata: { name: '' },
        spec: { user, groups, resourceAttributes: { verb: 'get', resource: 'secrets', namespace: 'client' } },
      });
    expect((await may('root', ['system:masters'])).status?.allowed).toBe(true);
    expect((await may('nobody', [])).status?.allowed).toBe(false);
  });

  describe('lists', () => {
    beforeAll(async () => {
      await createNamespace(client, 'pages');
      for (let each = 0; each < 7; each++) await client.create(CONFIG_MAPS, configMap('pages', `page-${each}`));
    });
    const selection = { namespace: 'pages', labelSelector: 'churn=true', limit: 2 };
    const names = ['page-0', 'page-1', 'page-2', 'page-3', 'page-4', 'page-5', 'page-6'];

    it('by pages, of one moment', async () => {
      const first = await client.list(CONFIG_MAPS, selection);
      expect(first.items).toHaveLength(2);
      const all = await client.listAll(CONFIG_MAPS, selection);
      expect(all.items.map(({ metadata }) => metadata.name)).toEqual(names);
      expect(all.items[0]).toMatchObject({ apiVersion: 'v1', kind: 'ConfigMap' });
    });

    it('anew when the pages expired on the way', async () => {
      await using proxy = await startFaultProxy(cluster.kubeconfig, cluster.folder);
      const through = await clientOf(proxy.kubeconfig);
      const expired = proxy.next({ kind: 'status', code: 410 }, ({ path: asked }) => asked.includes('continue='));
      const all = await through.listAll(CONFIG_MAPS, selection);
      await expired;
      expect(all.items.map(({ metadata }) => metadata.name)).toEqual(names);
      through.close();
    });
  });

  it('reads paths that are no objects', async () => {
    expect(JSON.parse((await client.request('GET', '/version')).body.toString())).toMatchObject({ major: '1' });
    expect((await client.request('GET', '/readyz', { query: { verbose: true } })).body.toString()).toContain('ok');
  });

  it('verifies the name that the kubeconfig says', async () => {
    const access = await loadKubeConfig({ kubeconfig: cluster.kubeconfig, env: {} });
    const named = (serverName: string): KubeClient =>
      createKubeClient({
        userAgent: 'named',
        access: {
          ...access,
          async credential(fresh) {
            const { headers, tls } = await access.credential(fresh);
            return { headers, tls: { ...tls, serverName } };
          },
        },
      });
    const right = named('kubernetes.default.svc');
    expect((await right.request('GET', '/version')).status).toBe(200);
    const wrong = named('api.example');
    await expect(wrong.request('GET', '/version')).rejects.toMatchObject({ code: 'SPB014' });
    right.close();
    wrong.close();
  });

  it('signs in as a pod does, also after the token was replaced', async () => {
    const mount = await mkdtemp(path.join(cluster.folder, 'mount-'));
    const write = (name: string, text: string): Promise<void> => writeFile(path.join(mount, name), text);
    await write('ca.crt', await readFile(cluster.caFile, 'utf8'));
    await write('namespace', 'client');
    await write('token', 'one that is not valid any more');
    const { hostname, port } = new URL(cluster.server);
    const env = { KUBERNETES_SERVICE_HOST: hostname, KUBERNETES_SERVICE_PORT: port };
    const access = await loadKubeConfig({ env, mount });
    const pod = createKubeClient({ access, userAgent: 'pod' });
    const whoAmI = () =>
      pod.request('POST', '/apis/authentication.k8s.io/v1/selfsubjectreviews', {
        body: { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' },
      });
    await expect(whoAmI()).rejects.toMatchObject({ code: 'SPB003' });
    await write('token', await cluster.kubectl(['create', 'token', 'default', '-n', 'client']));
    const answer = JSON.parse((await whoAmI()).body.toString());
    expect(answer.status.userInfo.username).toBe('system:serviceaccount:client:default');
    // An authority that is not the server's: nothing is sent to it.
    await write('ca.crt', await readFile('/etc/ssl/certs/ca-certificates.crt', 'utf8').catch(() => ''));
    const suspicious = createKubeClient({ access: await loadKubeConfig({ env, mount }), userAgent: 'pod' });
    await expect(suspicious.request('GET', '/version')).rejects.toMatchObject({ code: 'SPB014' });
    // It is read again when the server is not trusted: that is how it is rotated.
    await write('ca.crt', await readFile(cluster.caFile, 'utf8'));
    expect((await suspicious.request('GET', '/version')).status).toBe(200);
    pod.close();
    suspicious.close();
  });
});
