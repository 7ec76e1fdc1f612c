/** kill -9 of the gateway at each step of a held command, two gateways and one approval, and people at a terminal. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import * as encode from '../../../proxy/protocols/postgres/wire/encode.ts';
import { type ApprovalGround, startApprovalGround, stateOf } from '../../support/approval-ground.ts';
import { recordedEvents } from '../../support/recorded.ts';
import { describeWith, postgresServer, program } from '../../support/requires.ts';
import { createToken, sallyport, startSallyport } from '../../support/sallyport.ts';
import { clientProgram } from '../../support/server-binaries.ts';
import { fieldsOf, shapeOf, WireClient } from '../../support/wire-client.ts';

const { query } = encode;

const POLICY = `apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: agent}
spec:
  connections: {names: [orders]}
  subjects: [{serviceAccount: {name: agent}}]
  rules:
    - {name: all, effect: Allow, sql: {statements: ["*"], relations: ["*.*"], functions: ["*.*"]}}
    - {name: deletes, effect: RequireApproval, message: Ask first., sql: {statements: [Delete]}, approval: {}}
`;
const DELETE = 'DELETE FROM orders WHERE id = 1';

describeWith([postgresServer(18), program('psql', 'postgresql-client')], 'faults of held commands', () => {
  let folder: string;
  let ground: ApprovalGround;

  beforeEach(async () => {
    folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-held-faults-'));
    ground = await startApprovalGround({
      version: 18,
      folder,
      schema: 'CREATE TABLE orders (id int PRIMARY KEY); INSERT INTO orders SELECT generate_series(1, 20)',
      settings: { log_statement: 'all' },
      connections: { orders: '' },
      resources: { 'agent.yaml': POLICY },
    });
  });
  afterEach(async () => {
    await ground[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  const open = (): Promise<WireClient> => ground.lane.through('orders', 'agent');
  const reached = (text: string): number =>
    ground.lane.server
      .log()
      .split('\n')
      .filter((line) => line.includes('statement: ') && line.includes(text)).length;
  const is = (name: string, state: string) =>
    ground.request((request) => request.metadata.name === name && stateOf(request) === state);
  /** The command again, in a new session: as a restarted agent sends it. */
  const again = async (text: string): Promise<readonly string[]> => {
    await using client = await open();
    client.send(query(text));
    const first = await client.next();
    if (first?.type === 'N') return ['held'];
    return shapeOf([first!, ...(await client.until('Z'))]);
  };

  test('killed while it waits: orphaned, and an approval that comes later is good for one retry', async () => {
    const client = await open();
    client.send(query(DELETE));
    await client.until('N');
    const { metadata } = await ground.pending();
    await ground.lane.restart();
    await client.toEnd();
    const orphan = await is(metadata.name, 'Orphaned');
    await ground.vote(orphan);
    expect(await again(DELETE)).toEqual(['C DELETE 1', 'ZI']);
    await is(metadata.name, 'Executed');
    expect(await again(DELETE)).toEqual(['held']);
    expect(reached(DELETE)).toBe(1);
  });

  test('approved while it is down: nothing runs by itself, one retry passes', async () => {
    const client = await open();
    client.send(query(DELETE));
    await client.until('N');
    const request = await ground.pending();
    await ground.lane.gateway.stop('SIGKILL');
    await client.toEnd();
    await ground.vote(request);
    await ground.lane.restart();
    expect(reached(DELETE)).toBe(0);
    expect(await again(DELETE)).toEqual(['C DELETE 1', 'ZI']);
    expect(await again(DELETE)).toEqual(['held']);
    expect(reached(DELETE)).toBe(1);
  });

  test('killed while it runs: used, with an outcome that nobody knows, and never run again', async () => {
    const slow = `${DELETE} AND pg_sleep(1) IS NOT NULL`;
    const client = await open();
    client.send(query(slow));
    await client.until('N');
    const { metadata } = await ground.approve();
    await expect.poll(() => reached(slow)).toBe(1);
    await ground.lane.gateway.stop('SIGKILL');
    await client.toEnd();
    await ground.lane.restart();
    await is(metadata.name, 'Consumed');
    const events = await recordedEvents(ground.lane.state);
    expect(events.find(({ e, request }) => e === 'command.released' && request === metadata.name)).toMatchObject({
      state: 'Consumed',
    });
    expect(await again(slow)).toEqual(['held']);
    expect(reached(slow)).toBe(1);
  });

  test('killed at any moment around the release: what reached the server was released in the record, and once', async () => {
    for (let round = 0; round < 6; round++) {
      const text = `DELETE FROM orders WHERE id = ${round + 1} /* round ${round} */`;
      const client = await open();
      client.send(query(text));
      await client.until('N');
      const request = await ground.pending();
      await ground.vote(request);
      if (round > 0) {
        const end = performance.now() + round * 6;
        await expect.poll(() => performance.now() > end, { interval: 1 }).toBe(true);
      }
      await ground.lane.restart();
      await client.toEnd();
      const events = await recordedEvents(ground.lane.state);
      const released = events.filter(
        ({ e, request: name, state }) =>
          e === 'command.released' && name === request.metadata.name && state === 'Consumed',
      );
      const before = reached(`round ${round} `);
      expect(before).toBeLessThanOrEqual(released.length);
      const outcome = await again(text);
      const ran = reached(`round ${round} `);
      // Used up before the kill: a retry is held anew, whether it had come to run or not. Not used: it passes, once.
      expect([outcome[0], ran]).toEqual(outcome[0] === 'held' ? ['held', before] : ['C DELETE 1', 1]);
      if (outcome[0] !== 'held') expect(before).toBe(0);
      for (const left of await ground.requests())
        if (stateOf(left) === 'Pending') await ground.vote(left, ground.ben, 'Deny');
    }
  }, 180_000);

  test('two gateways, one approval: exactly one of them runs it', async () => {
    const state = path.join(folder, 'second');
    await using second = await startSallyport({
      resources: [ground.lane.resources],
      state,
      listen: ['default/orders=127.0.0.1:0'],
      parameters: ['-c', ground.configuration],
    });
    const password = await createToken(state, { subject: 'system:serviceaccount:default:agent' });
    const port = second.connection('orders').port;
    for (let round = 0; round < 5; round++) {
      const text = `DELETE FROM orders WHERE id = ${round + 10} /* race ${round} */`;
      await using one = await open();
      await using two = await WireClient.connect({ port, database: 'app', password });
      one.send(query(text));
      await one.until('N');
      two.send(query(text));
      await two.until('N');
      await ground.approve();
      const shapes = [shapeOf(await one.until('Z')), shapeOf(await two.until('Z'))];
      expect(shapes.map(([first]) => first).sort()).toEqual(['C DELETE 1', 'E 42501']);
      expect(reached(`race ${round} `)).toBe(1);
    }
  });

  test('a store that cannot be written refuses the command', async () => {
    await using client = await open();
    client.send(query(DELETE));
    await client.until('N');
    await ground.approve();
    await client.until('Z');
    // Permissions do not stop root: something else stands in the place of the folder.
    await rename(ground.files.root, `${ground.files.root}-gone`);
    await writeFile(ground.files.root, '');
    const error = await client.errorOf('DELETE FROM orders WHERE id = 2');
    expect(error).toMatchObject({ C: '42501', D: expect.stringContaining('SPV004') });
    expect(reached('DELETE FROM orders WHERE id = 2')).toBe(0);
  });

  test('psql shows the notice at once, and Ctrl-C withdraws', async () => {
    const environment = {
      ...process.env,
      ...{ PGHOST: '127.0.0.1', PGPORT: String(ground.lane.port('orders')), PGUSER: 'agent', PGDATABASE: 'app' },
      ...{ PGPASSWORD: await ground.lane.token('agent'), PGSSLMODE: 'disable' },
    };
    const psql = spawn(clientProgram('psql'), ['-X', '-c', DELETE], { env: environment });
    let output = '';
    psql.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    psql.stderr.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    const closed = once(psql, 'close');
    await expect.poll(() => output).toContain('HINT:  It runs once approved: sallyport approve');
    const { metadata } = await ground.pending();
    psql.kill('SIGINT');
    await closed;
    expect(output).toContain('ERROR:  canceling statement due to user request');
    await is(metadata.name, 'Withdrawn');
    expect(reached(DELETE)).toBe(0);
  });

  test('a person approves with the command that the notice names', async () => {
    const home = { XDG_CONFIG_HOME: path.join(folder, 'config') };
    const made = await sallyport(['approver', 'create', 'eve', '-o', 'json'], { environment: home });
    const { publicKey } = JSON.parse(made.stdout) as { publicKey: string };
    const configuration = JSON.parse(await readFile(ground.configuration, 'utf8')) as { approvers: object[] };
    configuration.approvers.push({ name: 'eve', publicKey });
    await writeFile(ground.configuration, JSON.stringify(configuration));
    await using client = await open();
    client.send(query(DELETE));
    const notice = fieldsOf((await client.until('N')).at(-1)!);
    const [, name = ''] = /sallyport approve (\S+) -n default --reason/.exec(notice.H ?? '') ?? [];
    const parameters = [name, '-n', 'default', '--reason', 'looked at it', '-c', ground.configuration];
    const approved = await sallyport(['approve', ...parameters, '--state', ground.lane.state], { environment: home });
    expect(approved).toMatchObject({ status: 0 });
    expect(shapeOf(await client.until('Z'))).toEqual(['C DELETE 1', 'ZI']);
    const events = await recordedEvents(ground.lane.state);
    expect(events.find(({ e }) => e === 'command.released')).toMatchObject({
      votes: [{ voter: 'eve', reason: 'looked at it' }],
    });
  });

  test('a server that ends the session meanwhile: told, and withdrawn', async () => {
    const client = await open();
    client.send(query(DELETE));
    await client.until('N');
    const { metadata } = await ground.pending();
    await ground.lane.server.sql(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '' AND datname = 'app'",
    );
    expect(fieldsOf((await client.toEnd()).at(-1)!)).toMatchObject({ S: 'FATAL' });
    await is(metadata.name, 'Withdrawn');
  });
});
