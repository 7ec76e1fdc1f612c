/**
 * What a platform team does on its first day, on a real node: three files, one label, and stock psql goes through Sallyport unchanged.
 * So does stock ssh to a host beside the database.
 * The tests are one story and run in this order.
 */
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CommandError, type ControlPlane, nodeNeeds, startControlPlane } from '../cluster/control-plane.ts';
import { allImages, imageNeeds, SHOP_IMAGE } from '../cluster/images.ts';
import { kubectl } from '../cluster/programs.ts';
import { startProgram } from '../support/program.ts';
import { describeWith } from '../support/requires.ts';
import { repositoryRoot } from '../support/sallyport.ts';
import { EDGE_HOST, edgeManifests } from './edge.ts';
import { installSallyport, OPERATOR_NAMESPACE, uninstallSallyport } from './install.ts';
import { AGENTS, agentManifests, approverManifests, DATABASE_HOST, POLICY_FILES, SHOP, shopManifests } from './shop.ts';

interface List<T> {
  readonly items: readonly T[];
}
interface Named {
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly annotations?: Record<string, string>;
  };
}
interface Pod extends Named {
  readonly spec: {
    readonly initContainers?: readonly { readonly name: string; readonly restartPolicy?: string }[];
    readonly containers: readonly {
      readonly name: string;
      readonly volumeMounts: readonly { readonly name: string }[];
    }[];
  };
  readonly status: { readonly podIP: string };
}
interface Connection {
  readonly status: {
    readonly conditions: readonly { type: string; status: string; reason: string; message: string }[];
    readonly masking?: { readonly summary: string; readonly unmasked: readonly string[] };
  };
}
interface Rule {
  readonly status: { readonly matchedColumns?: number; readonly unmatchedPatterns?: number };
}

describeWith([...nodeNeeds, ...imageNeeds], 'the quick start, on a real node', () => {
  let cluster!: ControlPlane & AsyncDisposable;
  beforeAll(async () => {
    cluster = await startControlPlane({ node: true });
    for (const archive of await allImages()) await cluster.loadImage(archive);
    await cluster.apply(shopManifests(SHOP_IMAGE));
    await installSallyport(cluster);
  }, 1_800_000);
  afterAll(() => cluster?.stop());

  const list = async <T>(resource: string, namespace: string, selector: string): Promise<readonly T[]> => {
    const text = await cluster.kubectl(['get', resource, '-n', namespace, '-l', selector, '-o', 'json']);
    return (JSON.parse(text) as List<T>).items;
  };
  const agent = (...command: string[]): string[] => [
    'exec',
    '-n',
    AGENTS,
    'deploy/agent',
    '-c',
    'agent',
    '--',
    ...command,
  ];
  const target = `host=${DATABASE_HOST} dbname=orders user=anybody connect_timeout=10`;
  const psql = (sql: string, where = target): Promise<string> =>
    cluster.kubectl(agent('psql', where, '-At', '-c', sql));
  const plugin = async (...parameters: string[]): Promise<string> => {
    const { stdout } = await cluster.exec(path.join(repositoryRoot, 'bin', 'kubectl-sallyport'), parameters, {
      environment: {
        KUBECONFIG: cluster.kubeconfig,
        PATH: `${path.dirname(await kubectl())}:${process.env.PATH ?? ''}`,
      },
    });
    return stdout;
  };
  const condition = async (type: string) => {
    const { status } = await cluster.get<Connection>('accessconnection', 'orders', SHOP);
    return status.conditions.find((each) => each.type === type);
  };
  const untilCondition = (name: string, state: 'True' | 'False'): Promise<string> =>
    cluster.kubectl([
      'wait',
      '-n',
      SHOP,
      'accessconnection/orders',
      `--for=condition=${name}=${state}`,
      '--timeout=120s',
    ]);

  test('three files make a proxy that enforces them', async () => {
    for (const file of Object.values(POLICY_FILES)) await cluster.apply(file);
    await untilCondition('Ready', 'True');
    expect(await condition('Programmed')).toMatchObject({
      status: 'True',
      message: expect.stringMatching(/2 of 2 proxies/),
    });
  });

  test('a label gives a Deployment its connector, under Pod Security restricted', async () => {
    await cluster.apply(agentManifests(SHOP_IMAGE));
    await cluster.kubectl(['wait', '-n', AGENTS, 'deploy/agent', '--for=condition=Available', '--timeout=120s']);
    const [pod] = await list<Pod>('pods', AGENTS, 'app=agent');
    expect(pod?.spec.initContainers).toEqual([
      expect.objectContaining({ name: 'sallyport-connector', restartPolicy: 'Always' }),
    ]);
    // The token for Sallyport is in the connector alone.
    const [mounted] =
      pod?.spec.containers.map(({ volumeMounts }) => volumeMounts.map(({ name }) => name).join(' ')) ?? [];
    expect(mounted).not.toContain('token');
  });

  test('stock psql reads, and what is personal is masked', async () => {
    expect(await psql('SELECT name, email FROM customers ORDER BY id')).toBe('Ada|***\nGrace|***\n');
    expect(await psql('SELECT count(*) FROM orders')).toBe('20\n');
    // One of the proxies has read the catalog by now, and reports within ten seconds.
    await untilCondition('MaskingComplete', 'True');
    const { status } = await cluster.get<Connection>('accessconnection', 'orders', SHOP);
    expect(status.masking).toEqual({ summary: '1/1', unmasked: [] });
    const rule = await cluster.get<Rule>('maskingrule', 'personal-data', SHOP);
    expect(rule.status).toMatchObject({ matchedColumns: 1, unmatchedPatterns: 0 });
  });

  test('DROP TABLE is refused, and the table stays', async () => {
    await expect(psql('DROP TABLE orders')).rejects.toThrow(
      /Sallyport denied this statement: DropTable on public\.orders/,
    );
    expect(await psql('SELECT count(*) FROM orders')).toBe('20\n');
  });

  test('a DELETE waits until somebody whom policy names has approved it with kubectl patch', async () => {
    await cluster.apply(approverManifests());
    await using held = startProgram(await kubectl(), [
      ...['--kubeconfig', cluster.kubeconfig],
      ...agent('psql', target, '-c', 'DELETE FROM orders WHERE id <= 5'),
    ]);
    await held.printed('Sallyport holds this statement');
    await held.printed('It runs once approved');
    const request = /Request ([a-z0-9-]+)/.exec(held.output())?.[1] ?? '';
    const vote = [
      ...['patch', '-n', SHOP, 'approvalrequest', request, '--type=json', '-p'],
      JSON.stringify([
        { op: 'add', path: '/spec/decisions/-', value: { verdict: 'Approve', reason: 'agreed clean-up' } },
      ]),
    ];
    await expect(cluster.kubectl(vote, { as: { user: 'mallory' } })).rejects.toThrow(/forbidden/i);
    await expect(cluster.kubectl(vote, { as: { user: 'eve' } })).rejects.toThrow(/no rule of request .* counts eve/);
    await cluster.kubectl(vote, { as: { user: 'ada' } });
    await held.printed('DELETE 5');
    expect(await psql('SELECT count(*) FROM orders')).toBe('15\n');
    await cluster.kubectl([
      'wait',
      '-n',
      SHOP,
      `approvalrequest/${request}`,
      '--for=jsonpath={.status.state}=Executed',
      '--timeout=60s',
    ]);
  });

  test('the plugin shows the record and the request through the API server alone', async () => {
    const sessions = await plugin('sessions', 'list', '--namespace', SHOP, '-o', 'json');
    expect(sessions).toContain(`system:serviceaccount:${AGENTS}:agent`);
    const denied = sessions.split('\n').find((line) => /"connection":"shop\/orders".*"denied":1/.test(line));
    const { session } = JSON.parse(denied ?? '{}') as { session: string };
    const replayed = await plugin('sessions', 'replay', session, '--namespace', SHOP, '--speed', '1000');
    expect(replayed).toContain('DROP TABLE orders');
    const requests = await plugin('requests', 'list', '--all', '--namespace', SHOP, '-o', 'json');
    expect(requests).toMatch(/Executed/);
    expect(requests).toMatch(/DELETE FROM orders/);
    for (const text of [sessions, replayed, requests]) expect(text).not.toContain('@example.com');
  });

  test('says that egress is open while nothing enforces NetworkPolicies, as it is', async () => {
    await untilCondition('EgressEnforced', 'False');
    expect(await condition('EgressEnforced')).toMatchObject({ reason: 'Bypass' });
    await expect(plugin('doctor')).rejects.toThrow(/\nbroken +egress .*reached without Sallyport/);
    const [database] = await list<Pod>('pods', SHOP, 'app=orders-db');
    // It answers: only the password is missing.
    await expect(psql('SELECT 1', `host=${database?.status.podIP} user=postgres`)).rejects.toThrow(
      /no password supplied/,
    );
  });

  test('says that egress is closed once it is', async () => {
    const [database] = await list<Pod>('pods', SHOP, 'app=orders-db');
    const proxies = await list<Pod>('pods', SHOP, 'app.kubernetes.io/name=sallyport-proxy');
    const allowed = proxies.map(({ status }) => status.podIP).join(', ');
    // What a network plug-in makes of the NetworkPolicies: of all pods the proxies alone reach the database.
    const rules = [
      'table ip engine {',
      'chain forward {',
      'type filter hook forward priority 0',
      `ip daddr ${database?.status.podIP} tcp dport 5432 ip saddr != { ${allowed} } drop`,
      '}',
      '}',
      '',
    ].join('\n');
    await cluster.exec('nft', ['-f', '-'], { input: rules });
    await cluster.kubectl(['delete', 'pod', '-n', AGENTS, '-l', 'app=agent']);
    await cluster.kubectl(['rollout', 'status', '-n', AGENTS, 'deploy/agent', '--timeout=120s']);
    await untilCondition('EgressEnforced', 'True');
    const direct = () =>
      psql('SELECT 1', `host=${database?.status.podIP} user=postgres connect_timeout=2`).catch(String);
    // The Deployment may still name a pod that is about to go.
    await expect.poll(direct, { timeout: 60_000 }).toMatch(/timeout expired/);
    expect(await psql('SELECT count(*) FROM orders')).toBe('15\n');
    // Until then it says that egress is open, as soon as a connector has found it so.
    expect(await plugin('doctor')).toMatch(/\n0 broken, /);
  });

  test('a host beside the database is one more connection, with a certificate for the names that agents dial', async () => {
    await cluster.apply(edgeManifests(SHOP_IMAGE));
    // Its credential has the proxies start anew; pods of agents get those that stay.
    const first = '{.spec.template.spec.volumes[?(@.name=="credentials")].projected.sources[0].secret.name}';
    const proxies = ['-n', SHOP, 'deploy/sallyport-proxy', '--timeout=120s'];
    await cluster.kubectl(['wait', ...proxies, `--for=jsonpath=${first}=edge-ca`]);
    await cluster.kubectl(['rollout', 'status', ...proxies]);
    await cluster.kubectl(['wait', '-n', SHOP, 'accessconnection/edge', '--for=condition=Ready', '--timeout=120s']);
    await cluster.kubectl(['rollout', 'restart', '-n', AGENTS, 'deploy/agent']);
    await cluster.kubectl(['rollout', 'status', '-n', AGENTS, 'deploy/agent', '--timeout=120s']);
  });

  const ssh = (...command: string[]): Promise<string> =>
    cluster.kubectl(agent('ssh', '-o', 'BatchMode=yes', `deploy@${EDGE_HOST}`, ...command));

  test('stock ssh with an empty ~/.ssh runs what is allowed, and trusts the host at once', async () => {
    expect(await cluster.kubectl(agent('sh', '-c', 'ls -A ~/.ssh 2>&1 || true'))).toMatch(/^(|.*No such file.*)\n?$/);
    expect(await ssh('id', '-un')).toBe('deploy\n');
    // The host's own log says who it was.
    const log = await cluster.kubectl(['logs', '-n', SHOP, 'deploy/edge']);
    expect(log).toContain(`ID system:serviceaccount:${AGENTS}:agent session `);
  });

  test('what is not allowed on the host ends with status 126, says why, and is in the record', async () => {
    const denied = await ssh('cat', '/etc/passwd').catch((error: unknown) => error);
    expect(denied).toBeInstanceOf(CommandError);
    expect(String(denied)).toMatch(/sallyport: denied/);
    expect(String(denied)).toMatch(/exit code 126/);
    const sessions = await plugin('sessions', 'list', '--connection', `${SHOP}/edge`, '-o', 'json');
    expect(sessions).toMatch(/"denied":1.*system:serviceaccount:agents:agent/);
  });

  test('is uninstalled without a trace, and blocks nothing', async () => {
    await uninstallSallyport(cluster);
    // What the operator had applied is removed by a Job, whose pod ran on the node.
    const events = await cluster.kubectl([
      ...['get', 'events', '-n', OPERATOR_NAMESPACE, '-o', 'custom-columns=:.reason'],
      ...['--field-selector', 'involvedObject.kind=Job,involvedObject.name=sallyport-uninstall'],
    ]);
    expect(events).toContain('Completed');
    const kinds = [
      ...['deployments', 'statefulsets', 'services', 'serviceaccounts', 'configmaps', 'secrets', 'networkpolicies'],
      ...['poddisruptionbudgets', 'roles', 'rolebindings', 'leases', 'jobs'],
    ];
    const left = await cluster.kubectl([
      ...['get', kinds.join(','), '--all-namespaces', '-o', 'name'],
      ...['-l', 'app.kubernetes.io/managed-by=sallyport'],
    ]);
    expect(left).toBe('');
    const everywhere = await cluster.kubectl([
      ...['get', 'mutatingwebhookconfigurations,validatingwebhookconfigurations,validatingadmissionpolicies'],
      ...['-o', 'name'],
    ]);
    expect(everywhere).not.toContain('sallyport');
    const roles = await cluster.kubectl(['get', 'clusterroles,clusterrolebindings', '-o', 'name']);
    expect(roles).not.toContain('sallyport');
    // Pods start as if it had never been there, and namespaces go.
    await cluster.kubectl(['delete', 'pod', '-n', AGENTS, '-l', 'app=agent']);
    await cluster.kubectl(['rollout', 'status', '-n', AGENTS, 'deploy/agent', '--timeout=120s']);
    const [pod] = await list<Pod>('pods', AGENTS, 'app=agent');
    expect(pod?.spec.initContainers ?? []).toEqual([]);
    // A proxy whose last lines the archive has not taken goes on trying for 50 s, though that went with it.
    await cluster.kubectl(['delete', 'namespace', AGENTS, SHOP, OPERATOR_NAMESPACE, '--timeout=180s']);
    await expect(cluster.kubectl(['get', 'namespace', SHOP])).rejects.toBeInstanceOf(CommandError);
  }, 300_000);
});
