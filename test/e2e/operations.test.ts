/**
 * Days after the first one, on a real node: workloads of other kinds, a proxy that is evicted, an upgrade, an operator that is down and
 * an archive that is away. Most of the time a session is open. The tests are one story and run in this order.
 */
import path from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { type ControlPlane, nodeNeeds, startControlPlane } from '../cluster/control-plane.ts';
import { allImages, CONNECTOR_IMAGE, imageNeeds, SALLYPORT_IMAGE, SHOP_IMAGE } from '../cluster/images.ts';
import { kubectl } from '../cluster/programs.ts';
import { startProgram } from '../support/program.ts';
import { describeWith } from '../support/requires.ts';
import { repositoryRoot } from '../support/sallyport.ts';
import { chartParameters, installSallyport, OPERATOR_NAMESPACE, runHelm } from './install.ts';
import { AGENTS, agentManifests, DATABASE_HOST, POLICY_FILES, SHOP, shopManifests } from './shop.ts';
import { DESK, furtherManifests, jobManifest, sleepingPod, throughGateway } from './workloads.ts';

interface Named {
  readonly metadata: {
    readonly name: string;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly deletionTimestamp?: string;
  };
}
interface Pod extends Named {
  readonly spec: { readonly initContainers?: readonly { readonly name: string }[] };
  readonly status: { readonly podIP: string };
}
interface Session {
  readonly session: string;
  readonly connection: string;
  readonly application: string;
  readonly state: string;
  readonly reason?: string;
}

/** Whoever repairs an archive by hand: the chart's value lets this group pass the fences. */
const BREAK_GLASS = { user: 'on-call', groups: ['system:masters', 'break-glass'] } as const;

describeWith([...nodeNeeds, ...imageNeeds], 'operations, on a real node', () => {
  let cluster!: ControlPlane & AsyncDisposable;
  beforeAll(async () => {
    cluster = await startControlPlane({ node: true });
    for (const archive of await allImages()) await cluster.loadImage(archive);
    await cluster.apply(shopManifests(SHOP_IMAGE));
    await installSallyport(cluster, ['--set-json', 'fences.exemptGroups=["break-glass"]']);
    for (const file of Object.values(POLICY_FILES)) await cluster.apply(file);
    await cluster.apply(furtherManifests());
    for (const name of ['orders', 'reports', 'ledger']) await condition(name, 'Ready', 'True');
    await cluster.apply(agentManifests(SHOP_IMAGE));
    await cluster.kubectl(['rollout', 'status', '-n', AGENTS, 'deploy/agent', '--timeout=120s']);
  }, 1_800_000);
  afterAll(() => cluster?.stop());

  const condition = (connection: string, name: string, state: 'True' | 'False'): Promise<string> =>
    cluster.kubectl([
      ...['wait', '-n', SHOP, `accessconnection/${connection}`],
      ...[`--for=condition=${name}=${state}`, '--timeout=120s'],
    ]);
  const list = async <T>(resource: string, namespace: string, ...more: string[]): Promise<readonly T[]> => {
    const found = JSON.parse(await cluster.kubectl(['get', resource, '-n', namespace, ...more, '-o', 'json'])) as {
      readonly items: readonly T[];
    };
    return found.items;
  };
  const inPod = (namespace: string, pod: string, script: string): string[] => [
    ...['exec', '-n', namespace, pod, '-c', 'agent', '--', 'sh', '-euc', script],
  ];
  /** psql under a name of its own, by which its session is found in the record. */
  const psql = (application: string, ...statements: string[]): string[] =>
    inPod(
      AGENTS,
      'deploy/agent',
      `psql "host=${DATABASE_HOST} dbname=orders user=anybody connect_timeout=30 application_name=${application}" -At ${statements
        .map((sql) => `-c "${sql}"`)
        .join(' ')}`,
    );
  const read = (application: string): Promise<string> =>
    cluster.kubectl(psql(application, 'SELECT count(*) FROM orders'));
  /** A session that is in the middle of a transaction for so long. */
  const busy = async (application: string, seconds: number) => {
    const statements = [
      'BEGIN',
      "SELECT 'in the middle'",
      `SELECT pg_sleep(${seconds})`,
      "SELECT 'still here'",
      'COMMIT',
    ];
    const session = startProgram(await kubectl(), [
      '--kubeconfig',
      cluster.kubeconfig,
      ...psql(application, ...statements),
    ]);
    await session.printed('in the middle');
    return session;
  };
  const proxies = () => list<Pod>('pods', SHOP, '-l', 'app.kubernetes.io/name=sallyport-proxy');
  /** Sessions of the record, as the archive has them. */
  const recorded = async (): Promise<ReadonlyMap<string, Session>> => {
    const { stdout } = await cluster.exec(
      path.join(repositoryRoot, 'bin', 'kubectl-sallyport'),
      ['sessions', 'list', '--namespace', SHOP, '-o', 'json'],
      {
        environment: {
          KUBECONFIG: cluster.kubeconfig,
          PATH: `${path.dirname(await kubectl())}:${process.env.PATH ?? ''}`,
        },
      },
    );
    const sessions = stdout.split('\n').filter((line) => line !== '');
    return new Map(sessions.map((line) => JSON.parse(line) as Session).map((each) => [each.application, each]));
  };
  /** Resolves once the archive has the ends of all of them. */
  const areRecorded = (...applications: readonly string[]): Promise<void> =>
    vi.waitFor(
      async () => {
        const sessions = await recorded();
        const states = applications.map((name) => [name, sessions.get(name)?.state]);
        expect(states).toEqual(applications.map((name) => [name, 'ended']));
      },
      { interval: 500 },
    );

  test('a Job ends when its agent does; its init container and two connections work, on a read-only root', async () => {
    await cluster.apply(jobManifest(SHOP_IMAGE));
    await cluster.kubectl(['wait', '-n', AGENTS, 'job/nightly', '--for=condition=Complete', '--timeout=120s']);
    const logs = (container: string) => cluster.kubectl(['logs', '-n', AGENTS, 'job/nightly', '-c', container]);
    expect(await logs('prepare')).toBe('20\n');
    expect(await logs('agent')).toBe('***\n200\n');
    const [pod] = await list<Pod>('pods', AGENTS, '-l', 'job-name=nightly');
    expect(pod?.spec.initContainers?.map(({ name }) => name)).toEqual(['sallyport-connector', 'prepare']);
  });

  test('without a connector a pod goes through the gateway with the token that it was given', async () => {
    await cluster.apply(sleepingPod(SHOP_IMAGE, 'clerk', DESK));
    await cluster.kubectl(['wait', '-n', DESK, 'pod/clerk', '--for=condition=Ready', '--timeout=60s']);
    const [pod] = await list<Pod>('pods', DESK);
    expect(pod?.spec.initContainers ?? []).toEqual([]);
    const sql = (text: string) => cluster.kubectl(inPod(DESK, 'clerk', throughGateway(text)));
    expect(await sql('SELECT count(*) FROM orders')).toBe('20\n');
    await expect(sql('DROP TABLE orders')).rejects.toThrow(/Sallyport denied this statement: DropTable/);
  });

  test('a pod that says no gets nothing', async () => {
    await cluster.apply(sleepingPod(SHOP_IMAGE, 'aside', DESK, 'false'));
    const pod = await cluster.get<Pod>('pod', 'aside', DESK);
    expect(JSON.stringify(pod)).not.toContain('SALLYPORT');
    expect(pod.spec.initContainers ?? []).toEqual([]);
  });

  test('a proxy is evicted while a session is open: one at a time, the transaction ends first, the record is whole', async () => {
    await using session = await busy('evicted', 4);
    const replicas = await proxies();
    const open = await Promise.all(
      replicas.map(async ({ status }) =>
        (
          await cluster.kubectl(inPod(AGENTS, 'deploy/agent', `curl -fsS http://${status.podIP}:9090/metrics`))
        ).includes('sallyport_sessions{connection="shop/orders"} 1'),
      ),
    );
    const holder = replicas[open.indexOf(true)]?.metadata.name ?? '';
    const other = replicas[open.indexOf(false)]?.metadata.name ?? '';
    const evict = (name: string): Promise<string> =>
      cluster.kubectl(['create', '--raw', `/api/v1/namespaces/${SHOP}/pods/${name}/eviction`, '-f', '-'], {
        input: JSON.stringify({ apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name, namespace: SHOP } }),
      });
    await evict(holder);
    await expect(evict(other)).rejects.toThrow(/disruption budget/);
    // The agent's next session is with the other one.
    expect(await read('while-evicted')).toBe('20\n');
    await session.printed('COMMIT');
    expect(session.output()).toContain('still here');
    await cluster.kubectl(['wait', '-n', SHOP, `pod/${holder}`, '--for=delete', '--timeout=120s']);
    await areRecorded('evicted', 'while-evicted');
    await condition('orders', 'Programmed', 'True');
  });

  test('an upgrade drains sessions and takes new ones all along', async () => {
    const store = ['--address', path.join(cluster.folder, 'containerd.sock'), '--namespace', 'k8s.io'];
    const next = (image: string): string => image.replace(/:.*/, ':next');
    for (const image of [SALLYPORT_IMAGE, CONNECTOR_IMAGE])
      await cluster.exec('ctr', [...store, 'images', 'tag', image, next(image)]);
    await using session = await busy('upgraded', 12);
    const upgrading = runHelm(cluster, [
      ...chartParameters(next(SALLYPORT_IMAGE), next(CONNECTOR_IMAGE)),
      ...['--reuse-values', '--set', 'archive.quotaBytes=268435456,proxies.replicas=3'],
    ]);
    const meanwhile: string[] = [];
    const isNew = async (): Promise<boolean> => {
      const [deployment] = await list<{ spec: { template: unknown }; status: Record<string, number> }>(
        ...(['deployments', SHOP, '-l', 'app.kubernetes.io/name=sallyport-proxy'] as const),
      );
      const { updatedReplicas, availableReplicas, replicas } = deployment?.status ?? {};
      const wanted = JSON.stringify(deployment?.spec.template).includes(next(SALLYPORT_IMAGE));
      return wanted && updatedReplicas === 3 && availableReplicas === 3 && replicas === 3;
    };
    do {
      const name = `meanwhile-${meanwhile.length}`;
      expect(await read(name)).toBe('20\n');
      meanwhile.push(name);
    } while (!(await isNew()));
    await upgrading;
    await session.printed('COMMIT');
    expect(session.output()).toContain('still here');
    await condition('orders', 'Programmed', 'True');
    await cluster.kubectl([
      ...['wait', '-n', OPERATOR_NAMESPACE, 'statefulset/sallyport-archive'],
      ...['--for=jsonpath={.status.updatedReplicas}=1', '--timeout=120s'],
    ]);
    await cluster.kubectl([
      'rollout',
      'status',
      '-n',
      OPERATOR_NAMESPACE,
      'statefulset/sallyport-archive',
      '--timeout=120s',
    ]);
    await areRecorded('upgraded', ...meanwhile);
  }, 240_000);

  test('with operator and archive away, traffic and quarantine go on, and new agents are refused with a reason', async () => {
    const scale = (what: string, replicas: number) =>
      cluster.kubectl(['scale', '-n', OPERATOR_NAMESPACE, what, `--replicas=${replicas}`], { as: BREAK_GLASS });
    const gone = (component: string) =>
      cluster.kubectl([
        ...['wait', '-n', OPERATOR_NAMESPACE, 'pod', '-l', `app.kubernetes.io/component=${component}`],
        ...['--for=delete', '--timeout=120s'],
      ]);
    await scale('deployment/sallyport-operator', 0);
    await gone('operator');
    await scale('statefulset/sallyport-archive', 0);
    await gone('archive');
    expect(await read('alone')).toBe('20\n');
    await expect(cluster.kubectl(psql('alone-denied', 'DROP TABLE orders'))).rejects.toThrow(/Sallyport denied/);
    const another = sleepingPod(SHOP_IMAGE, 'late', AGENTS, 'true');
    await expect(cluster.apply(another)).rejects.toThrow(/failed calling webhook "[^"]*sallyport/);

    await using session = await busy('quarantined', 60);
    const [pod] = await list<Named>('pods', AGENTS, '-l', 'app=agent');
    await cluster.kubectl(['label', 'pod', '-n', AGENTS, pod?.metadata.name ?? '', 'sallyport.dev/quarantine=true']);
    await expect(session.printed('still here')).rejects.toThrow(/ended before/);
    await expect(read('quarantined-again')).rejects.toThrow(/quarantine/);

    await scale('statefulset/sallyport-archive', 1);
    await areRecorded('alone', 'alone-denied', 'quarantined');
    await scale('deployment/sallyport-operator', 2);
    await cluster.kubectl([
      'rollout',
      'status',
      '-n',
      OPERATOR_NAMESPACE,
      'deploy/sallyport-operator',
      '--timeout=120s',
    ]);
    await cluster.apply(another);
  });
});
