import { afterAll, beforeAll, expect, test } from 'vitest';
import { NAMES } from '../../api/cluster.ts';
import { CONFIG_MAPS, EVENTS, LEASES } from '../../kube/builtin.ts';
import type { KubeObject, ResourceType } from '../../kube/types.ts';
import { ACCESS_CONNECTIONS, ACCESS_POLICIES, MASKING_RULES } from '../../operator/resources.ts';
import { describeWith } from '../support/requires.ts';
import { controlPlaneNeeds } from './control-plane.ts';
import {
  conditionOf,
  connection,
  createOperatorGround,
  OPERATOR_NAMESPACE,
  type OperatorGround,
  policy,
  proxyLease,
} from './operator-ground.ts';

const NAMESPACE = 'shop';

describeWith(controlPlaneNeeds, 'conditions of an operator', () => {
  let ground: OperatorGround;

  beforeAll(async () => {
    ground = await createOperatorGround();
    await ground.operator();
    await ground.namespace(NAMESPACE);
    await apply(connection(NAMESPACE, 'orders'), policy(NAMESPACE, 'readers'));
  });
  afterAll(async () => {
    await ground[Symbol.asyncDispose]();
  });

  const apply = (...objects: readonly KubeObject[]): Promise<string> =>
    ground.plane.apply(objects.map((object) => JSON.stringify(object)).join('\n---\n'));
  /** Waits until a condition of an object has a reason. */
  const reason = async <T extends KubeObject>(
    type: ResourceType<T>,
    namespace: string,
    name: string,
    condition: string,
    wanted: string,
  ) =>
    ground.until(type, { namespace }, (objects) => {
      const found = conditionOf(
        objects.find(({ metadata }) => metadata.name === name),
        condition,
      );
      return found?.reason === wanted && found;
    });
  const ofOrders = (condition: string, wanted: string) =>
    reason(ACCESS_CONNECTIONS, NAMESPACE, 'orders', condition, wanted);
  const hash = async (): Promise<string> =>
    (await ground.client.get(CONFIG_MAPS, { namespace: NAMESPACE, name: NAMES.bundle }))?.data?.['hash'] ?? '';
  /** A replica that reports this, once. */
  const report = async (name: string, content: Parameters<typeof proxyLease>[2], options = {}): Promise<void> => {
    await ground.plane.apply(JSON.stringify(proxyLease(NAMESPACE, name, content, options)));
  };
  /** Both replicas follow the bundle until the operator is content. */
  const enforced = async (): Promise<string> => {
    for (;;) {
      const bundle = await hash();
      await report('a', { bundle });
      await report('b', { bundle });
      const next = await ground.until(ACCESS_CONNECTIONS, { namespace: NAMESPACE }, (objects) => {
        const { status } = objects.find(({ metadata }) => metadata.name === 'orders') ?? {};
        const programmed = status?.conditions?.find(({ type }) => type === 'Programmed');
        if (programmed?.reason === 'Enforced' && status?.policyHash === bundle) return bundle;
        // The operator has made another one since.
        return programmed?.message.startsWith('0 of 2') === true && 'again';
      });
      if (next !== 'again') return next;
    }
  };

  test('Programmed needs every replica, and Ready follows', async () => {
    await ofOrders('Ready', 'NoProxies');
    await enforced();
    await ofOrders('Ready', 'Ready');
    await ground.client.delete(LEASES, { namespace: NAMESPACE, name: 'b' });
    const waiting = await ofOrders('Programmed', 'Pending');
    expect(waiting.message).toBe('1 of 2 proxies enforce the policy; 1 not running');
    await report('b', { bundle: 'sha256:of-yesterday' });
    await ground.until(ACCESS_CONNECTIONS, { namespace: NAMESPACE }, ([object]) =>
      conditionOf(object, 'Programmed')?.message.includes('b still on another one'),
    );
    // On a busy machine the policy comes into the bundle only now: then both are behind.
    await enforced();
    await ofOrders('Ready', 'Ready');
    const object = await ground.client.get(ACCESS_CONNECTIONS, { namespace: NAMESPACE, name: 'orders' });
    expect(object?.status).toMatchObject({ observedGeneration: 1, policies: 1, policyHash: await hash() });
    const readers = await reason(ACCESS_POLICIES, NAMESPACE, 'readers', 'Ready', 'Ready');
    expect(readers.status).toBe('True');
  });

  test('a changed policy is programmed anew', async () => {
    const before = await enforced();
    await apply(policy(NAMESPACE, 'readers', { exceptSubjects: [{ serviceAccount: { name: 'guest' } }] }));
    await ofOrders('Programmed', 'Pending');
    const now = await hash();
    expect(now).not.toBe(before);
    await ground.until(ACCESS_POLICIES, { namespace: NAMESPACE }, ([object]) => object?.status?.proxies === '0/2');
    await enforced();
    await ground.until(ACCESS_POLICIES, { namespace: NAMESPACE }, ([object]) => object?.status?.proxies === '2/2');
  });

  test('what proxies report becomes conditions', async () => {
    const bundle = await enforced();
    await report('a', {
      bundle,
      problems: { orders: 'Secret shop/orders-login has no key password' },
      egress: { orders: { open: ['bots/agent-1'], probed: new Date().toISOString() } },
      auditFailure: 'no space left',
      sessions: { orders: 3 },
    });
    expect((await ofOrders('CredentialsResolved', 'NotResolved')).message).toContain(
      'orders-login has no key password',
    );
    expect((await ofOrders('EgressEnforced', 'Bypass')).message).toMatch(
      /^bots\/agent-1 can reach orders\.db\.example:5432/,
    );
    expect((await ofOrders('AuditHealthy', 'NotRecording')).message).toContain('no space left');
    expect(await ofOrders('Ready', 'NotResolved')).toMatchObject({ status: 'False' });
    await ground.until(ACCESS_CONNECTIONS, { namespace: NAMESPACE }, ([object]) => object?.status?.sessions === 3);
    await ground.until(EVENTS, { namespace: NAMESPACE }, (events) => events.some((event) => event.reason === 'Bypass'));
    await report('a', { bundle, egress: { orders: { open: [], probed: new Date().toISOString() } } });
    await ofOrders('EgressEnforced', 'Enforced');
    await ofOrders('Ready', 'Ready');
  });

  test('what is not masked is said, and stays said when the proxy that knew it is another', async () => {
    await ofOrders('MaskingComplete', 'NotRead');
    await apply({
      apiVersion: 'sallyport.dev/v1alpha1',
      kind: 'MaskingRule',
      metadata: { namespace: NAMESPACE, name: 'personal' },
      spec: { connections: { names: ['orders'] }, columns: [{ match: ['*.*.email', '*.*.iban'] }] },
    } as KubeObject);
    const bundle = await enforced();
    const rules = { 'shop/personal': { columns: 1, unmatched: [1] } };
    const masking = { orders: { masked: 1, unmasked: 1, names: ['public.customers.phone'], rules } };
    await report('a', { bundle, masking });
    const finding = await ofOrders('MaskingComplete', 'Unmasked');
    expect(finding.message).toContain('public.customers.phone');
    await ground.until(MASKING_RULES, { namespace: NAMESPACE }, (objects) => {
      const { status } = objects.find(({ metadata }) => metadata.name === 'personal') ?? {};
      return status?.matchedColumns === 1 && status.unmatchedPatterns === 1;
    });
    await report('a', { bundle, auditFailure: 'no space left' });
    await ofOrders('AuditHealthy', 'NotRecording');
    const object = await ground.client.get(ACCESS_CONNECTIONS, { namespace: NAMESPACE, name: 'orders' });
    expect(object?.status?.masking).toEqual({ summary: '1/2', unmasked: ['public.customers.phone'] });
    expect(conditionOf(object, 'MaskingComplete')?.reason).toBe('Unmasked');
    await report('a', { bundle, masking: { orders: { masked: 2, unmasked: 0, names: [], rules } } });
    await ofOrders('MaskingComplete', 'Masked');
    await ground.plane.kubectl(['delete', 'maskingrule', '-n', NAMESPACE, 'personal']);
    await enforced();
  });

  test('a replica whose Lease is over counts no more', async () => {
    await report('b', { bundle: await enforced(), sessions: { orders: 1 } }, { seconds: 2 });
    const gone = await ofOrders('Programmed', 'Pending');
    expect(gone.message).toContain('1 not running');
    await report('b', { bundle: await hash() });
    await ofOrders('Programmed', 'Enforced');
  });

  test('a report that is no report breaks nothing', async () => {
    await enforced();
    const lease = proxyLease(NAMESPACE, 'c', {});
    for (const text of ['{', '[]', '{"sessions":7,"problems":null,"egress":[1]}']) {
      const annotations = { ...lease.metadata.annotations, 'sallyport.dev/proxy-report': text };
      await ground.plane.apply(JSON.stringify({ ...lease, metadata: { ...lease.metadata, annotations } }));
    }
    const behind = await ofOrders('Programmed', 'Pending');
    expect(behind.message).toContain('2 of 3 proxies');
    await ground.client.delete(LEASES, { namespace: NAMESPACE, name: 'c' });
    await ofOrders('Programmed', 'Enforced');
  });

  test('two connections with one host, port and database: the older serves', async () => {
    await apply(
      connection(NAMESPACE, 'again', { target: { host: 'orders.db.example', port: 5432, database: 'orders' } }),
    );
    const conflict = await reason(ACCESS_CONNECTIONS, NAMESPACE, 'again', 'Accepted', 'Conflict');
    expect(conflict.message).toContain('shop/orders');
    expect(await ofOrders('Accepted', 'Accepted')).toMatchObject({ status: 'True' });
    await ground.plane.kubectl(['delete', 'accessconnection', '-n', NAMESPACE, 'again']);
  });

  test('policies say what keeps them from having an effect', async () => {
    await apply(
      policy(NAMESPACE, 'typo', { connections: { names: ['oders'] } }),
      policy(NAMESPACE, 'broken', {
        rules: [{ name: 'r', effect: 'Deny', when: 'command.nothing ==' }],
      }),
      policy(OPERATOR_NAMESPACE, 'generous'),
      {
        apiVersion: 'sallyport.dev/v1alpha1',
        kind: 'MaskingRule',
        metadata: { namespace: NAMESPACE, name: 'mail' },
        spec: { connections: { names: ['elsewhere'] }, columns: [{ match: ['*.*.email'] }] },
      } as KubeObject,
    );
    const typo = await reason(ACCESS_POLICIES, NAMESPACE, 'typo', 'Effective', 'UnknownConnection');
    expect(typo.message).toMatch(/^SPP001: names the AccessConnection oders/);
    expect(await reason(ACCESS_POLICIES, NAMESPACE, 'broken', 'Ready', 'Invalid')).toMatchObject({ status: 'False' });
    await reason(ACCESS_POLICIES, OPERATOR_NAMESPACE, 'generous', 'Effective', 'AllowInGuardrail');
    await reason(MASKING_RULES, NAMESPACE, 'mail', 'Effective', 'UnknownConnection');
    // A guardrail counts for every namespace.
    await ground.until(ACCESS_CONNECTIONS, { namespace: NAMESPACE }, ([object]) => object?.status?.policies === 3);
  });

  test('conditions keep their time while their status stays', async () => {
    const times = async (): Promise<unknown> =>
      (await ground.client.get(ACCESS_CONNECTIONS, { namespace: NAMESPACE, name: 'orders' }))?.status?.conditions?.map(
        ({ type, status, lastTransitionTime }) => [type, status, lastTransitionTime],
      );
    await enforced();
    const before = await times();
    await apply(connection(NAMESPACE, 'orders', { mode: 'Observe' }));
    await ofOrders('Programmed', 'Pending');
    await enforced();
    expect(
      (await ground.client.get(ACCESS_CONNECTIONS, { namespace: NAMESPACE, name: 'orders' }))?.status,
    ).toMatchObject({
      observedGeneration: 2,
    });
    const kept = (list: unknown) =>
      (list as readonly string[][]).filter(([type]) => !['Ready', 'Programmed'].includes(type ?? ''));
    expect(kept(await times())).toEqual(kept(before));
  });
});
