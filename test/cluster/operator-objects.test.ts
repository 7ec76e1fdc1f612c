import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { NAMES } from '../../api/cluster.ts';
import {
  type AnyObject,
  CLUSTER_ROLE_BINDINGS,
  CONFIG_MAPS,
  DEPLOYMENTS,
  LEASES,
  NAMESPACES,
  NETWORK_POLICIES,
  POD_DISRUPTION_BUDGETS,
  ROLE_BINDINGS,
  ROLES,
  SECRETS,
  SERVICE_ACCOUNTS,
  SERVICES,
  STATEFUL_SETS,
} from '../../kube/builtin.ts';
import type { KubeObject, ResourceType } from '../../kube/types.ts';
import { OURS } from '../../operator/desired/labels.ts';
import { ACCESS_CONNECTIONS, ACCESS_POLICIES } from '../../operator/resources.ts';
import { readBundle, trustedKey } from '../../proxy/cluster/bundle-document.ts';
import { describeWith } from '../support/requires.ts';
import { controlPlaneNeeds } from './control-plane.ts';
import {
  conditionOf,
  connection,
  createOperatorGround,
  OPERATOR_NAMESPACE,
  type OperatorGround,
  type OperatorProcess,
  policy,
} from './operator-ground.ts';

const OWNED = [
  CONFIG_MAPS,
  SECRETS,
  SERVICE_ACCOUNTS,
  ROLES,
  ROLE_BINDINGS,
  SERVICES,
  NETWORK_POLICIES,
  POD_DISRUPTION_BUDGETS,
  DEPLOYMENTS,
] as unknown as readonly ResourceType[];

describeWith(controlPlaneNeeds, 'the objects of an operator', () => {
  let ground: OperatorGround;
  let operator: OperatorProcess;

  beforeAll(async () => {
    ground = await createOperatorGround({ audit: 'Metadata' });
    operator = await ground.operator();
  });
  afterAll(async () => {
    await ground[Symbol.asyncDispose]();
  });

  const apply = (...objects: readonly KubeObject[]): Promise<string> =>
    ground.plane.apply(objects.map((object) => JSON.stringify(object)).join('\n---\n'));
  const gone = async (namespace: string): Promise<void> => {
    for (const type of OWNED) {
      await ground.until(type, { namespace, labelSelector: OURS }, (objects) => objects.length === 0);
    }
  };
  const deployment = (namespace: string): Promise<KubeObject> =>
    ground.until(DEPLOYMENTS, { namespace }, (objects) =>
      objects.find(({ metadata }) => metadata.name === NAMES.proxy),
    );
  /** The operator has looked at everything that there was before, and put it in order. */
  const settled = async (namespace: string): Promise<void> => {
    const name = `settled-${Math.random().toString(36).slice(2)}`;
    await apply(connection(namespace, name));
    await ground.until(DEPLOYMENTS, { namespace }, (objects) => JSON.stringify(objects).includes(`${name}-login`));
    await ground.until(ACCESS_CONNECTIONS, { namespace }, (objects) =>
      conditionOf(
        objects.find(({ metadata }) => metadata.name === name),
        'Ready',
      ),
    );
    await ground.plane.kubectl(['delete', 'accessconnection', '-n', namespace, name]);
    await ground.until(DEPLOYMENTS, { namespace }, (objects) => !JSON.stringify(objects).includes(`${name}-login`));
  };
  const writes = async (namespace: string): Promise<string[]> =>
    (await ground.plane.audit())
      .filter(({ userAgent }) => String(userAgent).startsWith('sallyport-operator/'))
      .filter(({ verb }) => ['create', 'patch', 'update', 'delete'].includes(String(verb)))
      .map(({ verb, objectRef }) => ({
        verb,
        ref: objectRef as {
          readonly resource: string;
          readonly namespace?: string;
          readonly name?: string;
          readonly subresource?: string;
        },
      }))
      .filter(({ ref }) => ref.namespace === namespace && ref.resource !== 'events')
      .map(
        ({ verb, ref }) =>
          `${verb} ${ref.resource}${ref.subresource === undefined ? '' : `/${ref.subresource}`} ${ref.name ?? ''}`,
      );

  test('a namespace with a connection gets all of them once, and proxies take the bundle', async () => {
    await ground.namespace('one');
    await apply(connection('one', 'orders'));
    await deployment('one');
    await ground.until(NETWORK_POLICIES, { namespace: 'one' }, (objects) => objects.length === 2);
    const counted = await writes('one');
    expect(counted.filter((line) => !line.includes('/status')).sort()).toEqual([
      'create secrets sallyport-token-key',
      'patch configmaps sallyport-bundle',
      'patch configmaps sallyport-ca',
      'patch deployments sallyport-proxy',
      'patch networkpolicies sallyport-agents',
      'patch networkpolicies sallyport-proxy',
      'patch poddisruptionbudgets sallyport-proxy',
      'patch rolebindings sallyport-pod-reader',
      'patch rolebindings sallyport-proxy',
      'patch roles sallyport-proxy',
      'patch secrets sallyport-proxy-tls',
      'patch serviceaccounts sallyport-proxy',
      'patch services sallyport-proxy',
      'patch services sallyport-proxy-replicas',
    ]);
    const made = await ground.client.get(DEPLOYMENTS, { namespace: 'one', name: NAMES.proxy });
    const key = /"--trusted-key","([^"]+)"/.exec(JSON.stringify(made))?.[1] ?? '';
    const maps = (await ground.client.list(CONFIG_MAPS, { namespace: 'one' })).items;
    const bundle = readBundle((name) => maps.find(({ metadata }) => metadata.name === name), 'one', [trustedKey(key)]);
    expect(bundle.document.resources.connections.map(({ metadata }) => metadata.name)).toEqual(['orders']);
    expect(bundle.document.allowedNamespaces).toEqual({ orders: ['one'] });
    expect(bundle.document.voteAuthorities).toEqual([key]);
  });

  test('a policy changes the bundle and nothing else', async () => {
    const before = await ground.client.get(CONFIG_MAPS, { namespace: 'one', name: NAMES.bundle });
    const seen = (await writes('one')).length;
    await apply(policy('one', 'readers'));
    const after = await ground.until(CONFIG_MAPS, { namespace: 'one' }, (objects) =>
      objects.find(({ metadata, data }) => metadata.name === NAMES.bundle && data?.['hash'] !== before?.data?.['hash']),
    );
    expect(Number(after.data?.['sequence'])).toBeGreaterThan(Number(before?.data?.['sequence']));
    await ground.until(ACCESS_CONNECTIONS, { namespace: 'one' }, ([object]) => object?.status?.policies === 1);
    await ground.until(ACCESS_POLICIES, { namespace: 'one' }, ([object]) => conditionOf(object, 'Ready'));
    // The log has a line when the answer is complete, a moment after others have heard of the change.
    await vi.waitFor(
      async () => {
        expect([...new Set((await writes('one')).slice(seen))].sort()).toEqual([
          'patch accessconnections/status orders',
          'patch accesspolicies/status readers',
          'patch configmaps sallyport-bundle',
        ]);
      },
      { timeout: 10_000 },
    );
  });

  test('what somebody edits, adds or deletes is put back', async () => {
    const { plane, client } = ground;
    await plane.kubectl(['scale', '-n', 'one', 'deployment/sallyport-proxy', '--replicas=0']);
    await ground.until(DEPLOYMENTS, { namespace: 'one' }, ([object]) => object?.spec?.replicas === 2);
    const rule = { op: 'add', path: '/rules/-', value: { apiGroups: [''], resources: ['secrets'], verbs: ['get'] } };
    await plane.kubectl(['patch', '-n', 'one', 'role/sallyport-proxy', '--type=json', '-p', JSON.stringify([rule])]);
    await ground.until(
      ROLES as unknown as ResourceType<AnyObject>,
      { namespace: 'one' },
      ([role]) => !JSON.stringify(role).includes('secrets'),
    );
    const container = { op: 'add', path: '/spec/template/spec/containers/-', value: { name: 'spy', image: 'spy' } };
    await plane.kubectl([
      'patch',
      '-n',
      'one',
      'deployment/sallyport-proxy',
      '--type=json',
      '-p',
      JSON.stringify([container]),
    ]);
    await ground.until(DEPLOYMENTS, { namespace: 'one' }, ([object]) => !JSON.stringify(object?.spec).includes('spy'));
    const first = await client.get(SERVICES, { namespace: 'one', name: NAMES.proxy });
    await plane.kubectl(['delete', 'service', '-n', 'one', NAMES.proxy]);
    await ground.until(SERVICES, { namespace: 'one' }, (objects) =>
      objects.some(({ metadata }) => metadata.name === NAMES.proxy && metadata.uid !== first?.metadata.uid),
    );
    const { hash = '', sequence } =
      (await client.get(CONFIG_MAPS, { namespace: 'one', name: NAMES.bundle }))?.data ?? {};
    await plane.kubectl(['patch', '-n', 'one', 'configmap/sallyport-bundle', '-p', '{"binaryData":{"bundle":"AAAA"}}']);
    const mended = await ground.until(CONFIG_MAPS, { namespace: 'one' }, (objects) =>
      objects.find(({ metadata, binaryData }) => metadata.name === NAMES.bundle && binaryData?.['bundle'] !== 'AAAA'),
    );
    expect(mended.data?.['hash']).not.toBe(hash);
    expect(Number(mended.data?.['sequence'])).toBeGreaterThan(Number(sequence));
  });

  test('a key for tokens is made once', async () => {
    const before = await ground.client.get(SECRETS, { namespace: 'one', name: NAMES.tokenKey });
    await settled('one');
    const after = await ground.client.get(SECRETS, { namespace: 'one', name: NAMES.tokenKey });
    expect(Buffer.from(after?.data?.['key'] ?? '', 'base64').length).toBeGreaterThanOrEqual(32);
    expect(after?.data).toEqual(before?.data);
  });

  test('a gateway gets a Service on the port of its target, and loses it', async () => {
    await apply(connection('one', 'stock', { routing: 'Gateway' }));
    const service = await ground.until(SERVICES, { namespace: 'one' }, (objects) =>
      objects.find(({ metadata }) => metadata.name === 'stock-sallyport'),
    );
    expect(service['spec']).toMatchObject({ ports: [{ port: 5432 }] });
    await ground.plane.kubectl(['delete', 'accessconnection', '-n', 'one', 'stock']);
    await ground.until(SERVICES, { namespace: 'one' }, (objects) => objects.length === 2);
  });

  test('namespaces of agents get theirs by their labels, and lose them', async () => {
    await ground.namespace('bots', { team: 'bots' });
    await ground.namespace('bystander');
    await apply(
      connection('one', 'shared', {
        allowedNamespaces: { from: 'Selector', selector: { matchLabels: { team: 'bots' } } },
      }),
    );
    const binding = await ground.until(
      ROLE_BINDINGS as unknown as ResourceType<AnyObject>,
      { namespace: 'bots' },
      ([object]) => object,
    );
    expect(binding['subjects']).toEqual([{ kind: 'ServiceAccount', name: NAMES.proxy, namespace: 'one' }]);
    await ground.plane.kubectl(['label', 'namespace', 'bots', 'sallyport.dev/egress=locked']);
    const isLocked = (object: AnyObject | undefined): boolean =>
      !JSON.stringify(object?.['spec'] ?? '0.0.0.0').includes('0.0.0.0');
    await ground.until(NETWORK_POLICIES, { namespace: 'bots' }, ([object]) => isLocked(object));
    await ground.plane.kubectl(['label', 'namespace', 'bots', 'team-']);
    await gone('bots');
    await ground.plane.kubectl(['label', 'namespace', 'bots', 'team=bots']);
    await ground.until(NETWORK_POLICIES, { namespace: 'bots' }, ([object]) => object);
    await ground.plane.kubectl(['delete', 'accessconnection', '-n', 'one', 'shared']);
    await gone('bots');
    expect((await ground.client.list(CONFIG_MAPS, { namespace: 'bystander', labelSelector: OURS })).items).toEqual([]);
  });

  test('with the last connection everything goes', async () => {
    await ground.plane.kubectl(['delete', 'accessconnections', '-n', 'one', '--all']);
    await gone('one');
    await ground.until(CLUSTER_ROLE_BINDINGS, { labelSelector: OURS }, (objects) => objects.length === 0);
  });

  test('a namespace can be deleted at any time, and takes along what lies elsewhere', async () => {
    await ground.namespace('guests');
    await ground.namespace('two');
    const selector = { matchLabels: { 'kubernetes.io/metadata.name': 'guests' } };
    await apply(connection('two', 'orders', { allowedNamespaces: { from: 'Selector', selector } }));
    await deployment('two');
    await ground.until(CONFIG_MAPS, { namespace: 'guests', labelSelector: OURS }, ([object]) => object);
    await ground.plane.kubectl(['delete', 'namespace', 'two', '--wait=false']);
    await ground.until(NAMESPACES, {}, (objects) => !objects.some(({ metadata }) => metadata.name === 'two'));
    await gone('guests');
    await ground.until(CLUSTER_ROLE_BINDINGS, { labelSelector: OURS }, (objects) => objects.length === 0);
    expect(operator.log.filter((line) => line.includes('"level":50'))).toEqual([]);
  });

  test('a quota is said on the connection, and mended by itself', async () => {
    await ground.namespace('poor');
    await apply({
      apiVersion: 'v1',
      kind: 'ResourceQuota',
      metadata: { namespace: 'poor', name: 'none' },
      spec: { hard: { services: '0' } },
    } as KubeObject);
    await ground.plane.kubectl([
      'wait',
      '-n',
      'poor',
      '--for=jsonpath={.status.hard.services}=0',
      'resourcequota/none',
    ]);
    await apply(connection('poor', 'orders'));
    const refused = await ground.until(ACCESS_CONNECTIONS, { namespace: 'poor' }, ([object]) => {
      const condition = conditionOf(object, 'Ready');
      return condition?.reason === 'ApplyFailed' && condition;
    });
    expect(refused.message).toMatch(/Service poor\/sallyport-proxy .*exceeded quota/);
    // The others are there all the same.
    await deployment('poor');
    await ground.plane.kubectl(['delete', 'resourcequota', '-n', 'poor', 'none']);
    await ground.until(SERVICES, { namespace: 'poor' }, (objects) => objects.length === 2);
    await ground.until(
      ACCESS_CONNECTIONS,
      { namespace: 'poor' },
      ([object]) => conditionOf(object, 'Ready')?.reason === 'NoProxies',
    );
  });

  test('a quota of pods is said too, which only the controllers of Kubernetes meet', async () => {
    await ground.namespace('crowded');
    const quota = { namespace: 'crowded', name: 'none' };
    await apply({
      apiVersion: 'v1',
      kind: 'ResourceQuota',
      metadata: quota,
      spec: { hard: { pods: '0' } },
    } as KubeObject);
    await ground.plane.kubectl([
      ...['wait', '-n', 'crowded', '--timeout=120s', '--for=jsonpath={.status.hard.pods}=0', 'resourcequota/none'],
    ]);
    await apply(connection('crowded', 'orders'));
    const said = (isBlocked: boolean) =>
      ground.until(ACCESS_CONNECTIONS, { namespace: 'crowded' }, ([object]) => {
        const condition = conditionOf(object, 'Ready');
        const hasQuota = /exceeded quota: none/.test(condition?.message ?? '');
        return condition?.reason === 'NoProxies' && hasQuota === isBlocked;
      });
    await said(true);
    await ground.plane.kubectl(['delete', 'resourcequota', '-n', 'crowded', 'none']);
    await said(false);
  });

  test('the archive is there once', async () => {
    await ground.until(STATEFUL_SETS, { namespace: OPERATOR_NAMESPACE }, ([object]) => object);
    await ground.plane.kubectl(['delete', 'statefulset', '-n', OPERATOR_NAMESPACE, NAMES.archive]);
    await ground.until(STATEFUL_SETS, { namespace: OPERATOR_NAMESPACE }, ([object]) => object);
  });

  test('it stops when asked, gives its Lease back, and leaves what it made', async () => {
    expect(await operator.stop()).toBe(0);
    const lease = await ground.client.get(LEASES, { namespace: OPERATOR_NAMESPACE, name: NAMES.operator });
    expect(lease?.spec?.holderIdentity ?? '').toBe('');
    expect(await ground.client.get(DEPLOYMENTS, { namespace: 'poor', name: NAMES.proxy })).toBeDefined();
    // Without an operator a connection can be deleted, and the cluster collects what belonged to it.
    await ground.plane.kubectl(['delete', 'accessconnections', '-n', 'poor', '--all', '--timeout=60s']);
    await ground.until(DEPLOYMENTS, { namespace: 'poor' }, (objects) => objects.length === 0);
  });
});
