/**
 * What a whole installation does over time, with its parts as processes: certificates that are renewed under running sessions, an operator
 * and an archive that are away, agents from outside of the cluster; and at the end, whether its parts needed the rights that they have.
 */
import { execFile } from 'node:child_process';
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, X509Certificate } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import https from 'node:https';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import tls from 'node:tls';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { gatewayService } from '../../api/cluster.ts';
import type { AccessConnection, AccessPolicy } from '../../api/resources.ts';
import { stateOf } from '../../approval/state.ts';
import { issueCertificate } from '../../certificate/x509.ts';
import { SECRETS } from '../../kube/builtin.ts';
import { type KeyMaterial, newMaterial, type Pair, writeMaterial } from '../../operator/pki/material.ts';
import { ACCESS_CONNECTIONS } from '../../operator/resources.ts';
import { type Connector, startConnector } from '../../proxy/connector/connector.ts';
import { createLog } from '../../proxy/connector/log.ts';
import * as encode from '../../proxy/protocols/postgres/wire/encode.ts';
import { type Issuer, signingKey, startIssuer } from '../support/oidc-issuer.ts';
import { freePort } from '../support/program.ts';
import { recordedEvents } from '../support/recorded.ts';
import { describeWith, postgresServer } from '../support/requires.ts';
import { clientProgram } from '../support/server-binaries.ts';
import { fieldsOf, WireClient } from '../support/wire-client.ts';
import { ADA, awaitRequest, castByPatch, PEOPLE } from './approval-ground.ts';
import { auditedRequests, needlessVerbs, type Rule } from './audited-rights.ts';
import { OPERATOR_NAMESPACE } from './chart.ts';
import { controlPlaneNeeds } from './control-plane.ts';
import { ARCHIVE, type Installation, PROXY, startInstallation } from './installation-ground.ts';
import { conditionOf } from './operator-ground.ts';
import {
  AGENTS,
  connection,
  denial,
  HOST,
  NAMESPACE,
  type ProxyGround,
  type ReplicaProcess,
  rows,
  until,
} from './proxy-ground.ts';

const run = promisify(execFile);
const DAY = 86_400_000;
/** How long API server and archive stay away: as long as the test needs, or real minutes for who asks for them. */
const OUTAGE_MS = Number(process.env.SALLYPORT_OUTAGE_SECONDS ?? 0) * 1000;
/** maxPolicyStaleness of the connections, less what replicas may have heard before the API server went. */
const STALE_MS = 300_000 - 30_000;
const PATIENCE_MS = 120_000 + OUTAGE_MS;
const LISTEN = '127.77.0.3';
/** The connector dials from the address that the system takes for loopback: it is the pod's. */
const ADDRESS = '127.0.0.1';
const REPLICAS = ['127.0.0.41', '127.0.0.42'];
const READING = '/v1/segments?namespace=shop&name=orders';
const ISSUER_FILE = 'issuer.crt';

/** An authority of two keys' worth of time: its certificate as it was made so many days ago. */
interface Authority {
  readonly name: string;
  readonly key: KeyObject;
}
const newAuthority = (name: string): Authority => ({
  name,
  key: generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey,
});
function pairOf({ name, key }: Authority, days: number): Pair {
  const from = Date.now() - days * DAY - 3_600_000;
  const certificate = issueCertificate({
    commonName: name,
    publicKey: createPublicKey(key),
    notBefore: new Date(from),
    notAfter: new Date(from + 730 * DAY),
    use: { type: 'authority' },
    issuer: { commonName: name, key: createPrivateKey(key.export({ type: 'pkcs8', format: 'pem' })) },
  });
  return { certificate, key: key.export({ type: 'pkcs8', format: 'pem' }).toString() };
}

const reads: AccessPolicy = {
  apiVersion: 'sallyport.dev/v1alpha1',
  kind: 'AccessPolicy',
  metadata: { name: 'agents', namespace: NAMESPACE },
  spec: {
    connections: { names: ['orders'] },
    subjects: [{ serviceAccount: { namespace: AGENTS, name: 'agent' } }],
    rules: [{ name: 'read', effect: 'Allow', sql: { statements: ['Read'], relations: ['public.*'] } }],
  },
} as AccessPolicy;

const writes: AccessPolicy = {
  apiVersion: 'sallyport.dev/v1alpha1',
  kind: 'AccessPolicy',
  metadata: { name: 'writes', namespace: NAMESPACE },
  spec: {
    connections: { names: ['orders'] },
    subjects: [{ serviceAccount: { namespace: AGENTS, name: 'agent' } }],
    rules: [
      {
        name: 'ask',
        effect: 'Allow',
        sql: { statements: ['Delete'], relations: ['public.*'] },
        approval: { approvers: { groups: ['shop-oncall'] } },
      },
    ],
  },
} as AccessPolicy;

const jobs: AccessPolicy = {
  apiVersion: 'sallyport.dev/v1alpha1',
  kind: 'AccessPolicy',
  metadata: { name: 'jobs', namespace: NAMESPACE },
  spec: {
    connections: { names: ['jobs'] },
    subjects: [{ user: 'ci:nightly-job' }],
    rules: [{ name: 'read', effect: 'Allow', sql: { statements: ['Read'], relations: ['public.*'] } }],
  },
} as AccessPolicy;

const shared = (object: AccessConnection): object => {
  const { uid: _uid, ...metadata } = object.metadata;
  return { ...object, metadata };
};

describeWith([...controlPlaneNeeds, postgresServer(18)], 'an installation', () => {
  const cleanup = new AsyncDisposableStack();
  const [old, next] = [newAuthority('Sallyport old'), newAuthority('Sallyport next')];
  const material: KeyMaterial = { ...newMaterial(Date.now()), signer: pairOf(old, 500), next: pairOf(next, 0.5) };
  let installation: Installation;
  let ground: ProxyGround;
  let issuer: Issuer;
  let replicas: readonly ReplicaProcess[];
  let tunnel: number;
  let connector: Connector;

  beforeAll(async () => {
    installation = cleanup.use(
      await startInstallation({
        keys: writeMaterial(material),
        resources: ({ server }) => [
          shared(
            connection(server.port, {
              allowedNamespaces: { from: 'Selector', selector: { matchLabels: { agents: 'yes' } } },
            }),
          ),
          shared(
            connection(
              server.port,
              {
                routing: 'Gateway',
                target: { host: HOST, port: server.port, database: 'jobs', tls: { mode: 'Disable' } },
              },
              'jobs',
            ),
          ),
          reads,
          writes,
          jobs,
        ],
        operatorArguments: async ({ authority, folder }) => {
          const leaf = await authority.issue('issuer', ['DNS:localhost']);
          issuer = await startIssuer([await signingKey('ES256')], {
            tls: { pem: `${leaf.certificate}${leaf.key}`, ca: authority.ca },
            claims: {},
          });
          cleanup.defer(() => issuer.stop());
          const configured = path.join(folder, 'proxies');
          await mkdir(configured);
          await writeFile(path.join(configured, ISSUER_FILE), authority.ca);
          await writeFile(
            path.join(configured, 'configuration.yaml'),
            JSON.stringify({
              apiVersion: 'sallyport.dev/v1alpha1',
              kind: 'SallyportConfiguration',
              issuers: [{ alias: 'ci', issuer: issuer.issuer, caFile: ISSUER_FILE, algorithms: ['ES256'] }],
            }),
          );
          return [`--proxy-configuration=${configured}`];
        },
      }),
    );
    ({ ground } = installation);
    await ground.cluster.apply(PEOPLE);
    await ground.server.sql('CREATE DATABASE jobs');
    await ground.server.sql('CREATE TABLE runs (id int); INSERT INTO runs VALUES (7)', undefined, 'jobs');
    const configured = path.join(ground.folder, 'configured');
    await mkdir(configured);
    const name = 'sallyport-proxy-configuration';
    const map = await ground.cluster.get<{ data: Record<string, string> }>('configmap', name, NAMESPACE);
    for (const [file, text] of Object.entries(map.data)) await writeFile(path.join(configured, file), text);
    tunnel = await freePort();
    const parameters = ['--tunnel-port', String(tunnel), '--config', path.join(configured, 'configuration.yaml')];
    replicas = [
      cleanup.use(await installation.replica({ listen: REPLICAS[0]!, parameters })),
      cleanup.use(await installation.replica({ listen: REPLICAS[1]!, parameters })),
    ];
    for (const replica of replicas) await until(async () => (await replica.probe('/readyz')).status === 200);
    const pod = await ground.pod('agent-1', ADDRESS);
    const token = path.join(ground.folder, 'agent-token');
    await writeFile(token, await ground.token(pod, { seconds: 3600 }));
    connector = await startConnector({
      config: {
        version: 1,
        targets: [
          {
            connections: ['shop/orders'],
            host: HOST,
            port: ground.server.port,
            listen: LISTEN,
            proxy: 'sallyport-proxy-replicas.shop.svc',
            serverName: 'sallyport-proxy.shop.svc',
            onBypass: 'Report',
          },
        ],
      },
      version: 'test',
      files: {
        ca: path.join(installation.folders.agents, 'ca.crt'),
        token,
        trust: path.join(ground.folder, 'agent-trust.crt'),
      },
      readiness: { host: '127.0.0.1', port: 0 },
      proxyPort: tunnel,
      lookup: () => Promise.resolve(REPLICAS),
      resolve: () => Promise.resolve([]),
      log: createLog({ write: () => undefined, now: Date.now }),
      now: Date.now,
      random: Math.random,
    });
    cleanup.defer(() => connector.drain(0));
  });
  afterAll(() => cleanup.disposeAsync());

  const session = () =>
    WireClient.connect({ host: LISTEN, port: ground.server.port, database: 'app', user: 'whoever' });
  const count = (client: WireClient) => rows(client, 'SELECT count(*) FROM orders');

  /** Whether a message of that type is among the answers to a statement that reads. */
  async function isAnswered(client: WireClient, wanted: 'D' | 'E'): Promise<boolean> {
    client.send(encode.query('SELECT count(*) FROM orders'));
    return (await client.until('Z')).some(({ type }) => type === wanted);
  }

  /** Who signed the certificate that a replica shows now. */
  async function signerAt(host: string): Promise<string> {
    const ca = await readFile(path.join(installation.folders.agents, 'ca.crt'));
    const socket = tls.connect({
      host,
      port: tunnel,
      ca,
      servername: 'sallyport-proxy.shop.svc',
      minVersion: 'TLSv1.3',
    });
    await new Promise((resolve, reject) => {
      socket.once('secureConnect', resolve);
      socket.once('error', reject);
    });
    const { raw } = socket.getPeerCertificate();
    socket.destroy();
    return new X509Certificate(raw).issuer;
  }

  /** New sessions, one after the other, until what is awaited has come: none of them may fail. */
  async function sessionsUntil(done: () => Promise<boolean>): Promise<number> {
    for (let opened = 0; ; opened++) {
      await using client = await session();
      expect(await count(client)).toEqual([['2']]);
      if (await done()) return opened + 1;
    }
  }

  /** What the operator's keys are from now on, as if time had passed. */
  async function keysBecome(changed: KeyMaterial): Promise<void> {
    const data = Object.entries(writeMaterial(changed)).map(([name, value]) => [
      name,
      Buffer.from(value).toString('base64'),
    ]);
    const ref = { namespace: OPERATOR_NAMESPACE, name: 'sallyport-keys' };
    const secret = await installation.client.get(SECRETS, ref);
    await installation.client.update(SECRETS, { ...secret!, data: Object.fromEntries(data) as Record<string, string> });
  }

  test('says that its policy is in force once every replica has it', async () => {
    const programmed = await installation.until(ACCESS_CONNECTIONS, { namespace: NAMESPACE }, (all) => {
      const conditions = all.map((each) => conditionOf(each, 'Programmed'));
      return conditions.every((condition) => condition?.status === 'True') && conditions;
    });
    expect(programmed).toHaveLength(2);
  });

  describe('renews its authority and the certificates', () => {
    let running: WireClient;

    test('under a session that runs, and with no new one refused: the next authority signs', async () => {
      running = await session();
      expect(await count(running)).toEqual([['2']]);
      for (const host of REPLICAS) expect(await signerAt(host)).toBe('CN=Sallyport old');
      // Two days after the next one was made: it is promoted, and everything is signed anew.
      await keysBecome({ ...material, next: pairOf(next, 2) });
      await sessionsUntil(async () =>
        (await Promise.all(REPLICAS.map(signerAt))).every((signer) => signer === 'CN=Sallyport next'),
      );
      expect(await count(running)).toEqual([['2']]);
    });

    test('and so when the old one is trusted no more: also the record goes on to the archive', async () => {
      await keysBecome({ ...material, signer: pairOf(next, 2), next: undefined, former: [] });
      const trusted = async (): Promise<string> => readFile(path.join(ground.folder, 'agent-trust.crt'), 'utf8');
      const ofOld = pairOf(old, 500).certificate.split('\n')[5] ?? '';
      await sessionsUntil(async () => !(await trusted()).includes(ofOld) || (await signerAt(REPLICAS[0]!)) === '');
      expect(await count(running)).toEqual([['2']]);
      await archived("'after the old one'");
      running.socket.destroy();
    });
  });

  /** Runs a statement with this text, and waits until the archive has it. */
  async function archived(words: string): Promise<void> {
    await using client = await session();
    await rows(client, `SELECT ${words}`);
    await until(async () => JSON.stringify(await recordedEvents(installation.folders.record)).includes(words));
  }

  test('goes on without its operator: sessions, new ones, and the policy as it was', async () => {
    expect(await installation.operator().stop()).toBe(0);
    await using client = await session();
    expect(await count(client)).toEqual([['2']]);
    await ground.cluster.kubectl(['-n', NAMESPACE, 'delete', 'accesspolicy', 'agents']);
    await using another = await session();
    expect(await count(another)).toEqual([['2']]);
    await installation.startOperator();
    await until(() => isAnswered(client, 'E'));
    expect(await denial(client, 'SELECT count(*) FROM orders')).toMatchObject({ C: '42501' });
    await ground.cluster.apply(JSON.stringify(reads));
    await until(() => isAnswered(client, 'D'));
  });

  /** An API server that has just begun forbids everything, until it has read its Roles and is ready. */
  const outages: { readonly from: Date; readonly to: Date }[] = [];

  /** A statement a second for as long as the outage is to last; one at least. */
  async function duringOutage(statement: (second: number) => Promise<void>): Promise<void> {
    const began = performance.now();
    for (let second = 0; ; second++) {
      await statement(second);
      const left = OUTAGE_MS - (performance.now() - began);
      if (left <= 0) return;
      await delay(Math.min(1000, left));
    }
  }

  test(
    'goes on without its API server: sessions, new ones, the record; what changes meanwhile is in force once it is back',
    async () => {
      const { apiServer } = ground.cluster;
      const back = Promise.withResolvers<void>();
      let isOver = false;
      // Away for longer than a Lease lasts, as on a busy machine, it is one for whom the operator ends; the kubelet would start it again.
      const restarted = installation.operator().ended.then(async () => {
        await back.promise;
        if (!isOver) await installation.startOperator();
      });
      await using client = await session();
      const away = new Date();
      await apiServer.stop();
      const began = performance.now();
      try {
        await duringOutage(async (second) => {
          client.send(encode.query(`SELECT 'without an API server ${second}', count(*) FROM orders`));
          const answer = await client.until('Z');
          if (answer.some(({ type }) => type === 'D')) return;
          expect(fieldsOf(answer.find(({ type }) => type === 'E')!).D).toContain('SPX010');
          expect(performance.now() - began).toBeGreaterThan(STALE_MS);
        });
        if (OUTAGE_MS < STALE_MS) {
          await using another = await session();
          expect(await count(another)).toEqual([['2']]);
        }
        await until(async () =>
          JSON.stringify(await recordedEvents(installation.folders.record)).includes('without an API server 0'),
        );
      } finally {
        await apiServer.start();
        outages.push({ from: away, to: new Date() });
        back.resolve();
      }
      await ground.cluster.kubectl(['-n', NAMESPACE, 'delete', 'accesspolicy', 'agents']);
      await until(() => isAnswered(client, 'E'));
      await ground.cluster.apply(JSON.stringify(reads));
      await until(() => isAnswered(client, 'D'));
      isOver = true;
      void restarted;
    },
    PATIENCE_MS,
  );

  test(
    'goes on without its archive: what is recorded meanwhile arrives later, and what needs an approval waits',
    async () => {
      await installation.archive().stop();
      await using client = await session();
      for (let index = 0; index < 50; index++) await rows(client, `SELECT 'without archive ${index}'`);
      let last = 0;
      await duringOutage(async (second) => {
        last = 50 + second;
        await rows(client, `SELECT 'without archive ${last}'`);
      });
      client.send(encode.query('DELETE FROM orders WHERE id = 99'));
      const request = await awaitRequest(installation.client, (each) => stateOf(each) === 'Pending');
      await castByPatch(ground.cluster, request.metadata.name, ADA);
      const refused = (await client.until('Z')).find(({ type }) => type === 'E');
      expect(refused?.body.toString('utf8')).toContain('SPV014');
      expect(await count(client)).toEqual([['2']]);
      await installation.startArchive();
      await until(async () => {
        const kept = JSON.stringify(await recordedEvents(installation.folders.record));
        return Array.from({ length: last + 1 }, (_, index) => index).every((index) =>
          kept.includes(`without archive ${index}'`),
        );
      });
      // Whoever is asked again says so, and then it runs.
      client.send(encode.query('DELETE FROM orders WHERE id = 99'));
      const again = await awaitRequest(
        installation.client,
        ({ metadata, ...each }) =>
          metadata.name !== request.metadata.name && stateOf({ metadata, ...each }) === 'Pending',
      );
      await castByPatch(ground.cluster, again.metadata.name, ADA);
      expect((await client.until('Z')).map(({ type }) => type)).toContain('C');
    },
    PATIENCE_MS,
  );

  test('lets people read the record who may, and nobody else', async () => {
    const token = (await ground.cluster.kubectl(['-n', AGENTS, 'create', 'token', 'agent'])).trim();
    const answer = await fetchReading(token);
    expect(answer).toContain('SPH031');
  });

  /** What the archive says to whoever asks for the sessions of the connection. */
  function fetchReading(token: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const call = https.get(
        {
          ...{ host: '127.0.0.1', port: installation.readingPort, path: READING, rejectUnauthorized: false },
          headers: { authorization: `Bearer ${token}` },
        },
        (response) => text(response).then(resolve, reject),
      );
      call.once('error', reject);
    });
  }

  test('serves an agent from outside of the cluster, by a token of an issuer that the chart configures', async () => {
    const gateway = await gatewayPort();
    const caPath = path.join(installation.folders.agents, 'ca.crt');
    const psql = (password: string) =>
      run(
        clientProgram('psql'),
        [
          `host=localhost hostaddr=${REPLICAS[1]} port=${gateway} user=whoever dbname=jobs sslmode=verify-full sslrootcert=${caPath}`,
          ...['-XAt', '-c', 'SELECT id FROM runs'],
        ],
        { env: { ...process.env, PGPASSWORD: password } },
      );
    expect((await psql(await issuer.token())).stdout).toBe('7\n');
    await expect(psql(await issuer.token('another'))).rejects.toThrow('SPI011');
    await expect(psql(await ground.token(await ground.pod('agent-2', '127.0.0.99')))).rejects.toThrow('SPI026');
  });

  async function gatewayPort(): Promise<number> {
    const service = await ground.cluster.get<{ spec: { ports: { targetPort: number }[] } }>(
      'service',
      gatewayService('jobs'),
      NAMESPACE,
    );
    return service.spec.ports[0]?.targetPort ?? 0;
  }

  describe('as the audit log of the API server has it', () => {
    /** One that is killed and started again in its pod, and both stop as they should. */
    beforeAll(async () => {
      const [, second] = replicas as [ReplicaProcess, ReplicaProcess];
      const { name } = second;
      await second.stop('SIGKILL');
      const { uid } = (await ground.cluster.get<{ metadata: { uid: string } }>('pod', name, NAMESPACE)).metadata;
      const state = second.state.replace(/\/replica$/, '');
      const parameters = ['--tunnel-port', String(tunnel)];
      await using again = await installation.replica({ listen: REPLICAS[1]!, name, uid, state, parameters });
      await until(async () => (await again.probe('/readyz')).status === 200);
      await again.stop();
      await replicas[0]?.stop();
    });

    test('nothing that proxies and archive asked for was forbidden, and no verb of their rights was not needed', async () => {
      const { cluster } = ground;
      const events = auditedRequests(await cluster.audit(), outages);
      const rulesOf = async (kind: string, name: string, namespace?: string): Promise<readonly Rule[]> =>
        (await cluster.get<{ rules: readonly Rule[] }>(kind, name, namespace)).rules;
      const reviewer = await rulesOf('clusterrole', 'sallyport-token-reviewer');
      const parts: readonly (readonly [user: string, rules: readonly Rule[]])[] = [
        [
          PROXY,
          [
            ...(await rulesOf('role', 'sallyport-proxy', NAMESPACE)),
            ...(await rulesOf('clusterrole', 'sallyport-pod-reader')),
            ...reviewer,
          ],
        ],
        [
          ARCHIVE,
          [...reviewer, ...(await rulesOf('role', 'extension-apiserver-authentication-reader', 'kube-system'))],
        ],
      ];
      for (const [user, rules] of parts) {
        const requests = events.filter((each) => each.user === user);
        expect(requests.filter(({ code }) => code === 403)).toEqual([]);
        expect(needlessVerbs(rules, requests), user).toEqual(user === ARCHIVE ? OF_KUBERNETES : RARE);
      }
    });
  });
});

/** An Event that is told again, such as another use of one approval, is counted half a minute later. */
const RARE = ['patch events'];
/** Its own Role, which the archive is bound to, says more than reading the one ConfigMap once. */
const OF_KUBERNETES = ['list configmaps', 'watch configmaps'];
