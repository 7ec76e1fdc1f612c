/** What the record says of a session's commands: in order, before they reach the server, with what came of them. */

import { readdir, readFile, writeFile } from 'node:fs/promises';
import { createConnection } from 'node:net';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import * as encode from '../../proxy/protocols/postgres/wire/encode.ts';
import type { RecordedEvent } from '../../record/format.ts';
import { type LaneGround, startLaneGround } from '../support/lane-ground.ts';
import { recordedEvents } from '../support/recorded.ts';
import { describeWith, postgresServer } from '../support/requires.ts';
import { sallyport } from '../support/sallyport.ts';
import { bind, rowOf, shapeOf, unnamed, type WireClient } from '../support/wire-client.ts';

const { query, parse, execute, sync, terminate } = encode;

const READER = `apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: reader}
spec:
  connections: {names: [reader, quiet, full]}
  subjects: [{serviceAccount: {name: reader}}]
  rules:
    - name: read
      effect: Allow
      sql: {statements: [Read], relations: ["public.*"]}
---
apiVersion: sallyport.dev/v1alpha1
kind: MaskingRule
metadata: {name: pii}
spec:
  connections: {names: [reader, quiet, full]}
  columns:
    - match: ["public.people.email"]
`;

describeWith([postgresServer(18)], 'the record', () => {
  let ground: LaneGround;
  beforeAll(async () => {
    ground = await startLaneGround({
      version: 18,
      schema: `CREATE TABLE people (id int, email text); INSERT INTO people VALUES (1, 'canary@example.com'), (2, NULL);
        CREATE TABLE log (line text)`,
      connections: {
        reader: '',
        quiet: 'audit: {level: Metadata}',
        full: 'audit: {level: Full, maxResponseBytes: 65536}',
      },
      resources: { 'reader.yaml': READER },
      settings: { log_statement: 'all' },
    });
  });
  afterAll(() => ground[Symbol.asyncDispose]());

  /** Runs one session and gives its events, in order. */
  async function eventsOf(
    connection: string,
    account: string,
    body: (client: WireClient) => Promise<void>,
  ): Promise<RecordedEvent[]> {
    const known = new Set((await recordedEvents(ground.state)).map(({ session }) => session));
    const client = await ground.through(connection, account);
    await body(client);
    client.send(terminate());
    await client.toEnd();
    const mine = async (): Promise<RecordedEvent[]> =>
      (await recordedEvents(ground.state)).filter(({ session }) => session !== undefined && !known.has(session));
    await expect.poll(async () => (await mine()).at(-1)?.e).toBe('session.end');
    return mine();
  }

  const of = (events: readonly RecordedEvent[], ...types: string[]): RecordedEvent[] =>
    events.filter(({ e }) => types.includes(e));

  test('a session from its start to its end', async () => {
    const events = await eventsOf('reader', 'reader', async (client) => {
      await client.query('SELECT id FROM people');
      await client.query('DELETE FROM people');
      await client.query('SELECT 1/0');
    });
    expect(events.map(({ e }) => e).filter((e) => e !== 'result.chunk')).toEqual([
      'session.start',
      'session.authenticated',
      'credential.used',
      'command.received',
      'command.executed',
      'command.received',
      'command.denied',
      'command.received',
      'command.failed',
      'session.end',
    ]);
    const [start] = events;
    expect(start).toMatchObject({ who: expect.anything(), database: 'app', protocol: 'Postgres' });
    expect(JSON.stringify(start)).toContain('system:serviceaccount:default:reader');
    const [received, deleted] = of(events, 'command.received');
    expect(received).toMatchObject({
      text: 'SELECT id FROM people',
      verdict: 'Allow',
      rules: [expect.stringContaining('default/reader/read')],
    });
    expect(deleted).toMatchObject({ text: 'DELETE FROM people', verdict: 'Deny' });
    expect(of(events, 'command.executed')[0]).toMatchObject({ seq: received!['seq'], rows: 2 });
    expect(of(events, 'command.failed')[0]).toMatchObject({ sqlstate: '22012' });
    expect(of(events, 'session.end')[0]).toMatchObject({ commands: 3, denied: 1 });
  });

  test('each statement of a string, each Execute of a portal, with the values that were bound', async () => {
    const events = await eventsOf('everything', 'everything', async (client) => {
      await client.query('SELECT 1; SELECT 2, 3; SELECT 4');
      client.send(parse('s', 'SELECT $1::int, $2::text'), sync());
      for (const value of ['1', '2', '3'])
        client.send(bind({ statement: 's', values: [value, `value ${value}`] }), execute(''), sync());
      client.send(
        bind({ statement: 's', values: [Buffer.from([0, 0, 0, 9]), null], formats: [1, 0] }),
        execute(''),
        sync(),
      );
      await client.until('Z', 5);
    });
    const texts = of(events, 'command.received').map((event) => event['text']);
    expect(texts).toEqual(['SELECT 1; SELECT 2, 3; SELECT 4', ...Array(4).fill('SELECT $1::int, $2::text')]);
    expect(of(events, 'statement.parsed')).toHaveLength(1);
    const seqs = of(events, 'command.executed').map((event) => event['seq']);
    expect(seqs).toEqual([1, 1, 1, 2, 3, 4, 5]);
    const received = JSON.stringify(of(events, 'command.received'));
    for (const value of ['value 1', 'value 2', 'value 3']) expect(received).toContain(value);
  });

  test('what the server skipped is said to be so', async () => {
    const events = await eventsOf('everything', 'everything', async (client) => {
      // The first fails as it is planned, the second as it is parsed, the third as it runs.
      for (const sql of ['SELECT 1/0', 'SELECT * FROM nowhere', 'SELECT 1/(id - 1) FROM people']) {
        client.send(unnamed(sql), unnamed("INSERT INTO log VALUES ('skipped')"), sync());
        await client.until('Z');
      }
    });
    const failed = of(events, 'command.failed').map((event) => event['sqlstate']);
    expect(failed).toEqual(['22012', 'skipped', '42P01', 'skipped', '22012', 'skipped']);
    expect(of(events, 'command.executed')).toEqual([]);
  });

  test('passwords in statements do not stand in it, nor tokens and credentials anywhere in the state folder', async () => {
    await eventsOf('everything', 'everything', async (client) => {
      expect(shapeOf(await client.query("CREATE ROLE made PASSWORD 'Kanarienvogel'"))).toEqual(['C CREATE ROLE', 'ZI']);
      await client.query('DROP ROLE made');
    });
    const token = await ground.token('everything');
    const folder = path.join(ground.state, 'record');
    for (const file of await readdir(folder, { recursive: true, withFileTypes: true })) {
      if (!file.isFile()) continue;
      const text = await readFile(path.join(file.parentPath, file.name), 'utf8');
      expect(text).not.toContain('Kanarienvogel');
      expect(text).not.toContain(token.slice(-40));
    }
    expect(ground.gateway.output()).not.toContain('Kanarienvogel');
  });

  test('level Metadata keeps no text and no values; level Full keeps results as they left, masked', async () => {
    const run = async (client: WireClient): Promise<void> => {
      client.send(
        parse('', 'SELECT id, email FROM people WHERE id = $1'),
        bind({ values: ['1'] }),
        execute(''),
        sync(),
      );
      const rows = (await client.until('Z')).filter(({ type }) => type === 'D').map(rowOf);
      expect(rows).toEqual([['1', '***']]);
    };
    const quiet = await eventsOf('quiet', 'reader', run);
    expect(JSON.stringify(quiet)).not.toContain('FROM people');
    expect(of(quiet, 'command.received')[0]).toMatchObject({
      verdict: 'Allow',
      rules: [expect.stringContaining('default/reader/read')],
    });
    const full = await eventsOf('full', 'reader', run);
    expect(of(full, 'command.executed')[0]).toMatchObject({ masked: expect.anything() });
    const chunks = of(full, 'command.executed').flatMap(({ result }) => (result ? [JSON.stringify(result)] : []));
    expect(chunks.length).toBeGreaterThan(0);
    const encoded = Buffer.from('canary@example.com').toString('base64').slice(4, 20);
    for (const text of [...chunks, JSON.stringify(quiet)]) {
      expect(text).not.toContain('canary');
      expect(text).not.toContain(encoded);
    }
  });

  test('what reached the server stands in it first: no statement in the server log is missing', async () => {
    const events = await eventsOf('everything', 'everything', async (client) => {
      for (let i = 0; i < 50; i++) client.send(query(`SELECT 'ordered ${i}'`));
      await client.until('Z', 50);
    });
    const logged = ground.server.log().match(/'ordered \d+'/g) ?? [];
    const texts = of(events, 'command.received').map((event) => String(event['text']));
    expect(texts).toEqual(logged.map((mark) => `SELECT ${mark}`));
  });

  test('a refused client is in it too, and sessions list and show tell the same', async () => {
    await expect(ground.through('reader', 'stranger')).rejects.toThrow('SPG022');
    const refused = async (): Promise<unknown> =>
      of(await recordedEvents(ground.state), 'session.refused').at(-1)?.['code'];
    await expect.poll(refused).toBe('SPG022');
    // Who only looks whether somebody listens is counted, and is no session.
    const { address, port } = ground.gateway.connections[0]!;
    const probe = createConnection(port, address, () => probe.end()).resume();
    const metrics = async (): Promise<string> => (await fetch(ground.gateway.metrics!)).text();
    await expect.poll(metrics).toContain('sallyport_refused_total{code="SPG117"} 1');
    // Written after it: what the probe left would stand before it.
    await expect(ground.through('reader', 'stranger')).rejects.toThrow('SPG022');
    const codes = async (): Promise<unknown[]> =>
      of(await recordedEvents(ground.state), 'session.refused').map(({ code }) => code);
    await expect.poll(codes).toEqual(['SPG022', 'SPG022']);
    expect(probe.destroyed).toBe(true);
    const list = await sallyport(['sessions', 'list', '--state', ground.state, '-o', 'json']);
    const sessions = list.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { session: string; state: string; commands: number });
    expect(sessions.map(({ state }) => state)).toEqual(expect.arrayContaining(['ended', 'refused']));
    const ended = sessions.find(({ state, commands }) => state === 'ended' && commands === 3)!;
    const shown = await sallyport(['sessions', 'show', ended.session, '--state', ground.state]);
    expect(shown.status).toBe(0);
    expect(shown.stdout).toContain('DELETE FROM people');
  });

  test('while it is written it can be verified, with the key and the anchors that the gateway made', async () => {
    await eventsOf('reader', 'reader', (client) => client.query('SELECT id FROM people').then(() => undefined));
    const verified = await sallyport(['verify', ground.state, '-o', 'json']);
    expect(verified).toMatchObject({ status: 0, stderr: '' });
    const lines = verified.stdout
      .trimEnd()
      .split('\n')
      .map((line): unknown => JSON.parse(line));
    expect(lines.at(-1)).toMatchObject({ summary: { bad: 0, keys: 'own' } });
    expect(lines[0]).toMatchObject({ stream: { state: 'open' } });
    const segments = await readdir(path.join(ground.state, 'record', 'default', 'reader'));
    expect(segments.length).toBeGreaterThan(0);
    const segment = path.join(ground.state, 'record', 'default', 'reader', segments[0] ?? '');
    const text = await readFile(segment, 'utf8');
    // Verified as a copy: the gateway goes on writing to the file itself.
    const copy = path.join(ground.state, segments[0] ?? '');
    await writeFile(copy, text.replace('SELECT id FROM people', 'SELECT id FROM peoplf'));
    const changed = await sallyport(['verify', copy]);
    expect(changed).toMatchObject({ status: 1, stdout: expect.stringContaining('[altered]') });
  });
});
