/**
 * APIs on a real node: stock kubectl and curl in a pod that was only labelled. What they may do, what waits for people, what they do not
 * see, and what the API server's own log says of it. The tests are one story and run in this order.
 */
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { CommandError, type ControlPlane, nodeNeeds, startControlPlane } from '../cluster/control-plane.ts';
import { allImages, imageNeeds } from '../cluster/images.ts';
import { kubectl as kubectlProgram } from '../cluster/programs.ts';
import { startProgram } from '../support/program.ts';
import { describeWith } from '../support/requires.ts';
import {
  APP_PASSWORD,
  accessManifests,
  agentDeployment,
  BASE_URL,
  CONNECTIONS,
  STOCK_HOST,
  STOCK_TOKEN,
  WEB,
  worldManifests,
} from './apis.ts';
import { installSallyport } from './install.ts';
import { AGENTS, SHOP } from './shop.ts';

interface Pod {
  readonly spec: { readonly volumes: readonly { readonly name: string }[] };
}
interface Requests {
  readonly items: readonly {
    readonly metadata: { readonly name: string };
    readonly status?: { readonly state?: string };
  }[];
}
interface AuditEvent {
  readonly verb: string;
  readonly user: { readonly username: string };
  readonly impersonatedUser?: {
    readonly username: string;
    readonly groups?: readonly string[];
    readonly extra?: Readonly<Record<string, readonly string[]>>;
  };
  readonly requestURI: string;
  readonly objectRef?: { readonly resource?: string; readonly subresource?: string };
  readonly responseStatus?: { readonly code?: number };
}

const ACCOUNT = `system:serviceaccount:${AGENTS}:agent`;
const TRUST = '/var/run/sallyport/trust/ca-bundle.crt';
const TOKEN = '/var/run/secrets/kubernetes.io/serviceaccount/token';

describeWith([...nodeNeeds, ...imageNeeds], 'APIs, on a real node', () => {
  let cluster!: ControlPlane & AsyncDisposable;

  const agent = (...command: string[]): string[] => {
    return ['exec', '-n', AGENTS, 'deploy/agent', '-c', 'agent', '--', ...command];
  };
  const inPod = (...command: string[]): Promise<string> => cluster.kubectl(agent(...command));
  /** What kubectl in the pod prints, as it finds the API server by itself. */
  const kubectl = (...parameters: string[]): Promise<string> => inPod('/tools/kubectl', ...parameters);
  const refused = async (attempt: Promise<string>): Promise<string> => {
    try {
      throw new Error(`it was let through: ${await attempt}`);
    } catch (error) {
      if (error instanceof CommandError) return `${error.stderr}${error.stdout}`;
      throw error;
    }
  };

  beforeAll(async () => {
    cluster = await startControlPlane({ node: true, audit: 'Metadata' });
    for (const archive of await allImages()) await cluster.loadImage(archive);
    await cluster.apply(worldManifests());
    await installSallyport(cluster);
    await cluster.apply(accessManifests());
    for (const name of CONNECTIONS)
      await cluster.kubectl([
        'wait',
        '-n',
        SHOP,
        `accessconnection/${name}`,
        '--for=condition=Ready',
        '--timeout=120s',
      ]);
    // Each connection brings a credential, with which the proxies start anew; the agent meets those that stay.
    await cluster.kubectl(['rollout', 'status', '-n', SHOP, 'deploy/sallyport-proxy', '--timeout=180s']);
    await cluster.apply(agentDeployment());
    for (const name of ['agent', WEB])
      await cluster.kubectl(['rollout', 'status', '-n', AGENTS, `deploy/${name}`, '--timeout=120s']);
    const [pod = ''] = (await cluster.kubectl(['get', 'pods', '-n', AGENTS, '-l', 'app=agent', '-o', 'name'])).split(
      '\n',
    );
    const file = `${AGENTS}/${pod.replace('pod/', '')}:/tools/kubectl`;
    await cluster.kubectl(['cp', '-c', 'agent', await kubectlProgram(), file]);
  }, 1_800_000);
  afterAll(() => cluster?.stop());

  test('the pod has no token that the API server takes, and kubectl in it finds Sallyport', async () => {
    const { items } = JSON.parse(
      await cluster.kubectl(['get', 'pods', '-n', AGENTS, '-l', 'app=agent', '-o', 'json']),
    ) as { items: readonly Pod[] };
    const volumes = items.flatMap(({ spec }) => spec.volumes.map(({ name }) => name));
    expect(volumes.filter((name) => name.startsWith('kube-api-access-'))).toEqual([]);
    const { spec } = await cluster.get<{ spec: { clusterIP: string } }>('service', 'kubernetes', 'default');
    const url = `https://${spec.clusterIP}/api/v1/namespaces/${AGENTS}/pods`;
    const direct = `curl -sk -o /dev/null -w '%{http_code}' -H "Authorization: Bearer $(cat ${TOKEN})" ${url}`;
    expect(await inPod('sh', '-c', direct)).toBe('401');
    expect(await kubectl('auth', 'whoami', '-o', 'jsonpath={.status.userInfo.username}')).toBe(ACCOUNT);
  });

  test('who has no credential at all is known by the connector', async () => {
    const where = ['-s', 'https://kubernetes.default.svc', '--certificate-authority', TRUST, '--token', 'none'];
    const whoami = ['auth', 'whoami', '-o', 'jsonpath={.status.userInfo.username}'];
    expect(await kubectl('--kubeconfig', '/dev/null', ...where, ...whoami)).toBe(ACCOUNT);
  });

  test('what is allowed goes through: lists, tables, a watch that ends', async () => {
    expect(await kubectl('get', 'pods')).toMatch(/^NAME +READY +STATUS.*\nagent-\S+ +2\/2 +Running/);
    expect(await kubectl('get', 'deploy', WEB, '-o', 'jsonpath={.spec.replicas}')).toBe('1');
    expect(await kubectl('rollout', 'status', `deploy/${WEB}`)).toContain('successfully rolled out');
  });

  test('no namespace is deleted, by whatever command', async () => {
    for (const command of [
      ['delete', 'namespace', SHOP],
      ['delete', '--raw', `/api/v1/namespaces/${SHOP}`],
    ])
      expect(await refused(kubectl(...command))).toMatch(/denied.*keep-namespaces|keep-namespaces.*denied/is);
    const { status } = await cluster.get<{ status: { phase: string } }>('namespace', SHOP);
    expect(status.phase).toBe('Active');
  });

  test('a change of scale waits until Ada agrees', async () => {
    await using held = startProgram(await kubectlProgram(), [
      ...['--kubeconfig', cluster.kubeconfig],
      ...agent('/tools/kubectl', 'scale', `deploy/${WEB}`, '--replicas=2'),
    ]);
    const request = await vi.waitFor(
      async () => {
        const { items } = JSON.parse(
          await cluster.kubectl(['get', 'approvalrequests', '-n', SHOP, '-o', 'json']),
        ) as Requests;
        const pending = items.find(({ status }) => status?.state === 'Pending');
        if (pending === undefined) throw new Error(`nothing waits: ${held.output()}`);
        return pending.metadata.name;
      },
      { timeout: 90_000, interval: 250 },
    );
    expect(await kubectl('get', 'deploy', WEB, '-o', 'jsonpath={.spec.replicas}')).toBe('1');
    const vote = JSON.stringify([{ op: 'add', path: '/spec/decisions/-', value: { verdict: 'Approve' } }]);
    await cluster.kubectl(['patch', '-n', SHOP, 'approvalrequest', request, '--type=json', '-p', vote], {
      as: { user: 'ada' },
    });
    await held.printed(`deployment.apps/${WEB} scaled`);
    expect(await kubectl('get', 'deploy', WEB, '-o', 'jsonpath={.spec.replicas}')).toBe('2');
  });

  test('a Secret is read and not seen', async () => {
    const yaml = await kubectl('get', 'secret', 'app', '-o', 'yaml');
    expect(yaml).toMatch(/password: \S+/);
    const shown = Buffer.from(/password: (\S+)/.exec(yaml)?.[1] ?? '', 'base64').toString('utf8');
    expect(shown).not.toBe('');
    expect(`${yaml}${shown}`).not.toContain(APP_PASSWORD);
    expect(yaml).not.toContain(Buffer.from(APP_PASSWORD).toString('base64'));
  });

  test('a program runs in a pod where its words are allowed, and no other', async () => {
    const exec = (...words: string[]): Promise<string> => kubectl('exec', `deploy/${WEB}`, '--', ...words);
    expect(await exec('/usr/bin/node', '--version')).toMatch(/^v\d+[.]/);
    expect(await refused(exec('/usr/bin/node', '--print', '1'))).toMatch(/denied/i);
  });

  test.each([
    ['in plaintext on port 80', `curl -sS --fail http://${STOCK_HOST}/items`],
    ['by TLS, which curl verifies', `curl -sS --fail https://${STOCK_HOST}/items`],
    [
      'by its base URL, without a connector',
      `curl -sS --fail --cacert $SALLYPORT_CA_FILE -H "Authorization: Bearer $(cat $SALLYPORT_TOKEN_FILE)" ${BASE_URL}/items`,
    ],
  ])('curl calls the API %s; the credential is not shown, and personal data is masked', async (_how, command) => {
    const answer = JSON.parse(await inPod('sh', '-c', command)) as {
      items: readonly { name: string; owner: { email: string } }[];
      asked: string;
      authorization: string;
    };
    expect(answer.asked).toBe('GET /items');
    expect(answer.items[0]?.name).toBe('bolt');
    expect(answer.items[0]?.owner.email).not.toContain('ada');
    // It signed in, or the service would have had nothing to tell.
    expect(answer.authorization).toMatch(/\S/);
    expect(answer.authorization).not.toContain(STOCK_TOKEN);
  });

  test('what is not allowed there is told as a problem that a program can read', async () => {
    const out = await inPod('curl', '-sS', '-i', '-X', 'DELETE', `http://${STOCK_HOST}/items/1`);
    expect(out).toMatch(/^HTTP\/1\.1 403 /);
    expect(out).toMatch(/content-type: application\/problem\+json/i);
  });

  test('agents are kept from the addresses of the API server, and proxies are not', async () => {
    const { spec } = await cluster.get<{ spec: object }>('networkpolicy', 'sallyport-agents', AGENTS);
    const { subsets } = await cluster.get<{ subsets: { addresses: { ip: string }[]; ports: { port: number }[] }[] }>(
      'endpoints',
      'kubernetes',
      'default',
    );
    const service = await cluster.get<{ spec: { clusterIP: string } }>('service', 'kubernetes', 'default');
    const addresses = subsets.flatMap(({ addresses: all }) => all.map(({ ip }) => `${ip}/32`));
    expect(addresses.length).toBeGreaterThan(0);
    for (const range of [...addresses, `${service.spec.clusterIP}/32`])
      expect(JSON.stringify(spec)).toMatch(new RegExp(`"except":\\[[^\\]]*"${range}"`));
    const proxies = await cluster.get<{ spec: { egress: object[] } }>('networkpolicy', 'sallyport-proxy', SHOP);
    for (const range of addresses) expect(JSON.stringify(proxies.spec.egress)).toContain(`{"cidr":"${range}"}`);
  });

  test('the log of the API server says who it was, and in which session', async () => {
    const events = (await cluster.audit()) as unknown as readonly AuditEvent[];
    const mine = events.filter(({ impersonatedUser }) => impersonatedUser?.username === ACCOUNT);
    expect(new Set(mine.map(({ user }) => user.username))).toEqual(
      new Set([`system:serviceaccount:${SHOP}:sallyport-proxy`]),
    );
    // What it would do was asked before, for the decision and for Ada.
    const scaled = mine.filter(
      ({ verb, objectRef, requestURI }) =>
        verb === 'patch' && objectRef?.subresource === 'scale' && !requestURI.includes('dryRun=All'),
    );
    expect(scaled.map(({ responseStatus }) => responseStatus?.code)).toEqual([200]);
    expect(scaled[0]?.impersonatedUser?.extra?.['sallyport.dev/session']).toEqual([expect.stringMatching(/\S/)]);
    expect(scaled[0]?.impersonatedUser?.groups).toContain(`system:serviceaccounts:${AGENTS}`);
    // The token of the agent itself has changed nothing, and nobody has deleted a namespace.
    const changing = ['create', 'update', 'patch', 'delete', 'deletecollection'];
    const own = events.filter(({ user, verb }) => user.username === ACCOUNT && changing.includes(verb));
    expect(own).toEqual([]);
    expect(mine.filter(({ verb, objectRef }) => verb === 'delete' && objectRef?.resource === 'namespaces')).toEqual([]);
  });
});
