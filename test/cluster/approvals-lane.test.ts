/** The PostgreSQL lane in proxies of a cluster, as processes: statements are held, people vote with kubectl, and each runs once. */
import { createPrivateKey, generateKeyPairSync } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { AccessPolicy, ApprovalRequest } from '../../api/resources.ts';
import { stateOf } from '../../approval/state.ts';
import { issueCertificate } from '../../certificate/x509.ts';
import type { KubeClient } from '../../kube/types.ts';
import * as encode from '../../proxy/protocols/postgres/wire/encode.ts';
import { archiveGround } from '../integration/archive/ground.ts';
import type { CertificateAuthority } from '../support/certificates.ts';
import { recordedEvents } from '../support/recorded.ts';
import { describeWith, postgresServer } from '../support/requires.ts';
import { fieldsOf, type WireClient } from '../support/wire-client.ts';
import { ADA, type AdmissionGround, awaitRequest, castByPatch, EVE, installAdmission } from './approval-ground.ts';
import { controlPlaneNeeds } from './control-plane.ts';
import { clientOf } from './kube-ground.ts';
import {
  AGENTS,
  connection,
  inForce,
  NAMESPACE,
  type Pod,
  type ProxyGround,
  type ReplicaProcess,
  readPolicy,
  rows,
  signIn,
  startProxyGround,
  until,
} from './proxy-ground.ts';

/** What a statement ended with: its tag, or the code of its error. */
async function outcome(client: WireClient): Promise<string> {
  const messages = await client.until('Z');
  const error = messages.find(({ type }) => type === 'E');
  if (error !== undefined) return `${fieldsOf(error).C}: ${fieldsOf(error).M}`;
  const done = messages.find(({ type }) => type === 'C');
  return done === undefined ? 'nothing' : done.body.toString('utf8').replace('\0', '');
}

const writes = (effect: 'Allow' | 'Deny'): AccessPolicy =>
  ({
    apiVersion: 'sallyport.dev/v1alpha1',
    kind: 'AccessPolicy',
    metadata: { name: 'writes', namespace: NAMESPACE },
    spec: {
      connections: { all: true },
      subjects: [{ serviceAccount: { namespace: AGENTS, name: 'agent' } }],
      rules: [
        {
          name: 'ask',
          effect,
          sql: { statements: ['Update', 'Delete'], relations: ['public.*'] },
          ...(effect === 'Allow' ? { approval: { approvers: { groups: ['shop-oncall'] } } } : {}),
        },
      ],
    },
  }) as AccessPolicy;

const EVENTS = `
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: events, namespace: ${NAMESPACE}}
rules: [{apiGroups: [events.k8s.io], resources: [events], verbs: [create, patch]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: events, namespace: ${NAMESPACE}}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: events}
subjects: [{kind: ServiceAccount, name: sallyport-proxy, namespace: ${NAMESPACE}}]
`;

/** The proxy's certificate as the operator issues it: for its Services, and as a client of the archive. */
async function peerFolder(folder: string, authority: CertificateAuthority, archiveCa: string): Promise<string> {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const certificate = issueCertificate({
    commonName: `${NAMESPACE}/sallyport-proxy`,
    publicKey,
    notBefore: new Date(Date.now() - 60_000),
    notAfter: new Date(Date.now() + 86_400_000),
    use: { type: 'peer', names: [`sallyport-proxy.${NAMESPACE}.svc`, 'localhost'] },
    issuer: { commonName: 'cluster', key: createPrivateKey(await readFile(authority.caPath.replace(/crt$/, 'key'))) },
  });
  const made = path.join(folder, 'peer');
  await mkdir(made);
  await writeFile(path.join(made, 'tls.crt'), certificate);
  await writeFile(path.join(made, 'tls.key'), privateKey.export({ type: 'pkcs8', format: 'pem' }));
  await writeFile(path.join(made, 'ca.crt'), `${authority.ca}${archiveCa}`);
  return made;
}

describeWith([...controlPlaneNeeds, postgresServer(18)], 'approvals in the lane of a cluster', () => {
  const cleanup = new AsyncDisposableStack();
  let ground: ProxyGround;
  let admission: AdmissionGround;
  let admin: KubeClient;
  let one: ReplicaProcess;
  let two: ReplicaProcess;
  let pod: Pod;

  const publish = (effect: 'Allow' | 'Deny' = 'Allow') =>
    ground.publish({
      voteAuthorities: [admission.voteAuthority],
      resources: {
        connections: [connection(ground.server.port)],
        policies: [readPolicy(), writes(effect)],
        maskingRules: [],
      },
    });

  beforeAll(async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'approvals-lane-'));
    cleanup.defer(() => rm(folder, { recursive: true, force: true }));
    ground = cleanup.use(await startProxyGround());
    await ground.server.sql('CREATE TABLE counter (n int); INSERT INTO counter VALUES (0)', undefined, 'app');
    admin = await clientOf(ground.cluster.kubeconfig);
    cleanup.defer(() => admin.close());
    await ground.cluster.apply(EVENTS);
    admission = cleanup.use(await installAdmission(ground.cluster, admin, folder));
    const archive = cleanup.use(await archiveGround({ clientCaFile: ground.authority.caPath }));
    await archive.start();
    const tls = await peerFolder(folder, ground.authority, archive.authority.ca);
    const bundle = await publish();
    const start = async (): Promise<ReplicaProcess> => {
      const replica = cleanup.use(await ground.replica({ parameters: ['--archive', archive.url, '--tls', tls] }));
      await inForce(replica, bundle);
      await until(async () => (await replica.probe('/readyz')).status === 200);
      return replica;
    };
    [one, two] = [await start(), await start()];
    pod = await ground.pod('agent-1', '127.0.0.11');
  });
  afterAll(() => cleanup.disposeAsync());

  async function session(replica: ReplicaProcess): Promise<WireClient & AsyncDisposable> {
    const connector = cleanup.use(await ground.connector(replica, pod, await ground.token(pod)));
    return signIn(connector);
  }
  const pending = (text: string): Promise<ApprovalRequest> =>
    awaitRequest(
      admin,
      (request) => stateOf(request) === 'Pending' && request.spec.request.display?.includes(text) === true,
    );
  const named = (name: string, state: string): Promise<ApprovalRequest> =>
    awaitRequest(admin, (request) => request.metadata.name === name && stateOf(request) === state);

  test('a held statement says who it waits for, and runs once somebody approved it with kubectl patch', async () => {
    await using client = await session(one);
    client.send(encode.query('DELETE FROM orders WHERE id = 1'));
    const notice = await client.next();
    expect(notice?.type).toBe('N');
    expect(notice && JSON.stringify(fieldsOf(notice))).toContain('shop-oncall');
    const request = await pending('id = 1');
    expect(request.spec.requester).toMatchObject({
      username: `system:serviceaccount:${AGENTS}:agent`,
      pod: { namespace: AGENTS, name: 'agent-1', uid: pod.uid },
    });
    await expect(castByPatch(ground.cluster, request.metadata.name, EVE)).rejects.toThrow(/SPW044/);
    await castByPatch(ground.cluster, request.metadata.name, ADA, 'Approve', { reason: 'ticket 4711' });
    expect(await outcome(client)).toBe('DELETE 1');
    expect((await named(request.metadata.name, 'Executed')).status).toMatchObject({ decidedBy: 'ada', votes: '1/1' });
    const events = await recordedEvents(one.state);
    expect(events.some((event) => JSON.stringify(event).includes('ticket 4711'))).toBe(true);
    await until(async () => {
      const told = await ground.cluster.kubectl(['get', 'events.events.k8s.io', '-n', NAMESPACE, '-o', 'json']);
      const about = (JSON.parse(told) as { items: { reason: string; regarding: { name: string }; note: string }[] })
        .items;
      expect(JSON.stringify(about)).not.toContain('DELETE FROM');
      const reasons = about
        .filter(({ regarding }) => regarding.name === request.metadata.name)
        .map(({ reason }) => reason);
      return ['ApprovalRequested', 'Approved', 'Released', 'Executed'].every((reason) => reasons.includes(reason));
    });
  });

  test('of two sessions in two replicas that hold the same statement, one runs it', async () => {
    await using first = await session(one);
    await using second = await session(two);
    const statement = encode.query('UPDATE counter SET n = n + 1');
    first.send(statement);
    const request = await pending('n + 1');
    second.send(statement);
    // Told that it waits: it shares the request.
    expect((await second.next())?.type).toBe('N');
    const outcomes = Promise.all([outcome(first), outcome(second)]);
    await castByPatch(ground.cluster, request.metadata.name, ADA);
    const [run, refused] = (await outcomes).sort((a, b) => (a < b ? 1 : -1));
    expect(run).toBe('UPDATE 1');
    expect(refused).toContain('used already');
    expect(await rows(first, 'SELECT n FROM counter')).toEqual([['1']]);
  });

  test('a denial reaches the client with its reason', async () => {
    await using client = await session(two);
    client.send(encode.query('DELETE FROM orders WHERE id = 7'));
    const request = await pending('id = 7');
    await castByPatch(ground.cluster, request.metadata.name, ADA, 'Deny', { reason: 'wrong table' });
    expect(await outcome(client)).toContain('was denied by ada: wrong table');
  });

  test('a client that leaves withdraws its request, and nobody can approve it then', async () => {
    const client = await session(one);
    client.send(encode.query('DELETE FROM orders WHERE id = 8'));
    const request = await pending('id = 8');
    client.socket.destroy();
    await named(request.metadata.name, 'Withdrawn');
    await expect(castByPatch(ground.cluster, request.metadata.name, ADA)).rejects.toThrow(/SPW043/);
  });

  test('a policy that changed while it waited decides again: what is approved and not allowed any more does not run', async () => {
    await using client = await session(one);
    client.send(encode.query('DELETE FROM orders WHERE id = 2'));
    const request = await pending('id = 2');
    const denied = await publish('Deny');
    await inForce(one, denied);
    await castByPatch(ground.cluster, request.metadata.name, ADA).catch((error: Error) =>
      // The change may have ended the request before the vote came.
      expect(error.message).toContain('SPW043'),
    );
    expect(await outcome(client)).toMatch(/^42501/);
    expect(await rows(client, 'SELECT count(*) FROM orders WHERE id = 2')).toEqual([['1']]);
  });
});
