/** What `sessions replay` shows of real sessions, held against what their clients saw. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import * as encode from '../../proxy/protocols/postgres/wire/encode.ts';
import type { ReplayStep } from '../../record/replay/steps.ts';
import { sallyportHere } from '../support/in-process.ts';
import { type LaneGround, startLaneGround } from '../support/lane-ground.ts';
import { recordedEvents } from '../support/recorded.ts';
import { describeWith, postgresServer, program } from '../support/requires.ts';
import { bind, rowOf, type WireClient } from '../support/wire-client.ts';

const run = promisify(execFile);
const { parse, describe: describeMessage, execute, sync, terminate } = encode;

const POLICY = `apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: reader}
spec:
  connections: {names: [reader, quiet, small]}
  subjects: [{serviceAccount: {name: reader}}]
  rules:
    - name: read
      effect: Allow
      sql: {statements: [Read, CopyTo], relations: ["public.*"]}
---
apiVersion: sallyport.dev/v1alpha1
kind: MaskingRule
metadata: {name: pii}
spec:
  connections: {names: [reader, quiet, small]}
  columns:
    - match: ["public.people.email"]
`;

const SCHEMA = `CREATE TABLE people (id int, email text, note text);
  INSERT INTO people VALUES (1, 'canary@example.com', 'plain'), (2, NULL, NULL), (3, 'canary3@example.com', E'two\\nlines\\tand <b>|</b>');
  CREATE TABLE kinds (i2 int2, i8 int8, n numeric, f4 float4, f8 float8, b bool, t text, d date, ts timestamptz, u uuid, j jsonb, a text[], y bytea, nothing text);
  INSERT INTO kinds VALUES (-3, 9007199254740993, 12345.6700, 0.1, 1e300, true, 'Grüße 日本', '0044-03-15 BC', '2026-03-01 10:11:12.5+00',
    '0c9f6f9e-2b00-4000-8000-000000000001', '{"a": [1, null]}', ARRAY['x y', NULL, '"'], '\\x00ff', NULL)`;

describeWith([postgresServer(18), program('psql', 'postgresql-client')], 'sessions replay', () => {
  let ground: LaneGround;
  beforeAll(async () => {
    ground = await startLaneGround({
      version: 18,
      schema: SCHEMA,
      connections: {
        reader: '',
        quiet: 'audit: {level: Metadata}',
        small: 'audit: {level: Full, maxResponseBytes: 4000}',
      },
      resources: { 'reader.yaml': POLICY },
    });
  });
  afterAll(() => ground[Symbol.asyncDispose]());

  /** The session that `body` makes, as its id, once it has ended. */
  async function sessionOf(body: () => Promise<void>): Promise<string> {
    const known = new Set((await recordedEvents(ground.state)).map(({ session }) => session));
    await body();
    const ended = async () =>
      (await recordedEvents(ground.state)).find(({ e, session }) => e === 'session.end' && !known.has(session));
    await expect.poll(ended).toBeDefined();
    return String((await ended())?.['session']);
  }

  async function replayed(session: string, ...more: string[]): Promise<string> {
    const { status, stdout, stderr } = await sallyportHere([
      'sessions',
      'replay',
      session,
      '--state',
      ground.state,
      ...more,
    ]);
    expect(stderr).toBe('');
    expect(status).toBe(0);
    return stdout;
  }

  async function stepsOf(session: string): Promise<ReplayStep[]> {
    const lines = (await replayed(session, '--export', 'jsonl')).trimEnd().split('\n').slice(1);
    return lines.map((line) => JSON.parse(line) as ReplayStep);
  }

  /** What psql would have written for these results, with a head and no footer. */
  function asPsql(steps: readonly ReplayStep[]): string {
    let text = '';
    for (const step of steps) {
      if (step.kind !== 'rows') continue;
      const isCopy = step.columns.join() === 'COPY';
      if (step.first && !isCopy) text += `${step.columns.join('|')}\n`;
      for (const row of step.rows) text += `${row.map((cell) => cell ?? '∅').join('|')}\n`;
    }
    return text;
  }

  async function psql(connection: string, script: readonly string[]): Promise<string> {
    const target = `host=127.0.0.1 port=${ground.port(connection)} dbname=app user=agent sslmode=disable`;
    const options = ['-X', '-q', '-A', '-P', 'null=∅', '-P', 'footer=off', ...script.flatMap((sql) => ['-c', sql])];
    const environment = {
      ...process.env,
      PGPASSWORD: await ground.token(connection === 'everything' ? 'everything' : 'reader'),
    };
    return (await run('psql', [target, ...options], { env: environment })).stdout;
  }

  test('rows, NULLs, masked values, errors, denials and COPY come back as psql showed them', async () => {
    let shown = '';
    const session = await sessionOf(async () => {
      shown = await psql('reader', [
        'SELECT id, email, note FROM people ORDER BY id',
        'SELECT * FROM kinds',
        'SELECT 1 AS a; SELECT 2 AS b, NULL AS c',
        'DELETE FROM people',
        'SELECT 1/(id - 1) AS broken FROM people WHERE id < 2',
        'COPY kinds (i2, t, nothing) TO STDOUT',
        "COPY (SELECT 1, 'a,b' FROM kinds) TO STDOUT WITH (FORMAT csv)",
      ]);
    });
    expect(shown).toContain('***');
    const steps = await stepsOf(session);
    expect(asPsql(steps)).toBe(shown);
    const outcome = (seq: number): ReplayStep['kind'] | undefined =>
      steps.findLast((step) => 'seq' in step && step.seq === seq)?.kind;
    expect([1, 2, 3, 4, 5, 6, 7].map(outcome)).toEqual([
      'executed',
      'executed',
      'executed',
      'denied',
      'failed',
      'executed',
      'executed',
    ]);
    const commands = steps.filter((step) => step.kind === 'command');
    expect(commands[0]).toMatchObject({ verdict: 'Allow', masks: ['default/pii'], rules: ['default/reader/read@1'] });
    expect(steps.find((step) => step.kind === 'executed')).toMatchObject({ rows: 3, masked: { 'default/pii': 2 } });

    const text = await replayed(session);
    expect(text).toMatch(
      /#1 {2}Allow {2}default\/reader\/read@1 {2}masks default\/pii\n +│ SELECT id, email, note FROM people ORDER BY id\n/,
    );
    expect(text).toMatch(/ {2}1 │ \*{3} +│ plain\n/);
    expect(text).toMatch(/#4 {2}denied {2}.*Delete on public\.people/);
    expect(text).toMatch(/#5 {2}failed {2}22012/);
    for (const form of ['html', 'asciicast', 'asciicast-v3']) {
      const exported = await replayed(session, '--export', form);
      expect(exported).not.toContain('canary');
      expect(exported).toContain('***');
    }
  });

  test('binary results of prepared statements read as their text form does', async () => {
    const columns = 'i2, i8, n, f4, f8, b, t, d, ts, u, j, a, y, nothing';
    const through = async (formats: readonly number[], describes: 'S' | 'P' | 'none') => {
      const read: (string | null)[][] = [];
      const session = await sessionOf(async () => {
        const client = await ground.through('everything', 'everything', { parameters: { timezone: 'UTC' } });
        client.send(parse('s', `SELECT ${columns} FROM kinds`));
        if (describes === 'S') client.send(describeMessage('S', 's'));
        client.send(bind({ statement: 's', results: formats }));
        if (describes === 'P') client.send(describeMessage('P', ''));
        client.send(execute(''), sync());
        const rows = (await client.until('Z')).filter(({ type }) => type === 'D');
        if (formats.length === 0) read.push(...rows.map(rowOf));
        expect(rows).toHaveLength(1);
        await end(client);
      });
      const steps = await stepsOf(session);
      const rows = steps.filter((step) => step.kind === 'rows');
      return { read, names: rows[0]?.columns, rows: rows.flatMap((step) => step.rows) };
    };
    const text = await through([], 'P');
    expect(text.rows).toEqual(text.read);
    expect(text.names).toEqual(columns.split(', '));
    for (const describes of ['S', 'P'] as const) {
      const binary = await through([1], describes);
      expect(binary.names).toEqual(text.names);
      expect(binary.rows).toEqual(text.rows);
    }
    // Nobody asked what the columns are: the record cannot know, and nothing is guessed.
    const unknown = await through([1], 'none');
    expect(unknown.names?.slice(0, 2)).toEqual(['col1', 'col2']);
    expect(unknown.rows[0]?.slice(0, 2)).toEqual(['\\xfffd', '\\x0020000000000001']);
  });

  test('of a result beyond maxResponseBytes, what is recorded and how much there was', async () => {
    const session = await sessionOf(async () => {
      await psql('small', ["SELECT i, repeat('x', 50) AS line FROM generate_series(1, 1000) AS i"]);
    });
    const steps = await stepsOf(session);
    const rows = steps.filter((step) => step.kind === 'rows').flatMap((step) => step.rows);
    expect(rows[0]).toEqual(['1', 'x'.repeat(50)]);
    const result = steps.find((step) => step.kind === 'result')?.result;
    expect(result).toMatchObject({
      recorded: 4000,
      sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
      rows: rows.length,
    });
    expect(await replayed(session, '--max-rows', '3')).toMatch(
      /\(\d+ more of \d+ recorded rows\)\n +\(4000 of \d+ bytes are recorded, of the rest its length and SHA-256\)\n.*executed {2}1000 rows/,
    );
  });

  test('a session of level Metadata shows that there is nothing to show', async () => {
    const session = await sessionOf(async () => void (await psql('quiet', ['SELECT id FROM people'])));
    const text = await replayed(session);
    expect(text).toContain('(the text is not recorded)');
    expect(text).not.toContain('people');
    expect(text).toMatch(/executed {2}3 rows/);
  });

  async function end(client: WireClient): Promise<void> {
    client.send(terminate());
    await client.toEnd();
  }
});
