/** What changes while a command waits: policy, the right to be here, time; and what an approver gets to see of protected values. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { loadConfiguration } from '../../../api/configuration.ts';
import { checkRules } from '../../../api/rules.ts';
import { COUNT_WANTED } from '../../../approval/state.ts';
import * as encode from '../../../proxy/protocols/postgres/wire/encode.ts';
import { startWorker } from '../../../proxy/standalone/worker.ts';
import { type ApprovalGround, startApprovalGround, stateOf } from '../../support/approval-ground.ts';
import { recordedEvents } from '../../support/recorded.ts';
import { describeWith, postgresServer } from '../../support/requires.ts';
import { createToken } from '../../support/sallyport.ts';
import { bind, cancel, fieldsOf, shapeOf, WireClient } from '../../support/wire-client.ts';

const { query, sync, parse, execute } = encode;

const SCHEMA = `CREATE TABLE orders (id int PRIMARY KEY, customer text, email text);`;

const allow = `{name: all, effect: Allow, sql: {statements: ["*"], relations: ["*.*"], functions: ["*.*"]}}`;
const ask = `{name: deletes, effect: RequireApproval, sql: {statements: [Delete, Update]}, approval: {approvers: {groups: [dba]}}}`;

const policy = (...rules: readonly string[]): string => `apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: agent}
spec:
  connections: {names: [orders]}
  subjects: [{serviceAccount: {name: agent}}]
  rules:
${rules.map((rule) => `    - ${rule}`).join('\n')}
`;

const MASKS = `apiVersion: sallyport.dev/v1alpha1
kind: MaskingRule
metadata: {name: pii}
spec:
  connections: {names: [orders]}
  columns:
    - {match: ["*.*.email"], allowEquality: true}
  content:
    - {detectors: [CreditCard]}
`;

const DELETE = 'DELETE FROM orders WHERE id = 1';

describeWith([postgresServer(15)], 'while a command waits', () => {
  let folder: string;
  let ground: ApprovalGround;
  const inForce = new Map<string, string>();

  beforeAll(async () => {
    folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-changes-'));
    ground = await startApprovalGround({
      version: 15,
      folder,
      schema: SCHEMA,
      connections: { orders: '' },
      resources: { 'agent.yaml': policy(allow, ask) },
    });
    inForce.set('agent.yaml', policy(allow, ask));
  });
  afterAll(async () => {
    await ground[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });
  beforeEach(async () => {
    await edit('agent.yaml', policy(allow, ask));
    await ground.lane.server.sql(
      "TRUNCATE orders; INSERT INTO orders SELECT i, 'c' || i, 'c' || i || '@example.com' FROM generate_series(1, 20) i",
      undefined,
      'app',
    );
  });

  async function edit(file: string, yaml: string): Promise<void> {
    if (inForce.get(file) === yaml) return;
    inForce.set(file, yaml);
    expect(await ground.lane.edit(file, yaml)).toMatchObject({ changed: true });
  }

  const open = (): Promise<WireClient> => ground.lane.through('orders', 'agent');
  const errorIn = async (client: WireClient) => fieldsOf((await client.until('Z')).find(({ type }) => type === 'E')!);
  /** The request that the next notice names. */
  const announced = async (client: WireClient) => {
    const notice = (await client.until('N')).at(-1)!;
    const name = /Request (\S+),/.exec(fieldsOf(notice).D ?? '')?.[1];
    return ground.request(({ metadata }) => metadata.name === name);
  };
  const held = async (client: WireClient, text = DELETE) => {
    client.send(query(text));
    return announced(client);
  };
  const ended = (name: string, state: string): Promise<unknown> =>
    ground.request((request) => request.metadata.name === name && stateOf(request) === state);
  const orders = async (): Promise<number> => {
    const [row] = await ground.lane.server.sql('SELECT count(*)::int AS n FROM orders', undefined, 'app');
    return (row as { n: number }).n;
  };

  test('a rule that denies it now ends the wait', async () => {
    await using client = await open();
    const { metadata } = await held(client);
    await edit('agent.yaml', policy(allow, ask, '{name: never, effect: Deny, sql: {statements: [Delete]}}'));
    expect(await errorIn(client)).toMatchObject({ C: '42501', M: expect.stringContaining('denied this statement') });
    await ended(metadata.name, 'Withdrawn');
    expect(shapeOf(await client.query('SELECT 1'))).toEqual(['T', 'D', 'C SELECT 1', 'ZI']);
    expect(await orders()).toBe(20);
  });

  test('a rule that asks no more lets it run, and the request is withdrawn', async () => {
    await using client = await open();
    const { metadata } = await held(client);
    await edit('agent.yaml', policy(allow));
    expect(shapeOf(await client.until('Z'))).toEqual(['C DELETE 1', 'ZI']);
    await ended(metadata.name, 'Withdrawn');
    const told = async () => {
      const events = await recordedEvents(ground.lane.state);
      const own = events.find(({ request }) => request === metadata.name)?.session;
      const commands = events.filter(({ e, session }) => e.startsWith('command.') && session === own);
      return commands.map(({ e, state, verdict }) => [e, state, verdict]);
    };
    await expect.poll(told).toEqual([
      ['command.received', undefined, 'RequireApproval'],
      ['command.held', undefined, undefined],
      ['command.released', 'Withdrawn', 'Allow'],
      ['command.executed', undefined, undefined],
    ]);
  });

  test('a further rule makes a new request, and votes on the old one count for nothing', async () => {
    await using client = await open();
    const { metadata } = await held(client);
    const more = '{name: more, effect: RequireApproval, sql: {statements: [Delete]}, approval: {requiredApprovals: 2}}';
    await edit('agent.yaml', policy(allow, ask, more));
    await ended(metadata.name, 'Withdrawn');
    const second = await announced(client);
    expect(second.spec.requirements).toHaveLength(2);
    await ground.vote(second);
    await ground.vote(second, ground.ben);
    expect(shapeOf(await client.until('Z'))).toEqual(['C DELETE 1', 'ZI']);
    expect(await orders()).toBe(19);
  });

  test('an edit elsewhere changes nothing: the wait goes on with the same request', async () => {
    await using client = await open();
    const { metadata } = await held(client);
    await edit('agent.yaml', policy(allow, ask, '{name: never, effect: Deny, sql: {statements: [Truncate]}}'));
    await ground.vote(await ground.request((request) => request.metadata.name === metadata.name));
    expect(shapeOf(await client.until('Z'))).toEqual(['C DELETE 1', 'ZI']);
    await ended(metadata.name, 'Executed');
  });

  test('an expired token ends the session and withdraws', async () => {
    const password = await ground.lane.token('agent', '4s');
    const client = await ground.lane.through('orders', 'agent', { password });
    const { metadata } = await held(client);
    const [end] = await client.toEnd();
    expect(fieldsOf(end!)).toMatchObject({ S: 'FATAL', C: '28000' });
    await ended(metadata.name, 'Withdrawn');
  });

  test('access that is withdrawn ends the session', async () => {
    const client = await open();
    const { metadata } = await held(client);
    await edit('agent.yaml', policy(allow).replace('name: agent}}', 'name: nobody}}'));
    expect(fieldsOf((await client.toEnd()).at(-1)!)).toMatchObject({ S: 'FATAL' });
    await ended(metadata.name, 'Withdrawn');
  });

  test('a gateway that stops withdraws what waits', async () => {
    const client = await open();
    const { metadata } = await held(client);
    await ground.lane.gateway.stop('SIGTERM');
    await ground.lane.restart();
    expect(fieldsOf((await client.toEnd()).at(-1)!)).toMatchObject({ S: 'FATAL', C: '57P01' });
    await ended(metadata.name, 'Withdrawn');
  });

  test('limits of idle time and of running time do not count it', async () => {
    await edit(
      'agent.yaml',
      policy(allow.replace('functions: ["*.*"]}', 'functions: ["*.*"]}, limits: {maxDuration: 1s}'), ask),
    );
    const file = 'connection-orders.yaml';
    const before = await readFile(path.join(ground.lane.resources, file), 'utf8');
    await edit(file, before.replace('spec:\n', 'spec:\n  limits: {idleTimeout: 10s}\n'));
    await using client = await open();
    const request = await held(client);
    const end = Date.now() + 12_500;
    await expect.poll(() => Date.now() > end, { timeout: 20_000 }).toBe(true);
    await ground.vote(request);
    expect(shapeOf(await client.until('Z'))).toEqual(['C DELETE 1', 'ZI']);
    await edit(file, before);
  }, 60_000);

  test('a request that expires is refused', async () => {
    await edit('agent.yaml', policy(allow, ask.replace('approval: {', 'approval: {timeout: 10s, ')));
    await using client = await open();
    const { metadata } = await held(client);
    expect(await errorIn(client)).toMatchObject({ C: '42501', M: expect.stringContaining('expired') });
    await ended(metadata.name, 'Expired');
  }, 60_000);

  test('rules of two minds: whoever may be refused at once is not kept waiting', async () => {
    const reject = '{name: reject, effect: RequireApproval, sql: {statements: [Delete]}, approval: {hold: Reject}}';
    await edit('agent.yaml', policy(allow, ask, reject));
    await using client = await open();
    expect(await client.errorOf('DELETE FROM orders WHERE id = 17')).toMatchObject({
      C: '42501',
      H: expect.stringContaining('identical'),
    });
  });

  test('reuseFor lets the same statement with other values pass, and no other statement', async () => {
    await edit('agent.yaml', policy(allow, ask.replace('approval: {', 'approval: {reuseFor: 10m, ')));
    await using client = await open();
    await ground.vote(await held(client));
    expect(shapeOf(await client.until('Z'))).toEqual(['C DELETE 1', 'ZI']);
    expect(shapeOf(await client.query('DELETE FROM orders WHERE id = 2'))).toEqual(['C DELETE 1', 'ZI']);
    client.send(query('DELETE FROM orders WHERE id > 2'));
    await client.until('N');
    await cancel(ground.lane.port('orders'), client.key);
    await client.until('Z');
    expect(await orders()).toBe(18);
  });

  test('values of protected columns, card numbers and passwords are not shown', async () => {
    await edit('masks.yaml', MASKS);
    await using client = await open();
    client.send(parse('', "DELETE FROM orders WHERE email = 'c7@example.com' AND customer = $1 OR id = -5"));
    client.send(bind({ values: ['4111 1111 1111 1111'] }), execute(''), sync());
    // A condition that may be OR-ed with others is refused by the guard before anybody is asked.
    expect(shapeOf(await client.until('Z'))).toContain('E 42501');
    client.send(parse('', "DELETE FROM orders WHERE email = 'c7@example.com' AND customer = $1 AND id <> -5"));
    client.send(bind({ values: ['4111 1111 1111 1111'] }), execute(''), sync());
    const request = await announced(client);
    const yaml = JSON.stringify(request);
    expect(request.spec.request.display).toContain("WHERE email = '***'");
    expect(request.spec.request.display).toContain('id <> -5');
    expect(yaml).not.toContain('c7@example.com');
    expect(yaml).not.toContain('4111');
    expect(request.spec.request.redactions?.join(' ')).toContain('default/pii');
    await cancel(ground.lane.port('orders'), client.key);
    await client.until('Z');
    client.send(parse('', 'UPDATE orders SET email = $1 WHERE id = $2'), bind({ values: ['new@example.com', '3'] }));
    client.send(execute(''), sync());
    const update = await announced(client);
    expect(update.spec.request.display).toBe("UPDATE orders\nSET email = '***'\nWHERE id = '3'");
    expect(update.spec.preview?.estimate?.rows).toBe(1);
    await cancel(ground.lane.port('orders'), client.key);
    await client.until('Z');
  });

  test('a password is not shown', async () => {
    await edit(
      'agent.yaml',
      policy(allow, '{name: roles, effect: RequireApproval, sql: {statements: [CreateRole]}, approval: {}}'),
    );
    await using client = await open();
    client.send(query("CREATE ROLE somebody PASSWORD 'very secret'"));
    const request = await announced(client);
    expect(request.spec.request.display).toBe("CREATE ROLE somebody PASSWORD '[redacted]'");
    expect(request.spec.request.redactions).toEqual(['password']);
    expect(JSON.stringify(await recordedEvents(ground.lane.state))).not.toContain('very secret');
    await cancel(ground.lane.port('orders'), client.key);
    await client.until('Z');
  });

  test('the exact number of rows is counted when somebody asks', async () => {
    await using client = await open();
    const { metadata } = await held(client, 'DELETE FROM orders USING generate_series(1, 3) g WHERE id <= 4');
    await ground.files.update({ namespace: 'default', name: metadata.name }, (found) => ({
      ...found,
      metadata: {
        ...found.metadata,
        annotations: { ...found.metadata.annotations, [COUNT_WANTED]: new Date().toISOString() },
      },
    }));
    const counted = await ground.request((request) => request.status?.preview?.measured !== undefined);
    expect(counted.status?.preview?.measured?.rows).toBe(4);
    expect(await orders()).toBe(20);
    await cancel(ground.lane.port('orders'), client.key);
    await client.until('Z');
  });

  test('the notice comes again as long as the command waits', async () => {
    const state = path.join(folder, 'own-state');
    const worker = await startWorker({
      paths: [ground.lane.resources],
      configuration: {
        ...(await loadConfiguration(ground.configuration)),
        listen: new Map([['default/orders', { host: '127.0.0.1', port: 0 }]]),
      },
      configurationFile: ground.configuration,
      state,
      plaintextLoopback: true,
      worker: 0,
      pid: process.pid,
      environment: {},
      checkObject: checkRules,
      holdNoticeMs: 100,
      log: { write: () => true },
      onReload: () => {},
      cancelElsewhere: () => {},
    });
    try {
      const { port } = worker.runtime.served.find(({ name }) => name === 'orders')!;
      const password = await createToken(state, { subject: 'system:serviceaccount:default:agent' });
      await using client = await WireClient.connect({ port, database: 'app', password });
      client.send(query(DELETE));
      const notices = await client.until('N', 3);
      expect(notices.map((notice) => fieldsOf(notice).M)[2]).toContain('by now');
      const name = /Request (\S+),/.exec(fieldsOf(notices[0]!).D ?? '')?.[1];
      await ground.vote(await ground.request(({ metadata }) => metadata.name === name));
      expect(shapeOf(await client.until('Z')).filter((shape) => shape !== 'N')).toEqual(['C DELETE 1', 'ZI']);
    } finally {
      await worker.stop(AbortSignal.timeout(2000));
    }
  });
});
