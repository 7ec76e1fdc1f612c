/** COPY through Sallyport, both ways and in both protocols, with every way that it can end. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import * as encode from '../../proxy/protocols/postgres/wire/encode.ts';
import { type LaneGround, startLaneGround } from '../support/lane-ground.ts';
import { describeWith, postgresServer } from '../support/requires.ts';
import type { PostgresVersion } from '../support/server-binaries.ts';
import { bind, raw, shapeOf } from '../support/wire-client.ts';
import { type Step, transcript } from '../support/wire-compare.ts';

const { parse, execute, sync, flush, query, describe: describing, copyFail } = encode;
const all = (...parts: Uint8Array[]): Buffer => Buffer.concat(parts);
const data = (text: string): Buffer => raw('d', text);
const done = raw('c', '');
const step = (...parts: Uint8Array[]): Step => ({ send: all(...parts) });
const until = (type: string, ...parts: Uint8Array[]): Step => ({ send: all(...parts), until: type });
const pipeline = (sql: string): Buffer => all(parse('', sql), bind(), describing('P', ''), execute(''), sync());

const SCHEMA = `CREATE TABLE items (id int, name text);
INSERT INTO items SELECT i, 'item ' || i FROM generate_series(1, 200) i;
CREATE TABLE target (id int PRIMARY KEY, name text);
CREATE TABLE people (id int, email text, note text);
INSERT INTO people SELECT i, 'p' || i || '@example.com', 'card 4111 1111 1111 1111' FROM generate_series(1, 5) i;`;

const READER = `apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: reader}
spec:
  connections: {names: [reader]}
  subjects: [{serviceAccount: {name: reader}}]
  rules:
    - name: read
      effect: Allow
      sql: {statements: [Read, CopyTo], relations: ["public.*"]}
      limits: {maxRowsReturned: 50}
---
apiVersion: sallyport.dev/v1alpha1
kind: MaskingRule
metadata: {name: pii}
spec:
  connections: {names: [reader]}
  columns:
    - match: ["public.people.email"]
  content:
    - detectors: [CreditCard]
`;

const COPY_IN = 'COPY target FROM STDIN';

/** Each begins and ends with nothing in the table. */
const SCRIPTS: Readonly<Record<string, readonly Step[]>> = {
  out: [
    step(query('COPY items TO STDOUT')),
    step(query('COPY (SELECT id FROM items WHERE id < 4) TO STDOUT WITH (FORMAT csv, HEADER)')),
    step(query('COPY items TO STDOUT (FORMAT binary)')),
    step(pipeline('COPY items TO STDOUT')),
    step(query('COPY items TO STDOUT; SELECT 1; COPY (SELECT 2) TO STDOUT')),
  ],
  'out, failing in the middle': [
    step(query('COPY (SELECT 1/(50 - id) FROM items) TO STDOUT')),
    step(pipeline('COPY (SELECT 1/(50 - id) FROM items) TO STDOUT')),
    step(query('SELECT 1')),
  ],
  in: [
    step(query('BEGIN')),
    until('G', query(COPY_IN)),
    step(data('1\tone\n2\t'), data('two\n'), done),
    until('G', query('COPY target FROM STDIN (FORMAT csv)')),
    step(data('3,"three, and more"\n'), done),
    step(query('SELECT * FROM target ORDER BY id')),
    step(query('ROLLBACK')),
  ],
  'in, all at once without waiting': [
    step(query('BEGIN')),
    step(query(COPY_IN), data('1\tone\n'), done),
    step(query(COPY_IN), data('1\tone again\n'), done),
    step(query('ROLLBACK')),
  ],
  'in, extended': [
    step(query('BEGIN')),
    until('G', parse('', COPY_IN), bind(), describing('P', ''), execute(''), flush()),
    step(data('1\tone\n'), done, sync()),
    step(query('SELECT * FROM target')),
    step(query('ROLLBACK')),
  ],
  'in, extended, a Sync sent before the data': [
    step(query('BEGIN')),
    until('G', pipeline(COPY_IN)),
    step(data('1\tone\n'), sync(), flush(), data('2\ttwo\n'), done, sync()),
    step(query('SELECT * FROM target ORDER BY id')),
    step(query('ROLLBACK')),
  ],
  'in, extended, everything at once': [
    step(query('BEGIN')),
    step(parse('', COPY_IN), bind(), execute(''), sync(), data('1\tone\n'), done, sync()),
    step(query('SELECT count(*) FROM target')),
    step(query('ROLLBACK')),
  ],
  'in, ended by the client': [
    until('G', query(COPY_IN)),
    step(data('1\tone\n'), copyFail('changed my mind')),
    until('G', pipeline(COPY_IN)),
    step(data('1\tone\n'), copyFail('and again'), sync()),
    step(query('SELECT count(*) FROM target')),
  ],
  'in, a row that is wrong': [
    until('G', query(COPY_IN)),
    step(data('1\tone\nx\ttwo\n'), data('3\tthree\n'), done),
    step(query('SELECT count(*) FROM target')),
    until('G', pipeline(COPY_IN)),
    step(data('1\tone\nx\ttwo\n'), data('3\tthree\n'), done, sync()),
    step(query('SELECT count(*) FROM target')),
  ],
  'in, a row that is wrong, the client hears of it before it goes on': [
    until('G', query(COPY_IN)),
    until('Z', data('x\tone\ny\ttwo\n'), data(`${'z'.repeat(70_000)}\tx\n`)),
    { send: all(data('3\tthree\n'), done), count: 0 },
    step(query('SELECT count(*) FROM target')),
    until('G', pipeline(COPY_IN)),
    until('E', data('x\tone\ny\ttwo\n'), data(`${'z'.repeat(70_000)}\tx\n`)),
    step(data('3\tthree\n'), done, sync()),
    step(query('SELECT count(*) FROM target')),
  ],
  'in, a Sync that may come before or after the error of a row': [
    until('G', pipeline(COPY_IN)),
    step(data('x\tone\n'), data(`${'z'.repeat(70_000)}\tx\n`), sync()),
    step(query('SELECT count(*) FROM target')),
  ],
  'in, another command in the place of data': [
    until('G', pipeline(COPY_IN)),
    step(parse('', 'SELECT 1'), sync()),
    step(query('SELECT 1')),
  ],
  'CopyData, CopyDone and CopyFail outside of a copy': [
    { send: all(data('stray'), done, copyFail('stray')), count: 0 },
    step(query('SELECT 1')),
    { send: all(parse('', 'SELECT 2'), data('stray'), bind(), done, execute(''), sync()) },
  ],
};

const VERSIONS: readonly PostgresVersion[] = [15, 18];

for (const version of VERSIONS) {
  describeWith([postgresServer(version)], `PostgreSQL ${version}, COPY`, () => {
    let ground: LaneGround;
    beforeAll(async () => {
      ground = await startLaneGround({
        version,
        schema: SCHEMA,
        connections: { reader: '' },
        resources: { 'reader.yaml': READER },
      });
    });
    afterAll(() => ground[Symbol.asyncDispose]());

    describe('is the same byte for byte', () => {
      test.for(Object.entries(SCRIPTS))('%s', async ([, steps]) => {
        await using direct = await ground.direct();
        const expected = await transcript(direct, steps);
        await using through = await ground.through();
        expect(await transcript(through, steps)).toEqual(expected);
        await using split = await ground.through();
        expect(await transcript(split, steps, 1000)).toEqual(expected);
        if (expected.at(-1) !== 'end')
          expect(shapeOf(await through.query('SELECT 1'))).toEqual(['T', 'D', 'C SELECT 1', 'ZI']);
      });

      test('40 MB in, 40 MB out', async () => {
        await using client = await ground.through();
        await client.query('CREATE TABLE bulk (line text)');
        client.send(query('COPY bulk FROM STDIN'));
        await client.until('G');
        const line = data(`${'x'.repeat(999)}\n`);
        for (let i = 0; i < 40; i++) client.send(...Array.from({ length: 1000 }, () => line));
        client.send(done);
        expect(shapeOf(await client.until('Z'))).toEqual(['C COPY 40000', 'ZI']);
        const out = await client.query('COPY bulk TO STDOUT');
        expect(out.filter(({ type, body }) => type === 'd' && body.equals(line.subarray(5)))).toHaveLength(40_000);
        expect(shapeOf(out).slice(-3)).toEqual(['c', 'C COPY 40000', 'ZI']);
        await client.query('DROP TABLE bulk');
      });
    });

    test('what is denied: into a table, a file, a program', async () => {
      await using client = await ground.through('reader', 'reader');
      for (const sql of [
        COPY_IN,
        "COPY items TO '/tmp/out'",
        "COPY items TO PROGRAM 'cat'",
        "COPY target FROM '/etc/passwd'",
      ])
        expect(await client.errorOf(sql), sql).toMatchObject({ C: '42501', D: expect.stringContaining('SPG001') });
      // Data that was sent along is no command.
      client.send(query(COPY_IN), data('1\tone\n'), done, query('SELECT 1'));
      expect(shapeOf(await client.until('Z', 2))).toEqual(['E 42501', 'ZI', 'T', 'D', 'C SELECT 1', 'ZI']);
      client.send(pipeline(COPY_IN), query('SELECT 2'));
      expect(shapeOf(await client.until('Z', 2))).toEqual(['E 42501', 'ZI', 'T', 'D', 'C SELECT 1', 'ZI']);
    });

    test('limits and masking hold for what comes out', async () => {
      await using client = await ground.through('reader', 'reader');
      expect(await client.errorOf('COPY items TO STDOUT')).toMatchObject({ D: expect.stringContaining('SPG009') });
      expect(await client.errorOf('COPY people TO STDOUT')).toMatchObject({ C: '42501' });
      const rows = await client.query('COPY (SELECT id, note FROM people) TO STDOUT');
      expect(shapeOf(rows).slice(-2)).toEqual(['C COPY 5', 'ZI']);
      expect(Buffer.concat(rows.map(({ body }) => body)).toString()).not.toContain('4111 1111 1111 1111');
    });
  });
}
