/**
 * Injection on a real API server: the operator's own server, certificate and `caBundle`, the chart's webhook configurations and fence, and
 * namespaces under Pod Security `restricted`.
 */
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { Registry } from 'prom-client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { AccessConnection } from '../../api/resources.ts';
import { NAMESPACES } from '../../kube/builtin.ts';
import { createReflector } from '../../kube/reflector.ts';
import type { KubeClient } from '../../kube/types.ts';
import type { OperatorContext, Stored } from '../../operator/context.ts';
import { createKeyRing, type KeyRing } from '../../operator/pki/key-ring.ts';
import { newAuthority, newMaterial } from '../../operator/pki/material.ts';
import { ACCESS_CONNECTIONS } from '../../operator/resources.ts';
import { webhooksComponent } from '../../operator/webhook/component.ts';
import type { Pod } from '../../operator/webhook/injection/pod.ts';
import { createStalenessJudge } from '../../operator/webhook/injection/stale.ts';
import { describeWith } from '../support/requires.ts';
import { type Manifest, renderChart } from './chart.ts';
import { CommandError, type ControlPlane, controlPlaneNeeds, startControlPlane } from './control-plane.ts';
import { type CollectedLog, clientOf, collectLog } from './kube-ground.ts';

const VERSION = '0.1.0';
const IMAGE = 'registry.example/sallyport-connector:0.1.0';

const NAMESPACED = ['shop', 'agents', 'platform', 'gateways', 'kube', 'unlabelled'];
const namespaceYaml = (name: string): string =>
  JSON.stringify({
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: {
      name,
      labels: {
        'pod-security.kubernetes.io/enforce': 'restricted',
        ...(name === 'agents' ? { team: 'data', 'sallyport.dev/inject': 'true' } : {}),
      },
    },
  });

const connection = (namespace: string, name: string, spec: object): string =>
  JSON.stringify({
    apiVersion: 'sallyport.dev/v1alpha1',
    kind: 'AccessConnection',
    metadata: { namespace, name },
    spec,
  });

const secretRef = { secretRef: { name: 'credential' } };
const CONNECTIONS = [
  connection('shop', 'orders', {
    protocol: 'Postgres',
    target: { host: 'orders-db.shop.svc', port: 5432, database: 'orders' },
    credential: secretRef,
    allowedNamespaces: { from: 'All' },
  }),
  connection('platform', 'payments', {
    protocol: 'HTTP',
    target: { host: 'payments.example.com', port: 443 },
    credential: secretRef,
    allowedNamespaces: { from: 'Selector', selector: { matchLabels: { team: 'data' } } },
  }),
  connection('kube', 'cluster', {
    protocol: 'Kubernetes',
    target: { host: 'kubernetes.default.svc', port: 443 },
    credential: { impersonate: {} },
  }),
];

const restricted = {
  allowPrivilegeEscalation: false,
  capabilities: { drop: ['ALL'] },
  runAsNonRoot: true,
  seccompProfile: { type: 'RuntimeDefault' },
};
const agent = (name = 'agent', more: object = {}): object => ({
  name,
  image: 'registry.example/agent',
  securityContext: { ...restricted, readOnlyRootFilesystem: true },
  ...more,
});
const podYaml = (namespace: string, spec: object, metadata: object = {}): string =>
  JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { generateName: 'agent-', namespace, ...metadata }, spec });
const ASKED = { labels: { 'sallyport.dev/inject': 'true' } };

describeWith(controlPlaneNeeds, 'injection on a real API server', () => {
  let plane: ControlPlane;
  let client: KubeClient;
  let keys: KeyRing;
  let log: CollectedLog;
  let webhookPort: number;
  let connections: OperatorContext['connections'];
  let namespaces: OperatorContext['namespaces'];
  const stop = new AbortController();
  const running: Promise<unknown>[] = [];

  /** The chart's configurations, with the address of this process in place of the Service. */
  function locally(manifest: Manifest): object {
    const { webhooks } = manifest as unknown as { webhooks: { clientConfig: { service: { path: string } } }[] };
    return {
      ...manifest,
      webhooks: webhooks.map((webhook) => ({
        ...webhook,
        clientConfig: { url: `https://127.0.0.1:${webhookPort}${webhook.clientConfig.service.path}` },
      })),
    };
  }

  async function chart(kind: string, name: string): Promise<object[]> {
    const manifests = await renderChart();
    return manifests.filter((one) => one.kind.startsWith(kind) && one.metadata.name === name);
  }

  const create = async (yaml: string): Promise<Pod> =>
    JSON.parse(await plane.kubectl(['create', '-o', 'json', '-f', '-'], { input: yaml })) as Pod;

  async function refusal(attempt: Promise<unknown>): Promise<string> {
    try {
      await attempt;
    } catch (error) {
      if (error instanceof CommandError) return error.stderr;
      throw error;
    }
    throw new Error('it was let in');
  }

  beforeAll(async () => {
    plane = await startControlPlane();
    await plane.applyCrds();
    client = await clientOf(plane.kubeconfig);
    await plane.apply([...NAMESPACED.map(namespaceYaml), ...CONNECTIONS].join('\n---\n'));
    log = collectLog();
    keys = createKeyRing(newMaterial(Date.now()), Date.now);
    connections = createReflector<Stored<AccessConnection>>({ client, type: ACCESS_CONNECTIONS, log });
    namespaces = createReflector({ client, type: NAMESPACES, log });
    const listening = Promise.withResolvers<number>();
    const context = {
      client,
      namespace: 'sallyport-system',
      version: VERSION,
      image: 'registry.example/sallyport:0.1.0',
      connectorImage: IMAGE,
      keys,
      connections,
      namespaces,
      registry: new Registry(),
      log,
      now: Date.now,
    };
    const webhooks = webhooksComponent(context, {
      host: '127.0.0.1',
      port: 0,
      lingerMs: 0,
      onListening: listening.resolve,
    });
    running.push(webhooks.run(stop.signal), connections.run(stop.signal), namespaces.run(stop.signal));
    webhookPort = await listening.promise;
    await Promise.all([connections.synced(stop.signal), namespaces.synced(stop.signal)]);
    const configurations = (await chart('MutatingWebhook', 'sallyport')) as unknown as Manifest[];
    await plane.apply(configurations.map((one) => JSON.stringify(locally(one))).join('\n---\n'));
    await served(() => create(podYaml('shop', { containers: [agent()] }, ASKED)));
  });

  afterAll(async () => {
    stop.abort();
    await Promise.all(running);
    client?.close();
    await plane?.stop();
  });

  /** The API server takes a moment to learn of a configuration: asked again while it does not know it yet. */
  async function served<T>(attempt: () => Promise<T>, attempts = 100): Promise<T> {
    for (let left = attempts; ; left--) {
      try {
        return await attempt();
      } catch (error) {
        if (left === 0 || !(error instanceof CommandError) || !/failed calling webhook/.test(error.stderr)) throw error;
      }
    }
  }

  test('a plain pod is accepted under Pod Security restricted, connector first', async () => {
    const pod = await create(podYaml('shop', { initContainers: [agent('prepare')], containers: [agent()] }, ASKED));
    expect(pod.spec.initContainers?.map(({ name }) => name)).toEqual(['sallyport-connector', 'prepare']);
    expect(pod.spec.initContainers?.[0]).toMatchObject({ image: IMAGE, restartPolicy: 'Always' });
    expect(pod.spec.hostAliases?.[0]?.hostnames).toContain('orders-db');
    expect(pod.metadata.annotations?.['sallyport.dev/injected-version']).toBe(VERSION);
  });

  test("the connector gets no token of the API server's, and the agent keeps its own", async () => {
    const pod = await create(podYaml('shop', { containers: [agent()] }, ASKED));
    const isToken = ({ name }: { name: string }): boolean => name.startsWith('kube-api-access-');
    expect(pod.spec.volumes?.some(isToken)).toBe(true);
    expect(pod.spec.containers[0]?.volumeMounts?.some(isToken)).toBe(true);
    expect(pod.spec.initContainers?.[0]?.volumeMounts?.some(isToken)).toBe(false);
  });

  test('the label of the namespace is enough, and the label of the pod says no', async () => {
    const asked = await create(podYaml('agents', { containers: [agent(), agent('second')] }));
    expect(asked.spec.initContainers).toHaveLength(1);
    const config: unknown = JSON.parse(
      asked.spec.initContainers?.[0]?.env?.find(({ name }) => name === 'SALLYPORT_CONNECTOR')?.value ?? '',
    );
    expect(config).toMatchObject({
      targets: [{ host: 'orders-db.shop.svc' }, { host: 'payments.example.com', port: 443 }],
    });
    expect(asked.spec.securityContext?.sysctls).toEqual([{ name: 'net.ipv4.ip_unprivileged_port_start', value: '0' }]);
    const not = await create(
      podYaml('agents', { containers: [agent()] }, { labels: { 'sallyport.dev/inject': 'false' } }),
    );
    expect(not.spec.initContainers).toBeUndefined();
    const other = await create(podYaml('unlabelled', { containers: [agent()] }));
    expect(other.spec.initContainers).toBeUndefined();
  });

  test('with a Kubernetes connection no container has a token that the API server accepts', async () => {
    const pod = await create(podYaml('kube', { containers: [agent()] }, ASKED));
    expect(pod.spec.volumes?.filter(({ name }) => name.startsWith('kube-api-access-'))).toEqual([]);
    const mount = pod.spec.containers[0]?.volumeMounts?.find(({ mountPath }) => mountPath.endsWith('/serviceaccount'));
    expect(mount?.name).toBe('sallyport-api-access');
    const audiences = pod.spec.volumes?.flatMap((volume) => {
      const { projected } = volume as { projected?: { sources: { serviceAccountToken?: { audience?: string } }[] } };
      return (projected?.sources ?? []).flatMap(({ serviceAccountToken }) => serviceAccountToken?.audience ?? []);
    });
    expect(audiences).toEqual(['sallyport', 'sallyport']);
  });

  test('a Job of kubectl is a template that stays as it is; its pods are changed', async () => {
    const job = {
      apiVersion: 'batch/v1',
      kind: 'Job',
      metadata: { name: 'once', namespace: 'shop' },
      spec: { template: { metadata: ASKED, spec: { restartPolicy: 'Never', containers: [agent()] } } },
    };
    const made = JSON.parse(
      await plane.kubectl(['create', '-o', 'json', '-f', '-'], { input: JSON.stringify(job) }),
    ) as { spec: { template: Pod } };
    expect(made.spec.template.spec.initContainers).toBeUndefined();
  });

  test('refusals reach the person, with code and advice', async () => {
    const withConnection = { ...ASKED, annotations: { 'sallyport.dev/connections': 'no' } };
    const attempts = [
      ['SPW003', podYaml('shop', { shareProcessNamespace: true, containers: [agent()] }, ASKED)],
      ['SPW006', podYaml('shop', { containers: [agent(), agent('sallyport-connector')] }, ASKED)],
      ['SPW008', podYaml('shop', { containers: [agent()] }, withConnection)],
    ] as const;
    for (const [code, yaml] of attempts) expect(await refusal(create(yaml))).toContain(code);
  });

  test('a pod in a namespace that was made a moment ago is not refused for it', async () => {
    const yaml = [
      namespaceYaml('fresh'),
      // No account is there yet: the controller that makes it is another story.
      JSON.stringify({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'mine', namespace: 'fresh' } }),
      podYaml('fresh', { serviceAccountName: 'mine', containers: [agent()] }, ASKED),
    ].join('\n---\n');
    const out = await plane.kubectl(['create', '-f', '-'], { input: yaml });
    expect(out).toMatch(/pod\/agent-\S+ created/);
  });

  test('stale pods are told from current ones', async () => {
    const pod = await create(podYaml('shop', { containers: [agent()] }, ASKED));
    const judgeOf = (version: string, known: readonly AccessConnection[]) =>
      createStalenessJudge({
        version,
        connections: known,
        namespaceLabels: (name) => namespaces.get(undefined, name)?.metadata.labels,
      });
    const stored = { metadata: { ...pod.metadata, namespace: 'shop' } };
    expect(judgeOf(VERSION, connections.list())(stored)).toBe('Current');
    expect(judgeOf('0.2.0', connections.list())(stored)).toBe('Outdated');
    expect(judgeOf(VERSION, [])(stored)).toBe('Changed');
    expect(judgeOf(VERSION, [])({ metadata: { namespace: 'shop' } })).toBeUndefined();
  });

  test('no admission fails while the authority is renewed', async () => {
    const bundles = async (): Promise<readonly (string | undefined)[]> => {
      const configuration = await plane.get<{ webhooks: { clientConfig: { caBundle?: string } }[] }>(
        'mutatingwebhookconfiguration',
        'sallyport',
      );
      return configuration.webhooks.map(({ clientConfig }) => clientConfig.caBundle);
    };
    /** Creates pods, one after the other, until the work is done. */
    async function under(work: () => Promise<void>): Promise<number> {
      let count = 0;
      const isDone = { value: false };
      const pods = (async () => {
        do {
          await create(podYaml('shop', { containers: [agent()] }, ASKED));
          count += 1;
        } while (!isDone.value);
      })();
      try {
        await work();
      } finally {
        isDone.value = true;
      }
      await pods;
      return count;
    }
    const published = async (): Promise<void> => {
      const wanted = Buffer.from(keys.trust()).toString('base64');
      while (!(await bundles()).every((one) => one === wanted)) {
        // Asked again: kubectl itself takes its time.
      }
    };
    const first = keys.material;
    const next = newAuthority(Date.now());
    const count = await under(async () => {
      keys.replace({ ...first, next });
      await published();
      keys.replace({ ...first, signer: next, next: undefined, former: [first.signer.certificate] });
      await published();
      keys.replace({ ...first, signer: next, next: undefined, former: [] });
      await published();
    });
    expect(count).toBeGreaterThan(0);
    // And the new authority alone is enough.
    await create(podYaml('shop', { containers: [agent()] }, ASKED));
  });

  describe('the fence', () => {
    beforeAll(async () => {
      const fence = [
        ...(await chart('ValidatingAdmissionPolicy', 'sallyport-agent-pods')),
        ...(await chart('ValidatingAdmissionPolicyBinding', 'sallyport-agent-pods')),
      ];
      expect(fence.length).toBeGreaterThanOrEqual(2);
      await plane.apply(fence.map((one) => JSON.stringify(one)).join('\n---\n'));
    });

    test('is all that is left while the webhook hangs: who asked for a connector does not start without one', async () => {
      const silent = createServer().listen(0, '127.0.0.1');
      await once(silent, 'listening');
      const { port } = silent.address() as AddressInfo;
      const pointed = async (at: number, failurePolicy: 'Fail' | 'Ignore'): Promise<void> => {
        const patch = [0, 1].flatMap((index) => [
          { op: 'replace', path: `/webhooks/${index}/clientConfig/url`, value: `https://127.0.0.1:${at}/inject` },
          { op: 'replace', path: `/webhooks/${index}/failurePolicy`, value: failurePolicy },
          { op: 'replace', path: `/webhooks/${index}/timeoutSeconds`, value: 1 },
        ]);
        const of = ['patch', 'mutatingwebhookconfiguration', 'sallyport', '--type=json', '-p', JSON.stringify(patch)];
        await plane.kubectl(of);
      };
      const asking = () => refusal(create(podYaml('shop', { containers: [agent()] }, ASKED)));
      try {
        await pointed(port, 'Fail');
        await expect.poll(() => asking().catch(() => 'not yet')).toMatch(/failed calling webhook.*deadline exceeded/);
        // Nobody else waits for it.
        await create(podYaml('unlabelled', { containers: [agent()] }));
        // Also where somebody has told the API server to go on without it.
        await pointed(port, 'Ignore');
        await expect.poll(() => asking().catch(() => 'not yet')).toContain('SPW060');
      } finally {
        await pointed(webhookPort, 'Fail');
        silent.close();
      }
      await served(() => create(podYaml('shop', { containers: [agent()] }, ASKED)));
    });

    test('lets injected pods in, and keeps out what was changed after injection or was not injected', async () => {
      await create(podYaml('shop', { containers: [agent()] }, ASKED));
      const injected = await create(podYaml('shop', { containers: [agent()] }, ASKED));
      // Without the webhook the fence is all that is left.
      await plane.kubectl(['delete', 'mutatingwebhookconfiguration', 'sallyport']);
      const copyOf = (change: (pod: Pod) => Pod): string => {
        const { annotations, labels } = injected.metadata;
        const pod = {
          ...injected,
          metadata: { generateName: 'copy-', namespace: 'shop', annotations: annotations ?? {}, labels: labels ?? {} },
        };
        return JSON.stringify({ ...change(pod), status: undefined });
      };
      // The fence comes into force a moment after it was applied.
      for (;;) {
        try {
          await create(podYaml('shop', { containers: [agent()] }, ASKED));
        } catch (error) {
          if (!(error instanceof CommandError)) throw error;
          expect(error.stderr).toContain('SPW060');
          break;
        }
      }
      await create(copyOf((pod) => pod));
      const spec = (more: object) => (pod: Pod) => ({ ...pod, spec: { ...pod.spec, ...more } });
      expect(await refusal(create(copyOf(spec({ initContainers: [] }))))).toContain('SPW060');
      expect(await refusal(create(copyOf(spec({ shareProcessNamespace: true }))))).toContain('SPW061');
      const withToken = agent('agent', { volumeMounts: [{ name: 'sallyport-token', mountPath: '/stolen' }] });
      expect(await refusal(create(copyOf(spec({ containers: [withToken] }))))).toContain('SPW063');
      const powerful = agent('agent', { securityContext: { ...restricted, capabilities: { add: ['NET_ADMIN'] } } });
      // Pod Security says so too; where it is not enforced, the fence does.
      await plane.kubectl(['label', 'namespace', 'shop', 'pod-security.kubernetes.io/enforce-']);
      expect(await refusal(create(copyOf(spec({ containers: [powerful] }))))).toContain('SPW062');
      await create(podYaml('unlabelled', { containers: [agent()] }));
    });
  });

  test('the chart carries no caBundle', async () => {
    expect(await readFile('charts/sallyport/templates/webhooks.yaml', 'utf8')).not.toMatch(/^\s*caBundle:/m);
  });
});
