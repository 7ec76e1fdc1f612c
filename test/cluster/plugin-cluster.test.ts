/** `kubectl sallyport` against a real API server: what is in force, what waits, what injection would do, and what the doctor finds. */
import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseAllDocuments, stringify } from 'yaml';
import { ANNOTATIONS, LABELS, NAMES } from '../../api/cluster.ts';
import type { Diagnosis } from '../../cli/cluster/doctor/finding.ts';
import type { NamespaceStatus } from '../../cli/cluster/status.ts';
import { createAuthority } from '../support/certificates.ts';
import { describeWith } from '../support/requires.ts';
import { repositoryRoot } from '../support/sallyport.ts';
import { type ControlPlane, controlPlaneNeeds, startControlPlane } from './control-plane.ts';
import { createPlugin, type Plugin } from './plugin-ground.ts';

const API = 'sallyport.dev/v1alpha1';
const connection = (namespace: string, name: string, more: object = {}) => ({
  apiVersion: API,
  kind: 'AccessConnection',
  metadata: { namespace, name },
  spec: {
    protocol: 'Postgres',
    target: { host: `${name}-db`, port: 5432, database: name },
    credential: { secretRef: { name: 'db' } },
    allowedNamespaces: { from: 'All' },
    ...more,
  },
});
const policy = (namespace: string, name: string, rule: object) => ({
  apiVersion: API,
  kind: 'AccessPolicy',
  metadata: { namespace, name },
  spec: { connections: { names: ['orders'] }, subjects: [{ everyone: true }], rules: [{ name: 'only', ...rule }] },
});
const POLICIES = [
  policy('shop', 'readers', { effect: 'Allow', sql: { statements: ['Read', 'Write'], relations: ['public.*'] } }),
  {
    ...policy('sallyport-system', 'no-deletes', {
      effect: 'Deny',
      sql: { statements: ['Delete'], relations: ['*.*'] },
    }),
    spec: {
      connections: { all: true },
      subjects: [{ everyone: true }],
      rules: [{ name: 'only', effect: 'Deny', sql: { statements: ['Delete'], relations: ['*.*'] } }],
    },
  },
];
const COMMAND = 'UPDATE stock SET n = 0 WHERE shop = 7';
const REQUEST = {
  apiVersion: API,
  kind: 'ApprovalRequest',
  metadata: { namespace: 'shop', name: 'orders-3f9a1c2b4d5e' },
  spec: {
    connectionRef: { name: 'orders' },
    requirements: [
      { policyRef: { namespace: 'shop', name: 'writers', rule: 'updates', generation: 1 }, requiredApprovals: 1 },
    ],
    requester: { username: 'system:serviceaccount:agents:agent', displayName: 'agents/agent' },
    request: {
      protocol: 'Postgres',
      summary: COMMAND,
      display: COMMAND,
      hash: `sha256:${createHash('sha256').update(COMMAND).digest('hex')}`,
    },
    expiresAt: new Date(Date.now() + 3_600_000).toISOString(),
  },
};
const AGENT = (labels: object) => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { namespace: 'agents', name: 'agent' },
  spec: {
    selector: { matchLabels: { app: 'agent' } },
    template: {
      metadata: { labels: { app: 'agent', ...labels } },
      spec: { containers: [{ name: 'agent', image: 'psql' }] },
    },
  },
});

describeWith(controlPlaneNeeds, 'kubectl sallyport', () => {
  let cluster!: ControlPlane & AsyncDisposable;
  let plugin!: Plugin;
  let folder = '';
  let admin = '';
  const yaml = (...objects: readonly object[]): string => objects.map((object) => `---\n${stringify(object)}`).join('');
  const doctor = async (): Promise<Diagnosis[]> => {
    const { stdout, stderr } = await plugin.run(admin, 'doctor', '-o', 'json');
    expect(stderr).toBe('');
    return stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Diagnosis);
  };
  const found = (all: readonly Diagnosis[], check: string): string[] =>
    all.filter((each) => each.check === check).map(({ state, object, message }) => `${state} ${object}: ${message}`);

  beforeAll(async () => {
    folder = await mkdtemp(path.join(os.tmpdir(), 'plugin-'));
    [cluster, plugin] = await Promise.all([startControlPlane(), createPlugin()]);
    admin = cluster.kubeconfig;
  }, 1_200_000);
  afterAll(async () => {
    await cluster?.stop();
    await plugin?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  test('without the resource kinds it says what is missing', async () => {
    const answer = await plugin.run(admin, 'status');
    expect([answer.status, answer.stderr]).toEqual([1, expect.stringContaining('SPC065')]);
    const all = await doctor();
    expect(found(all, 'kubernetes')).toEqual([expect.stringMatching(/^ok Kubernetes 1\.34/)]);
    expect(found(all, 'crds')).toEqual(Array(4).fill(expect.stringContaining('it is not installed')));
    expect(found(all, 'operator')).toEqual([
      expect.stringContaining('error Deployment sallyport-system/sallyport-operator'),
    ]);
    expect(found(all, 'webhook')).toEqual([expect.stringContaining('no pod gets a connector')]);
    expect(all.every(({ state, fix }) => state === 'ok' || (fix ?? '') !== '')).toBe(true);
  });

  describe('with resources', () => {
    beforeAll(async () => {
      await cluster.applyCrds();
      for (const namespace of ['shop', 'agents', 'sallyport-system'])
        await cluster.kubectl(['create', 'namespace', namespace]);
      await cluster.apply(yaml(connection('shop', 'orders'), ...POLICIES, REQUEST));
    }, 240_000);

    test('status shows them, and that no operator has looked at them', async () => {
      const { status, stdout } = await plugin.run(admin, 'status', '-n', 'shop');
      expect(status).toBe(1);
      expect(stdout).toMatch(/^shop: 1 connections, 1 policies, 0 masking rules/);
      expect(stdout).toContain('AccessConnection orders: no operator has looked at it yet');
      expect(stdout).toContain('1 waiting for approval');
      expect(stdout).toContain(COMMAND);
      const [document] = parseAllDocuments((await plugin.run(admin, 'status', '-n', 'shop', '-o', 'yaml')).stdout);
      expect(document?.toJS() as NamespaceStatus).toMatchObject({ namespace: 'shop' });
      expect((await plugin.run(admin, 'status')).stdout).toContain('in default (-A: all namespaces)');
    });

    test('status shows conditions with their reasons, and what a replica reports', async () => {
      const condition = {
        type: 'Ready',
        status: 'False',
        reason: 'SecretMissing',
        message: 'Secret db is not there',
        observedGeneration: 1,
        lastTransitionTime: new Date().toISOString(),
      };
      const patch = JSON.stringify({ status: { conditions: [condition] } });
      const target = ['-n', 'shop', 'patch', 'accessconnection', 'orders', '--subresource=status', '--type=merge'];
      await cluster.kubectl([...target, '-p', patch]);
      const lease = {
        apiVersion: 'coordination.k8s.io/v1',
        kind: 'Lease',
        metadata: {
          namespace: 'shop',
          name: 'sallyport-proxy-0',
          labels: { [LABELS.name]: NAMES.proxy },
          annotations: {
            [ANNOTATIONS.bundleHash]: 'sha256:0123456789abcdef',
            [ANNOTATIONS.proxyReport]: JSON.stringify({
              ...{ bundle: 'sha256:0123456789abcdef', sequence: 1, sessions: { orders: 3 }, problems: {} },
              egress: { orders: { open: ['agents/agent-1'], probed: new Date().toISOString() } },
            }),
          },
        },
        spec: {
          holderIdentity: 'replica-0',
          leaseDurationSeconds: 3600,
          renewTime: `${new Date().toISOString().slice(0, -1)}000Z`,
        },
      };
      await cluster.apply(yaml(lease));
      const { stdout } = await plugin.run(admin, 'status', '-n', 'shop');
      expect(stdout).toContain('AccessConnection orders: Ready=False SecretMissing: Secret db is not there');
      expect(stdout).toMatch(/replica-0 +0123456789ab +behind +alive +3/);
      expect(found(await doctor(), 'egress')).toEqual([
        'error AccessConnection shop/orders: reached without Sallyport from agents/agent-1',
      ]);
    });

    test('explain decides by the namespace’s policies and the guardrails, where these may be read', async () => {
      const words = ['explain', '-n', 'shop', '--as', 'system:serviceaccount:agents:agent', '--connection', 'orders'];
      const allowed = await plugin.run(admin, ...words, '--command', 'SELECT 1 FROM stock');
      expect([allowed.status, allowed.stderr]).toEqual([0, '']);
      const denied = await plugin.run(admin, ...words, '--command', 'DELETE FROM stock');
      expect(denied.status).toBe(1);
      expect(denied.stdout).toContain('sallyport-system/no-deletes/only');
      await cluster.kubectl([
        '-n',
        'shop',
        'create',
        'role',
        'look',
        '--verb=get,list',
        '--resource=accessconnections.sallyport.dev,accesspolicies.sallyport.dev,maskingrules.sallyport.dev',
      ]);
      await cluster.kubectl(['-n', 'shop', 'create', 'rolebinding', 'look', '--role=look', '--user=bob']);
      const bob = await cluster.clientAs('bob');
      const blind = await plugin.run(bob, ...words, '--command', 'SELECT 1 FROM stock');
      expect(blind.status).toBe(0);
      expect(blind.stderr).toContain('guardrails of sallyport-system may not be read');
      const refused = await plugin.run(bob, 'explain', '-A', ...words.slice(3), '--command', 'SELECT 1');
      expect(refused.stderr).toContain('SPB004');
    });

    test('a request is listed, shown and voted on by the patch that everybody has', async () => {
      const [listed] = await plugin.json<typeof REQUEST>(admin, 'requests', 'list', '-n', 'shop');
      expect(listed?.metadata.name).toBe(REQUEST.metadata.name);
      expect((await plugin.run(admin, 'requests', 'show', `shop/${REQUEST.metadata.name}`)).stdout).toContain(COMMAND);
      expect((await plugin.run(admin, 'requests', 'show', REQUEST.metadata.name, '-A')).stdout).toContain(COMMAND);
      const vote = await plugin.run(
        admin,
        'approve',
        REQUEST.metadata.name,
        '-n',
        'shop',
        '--reason',
        'ticket 4711',
        '--yes',
      );
      expect([vote.status, vote.stderr]).toEqual([0, '']);
      const stored = await cluster.get<typeof REQUEST>('approvalrequests', REQUEST.metadata.name, 'shop');
      expect(stored.spec).toMatchObject({ decisions: [{ verdict: 'Approve', reason: 'ticket 4711' }] });
      const missing = await plugin.run(admin, 'deny', 'none-such', '-n', 'shop', '--yes');
      expect([missing.status, missing.stderr]).toEqual([1, expect.stringContaining('SPV022')]);
    });

    test('requests watch shows a request that comes', async () => {
      const later = { ...REQUEST, metadata: { namespace: 'shop', name: 'orders-later' } };
      const watch = plugin.start(admin, 'requests', 'watch', '-n', 'shop', '-o', 'json');
      await watch.printed(REQUEST.metadata.name);
      await cluster.apply(yaml(later));
      await watch.printed('orders-later');
      await watch.stop();
    });

    test('inject --dry-run shows what admission would do, and refuses what it would refuse', async () => {
      const file = path.join(folder, 'agent.yaml');
      const dryRun = (...words: string[]) => plugin.run(admin, 'inject', '--dry-run', '-f', file, ...words);
      await writeFile(file, yaml(AGENT({})));
      expect((await dryRun()).stdout).toContain('neither it nor its namespace asks for it');
      await writeFile(file, yaml(AGENT({ [LABELS.inject]: 'true' })));
      const text = await dryRun();
      expect([text.status, text.stderr]).toEqual([0, '']);
      expect(text.stdout).toContain(`+ ${' '.repeat(4)}- name: ${NAMES.connector}`);
      const pod = parseAllDocuments((await dryRun('-o', 'yaml')).stdout)[0]?.toJS() as {
        spec: { initContainers: { name: string }[]; hostAliases: { hostnames: string[] }[] };
      };
      expect(pod.spec.initContainers[0]?.name).toBe(NAMES.connector);
      expect(pod.spec.hostAliases[0]?.hostnames).toContain('orders-db.shop.svc');
      const bad = AGENT({ [LABELS.inject]: 'true' });
      Object.assign(bad.spec.template.spec, { hostNetwork: true });
      await writeFile(file, yaml(bad));
      const refused = await dryRun('-o', 'json');
      expect(refused.status).toBe(1);
      expect(JSON.parse(refused.stdout)).toMatchObject({ result: 'refusal', object: 'Deployment agents/agent' });
      await writeFile(file, 'kind: Service');
      expect((await dryRun()).stderr).toContain('SPC067');
    });

    test('the doctor finds a CRD of an older release, and a plugin that is older than the CRD', async () => {
      expect(found(await doctor(), 'crds')).toEqual(Array(4).fill(expect.stringMatching(/^ok /)));
      const at = '/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties';
      const patch = (operations: object[]) =>
        cluster.kubectl([
          'patch',
          'crd',
          'accessconnections.sallyport.dev',
          '--type=json',
          '-p',
          JSON.stringify(operations),
        ]);
      await patch([{ op: 'add', path: `${at}/later`, value: { type: 'string' } }]);
      expect(found(await doctor(), 'crds')).toContain(
        'warning accessconnections.sallyport.dev: it is newer than this plugin: spec.later',
      );
      await patch([
        { op: 'remove', path: `${at}/later` },
        { op: 'remove', path: `${at}/maxPolicyStaleness` },
      ]);
      expect(found(await doctor(), 'crds')).toContainEqual(
        expect.stringContaining(
          'error accessconnections.sallyport.dev: it is older than this release: it has no spec.maxPolicyStaleness',
        ),
      );
      await cluster.kubectl(['apply', '--server-side', '--force-conflicts', '-f', path.join(repositoryRoot, 'crds')]);
    });

    test('the doctor finds a webhook without an authority, with an expired one, and with nobody behind it', async () => {
      const webhook = (caBundle?: string) => ({
        apiVersion: 'admissionregistration.k8s.io/v1',
        kind: 'MutatingWebhookConfiguration',
        metadata: { name: 'sallyport' },
        webhooks: [
          {
            name: 'pods.inject.sallyport.dev',
            clientConfig: {
              service: { name: NAMES.webhook, namespace: 'sallyport-system', path: '/inject' },
              ...(caBundle === undefined ? {} : { caBundle }),
            },
            objectSelector: { matchLabels: { nobody: 'has-this' } },
            rules: [{ apiGroups: [''], apiVersions: ['v1'], resources: ['pods'], operations: ['CREATE'] }],
            failurePolicy: 'Fail',
            sideEffects: 'None',
            admissionReviewVersions: ['v1'],
          },
        ],
      });
      await cluster.apply(yaml(webhook()));
      const label = 'MutatingWebhookConfiguration sallyport, pods.inject.sallyport.dev';
      const service = 'Service sallyport-system/sallyport-webhook';
      expect(found(await doctor(), 'webhook')).toEqual([
        `error ${label}: it has no caBundle yet, so the API server cannot call it`,
        expect.stringContaining(`error ${service}: no operator answers behind it`),
      ]);
      const authority = await createAuthority(folder);
      const expired = await authority.issue('old', [], -1);
      await cluster.apply(yaml(webhook(Buffer.from(expired.certificate).toString('base64'))));
      expect(found(await doctor(), 'webhook')[0]).toBe(`error ${label}: its authority has expired`);
      const slice = {
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata: {
          namespace: 'sallyport-system',
          name: 'webhook-1',
          labels: { 'kubernetes.io/service-name': NAMES.webhook },
        },
        addressType: 'IPv4',
        endpoints: [{ addresses: ['10.0.0.1'], conditions: { ready: true } }],
        ports: [{ name: 'https', port: 9443 }],
      };
      await cluster.apply(yaml(webhook(Buffer.from(authority.ca).toString('base64')), slice));
      expect(found(await doctor(), 'webhook')).toEqual([
        'ok MutatingWebhookConfiguration sallyport: it has its authority, and an operator answers',
      ]);
      await cluster.kubectl(['delete', 'mutatingwebhookconfiguration', 'sallyport']);
    });

    test('the doctor finds pods that were made when nothing injected, and those that were told of other connections', async () => {
      const pod = (name: string, annotations: object, labels: object = { [LABELS.inject]: 'true' }) => ({
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { namespace: 'agents', name, labels, annotations },
        spec: { containers: [{ name: 'agent', image: 'psql' }] },
      });
      const stale = { [ANNOTATIONS.injectedVersion]: '0.0.1', [ANNOTATIONS.connectorHash]: 'sha256:other' };
      await cluster.kubectl(['-n', 'agents', 'create', 'serviceaccount', 'default']).catch(() => undefined);
      await cluster.apply(yaml(pod('bare', {}), pod('stale', stale), pod('unconcerned', {}, {})));
      const all = found(await doctor(), 'pods');
      expect(all).toEqual([
        expect.stringContaining('error pods agents/bare: they ask for a connector and have none'),
        expect.stringContaining('warning pods agents/stale: their connector was told of other connections'),
      ]);
    });

    test('what somebody may not look at is said to be unseen, not to be well', async () => {
      const nobody = await cluster.clientAs('nobody');
      const { status, stdout } = await plugin.run(nobody, 'doctor', '-o', 'json');
      const all = stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Diagnosis);
      expect(status).toBe(0);
      const unseen = all.filter(({ state }) => state === 'unknown').map(({ check }) => check);
      expect(new Set(unseen)).toEqual(
        new Set([
          'crds',
          'operator',
          'webhook',
          'fences',
          'rights',
          'connections',
          'proxies',
          'egress',
          'pods',
          'archive',
        ]),
      );
      expect(all.filter(({ state }) => state === 'ok').map(({ check }) => check)).toEqual(['kubernetes', 'clocks']);
    });
  });

  test('completion is what the commands say, in the form that kubectl reads', async () => {
    const { stdout } = await plugin.run(admin, '__complete', '--', 'requests', 'li');
    expect(stdout).toMatch(/^list\tList the open requests.*\n:4\n$/);
  });
});
