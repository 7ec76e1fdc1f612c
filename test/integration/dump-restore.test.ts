/** Backups through Sallyport hold the same bytes as direct ones, and can be restored through it. */
import { execFile } from 'node:child_process';
import { appendFile, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { EVERYTHING, writeAllowEverything } from '../support/allow-everything.ts';
import { startPostgres } from '../support/postgres.ts';
import { describeWith, postgresServer, program } from '../support/requires.ts';
import { createToken, startSallyport } from '../support/sallyport.ts';
import { type ClientProgram, clientProgram } from '../support/server-binaries.ts';

const run = promisify(execFile);

const SHOP = `CREATE SCHEMA audit;
CREATE SCHEMA vault; CREATE TABLE vault.keys AS SELECT 'secret' AS key;
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TABLE customers (id serial PRIMARY KEY, name text NOT NULL, feeling mood DEFAULT 'ok', tags text[], doc jsonb, data bytea, at timestamptz);
CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY, customer int REFERENCES customers ON DELETE CASCADE, amount positive, note text COLLATE "C");
CREATE INDEX ON orders (customer) WHERE amount > 3;
CREATE TABLE measures (day date, value float8) PARTITION BY RANGE (day);
CREATE TABLE measures_1 PARTITION OF measures FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE measures_rest PARTITION OF measures DEFAULT;
CREATE TABLE audit.log (at timestamptz, who text, what text);
CREATE VIEW rich AS SELECT c.id, sum(o.amount) AS total FROM customers c JOIN orders o ON o.customer = c.id GROUP BY c.id;
CREATE FUNCTION public.add(a int, b int) RETURNS int LANGUAGE plpgsql AS $f$ BEGIN RETURN a + b; END $f$;
CREATE FUNCTION public.stamp() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN NEW.at := coalesce(NEW.at, '2024-01-01'); RETURN NEW; END $f$;
CREATE TRIGGER stamp BEFORE INSERT ON customers FOR EACH ROW EXECUTE FUNCTION stamp();
COMMENT ON TABLE customers IS 'people; with "quotes" and ünïcode';
ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY everybody ON orders USING (true);
INSERT INTO customers (name, feeling, tags, doc, data)
SELECT E'name\\t\\\\' || i, 'happy', ARRAY['a', NULL, i::text], '{"k": [1, "é"]}', decode(md5(i::text), 'hex') FROM generate_series(1, 3000) i;
INSERT INTO orders (customer, amount, note) SELECT 1 + i % 3000, 1 + i, repeat('x', i % 300) FROM generate_series(1, 5000) i;
INSERT INTO measures SELECT date '2023-12-01' + i, sqrt(i) FROM generate_series(1, 400) i;
INSERT INTO audit.log SELECT timestamptz '2024-01-01' + i * interval '1 hour', 'agent', 'did ' || i FROM generate_series(1, 500) i;
CREATE MATERIALIZED VIEW totals AS SELECT count(*) FROM orders;`;

const BACKUP = 'system:serviceaccount:default:backup';
const BACKUP_POLICY = `---
apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata:
  name: backup
spec:
  connections: {names: [nightly]}
  subjects:
    - serviceAccount: {name: backup}
  rules:
    - name: dump
      effect: Allow
      sql: {statements: [Read, CopyTo, Lock], relations: [audit.*, public.*]}
`;

interface Ground extends AsyncDisposable {
  readonly folder: string;
  /** Environment of libpq's programs: directly, and through Sallyport as somebody. */
  direct(database: string): NodeJS.ProcessEnv;
  everything(connection: 'shop' | 'copy'): NodeJS.ProcessEnv;
  readonly backup: NodeJS.ProcessEnv;
  /** An empty database for the next restore. */
  emptyCopy(): Promise<void>;
}

async function startGround(): Promise<Ground> {
  await using cleanup = new AsyncDisposableStack();
  const folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-dump-'));
  cleanup.defer(() => rm(folder, { recursive: true, force: true }));
  const server = cleanup.use(await startPostgres({ version: 15 }));
  await server.sql('CREATE DATABASE shop');
  await server.sql('CREATE DATABASE copy');
  await server.sql(SHOP, undefined, 'shop');
  // Whoever may read everything, and is no superuser, is what a backup job should be: a superuser's dump reads secrets, too.
  await server.sql("CREATE ROLE backup LOGIN BYPASSRLS PASSWORD 'backup' IN ROLE pg_read_all_data");
  await server.sql("SELECT lo_from_bytea(424242, decode(repeat('0102ff', 5000), 'hex'))", undefined, 'shop');
  const target = { port: server.port, username: server.user, password: server.password };
  const resources = path.join(folder, 'resources');
  await writeAllowEverything(resources, {
    shop: { ...target, database: 'shop' },
    copy: { ...target, database: 'copy' },
    nightly: { ...target, database: 'shop', username: 'backup', password: 'backup' },
  });
  await appendFile(path.join(resources, 'everything.yaml'), BACKUP_POLICY);
  const state = path.join(folder, 'state');
  const listen = ['shop', 'copy', 'nightly'].map((name) => `default/${name}=127.0.0.1:0`);
  const gateway = cleanup.use(await startSallyport({ resources: [resources], state, listen }));
  const tokens = {
    backup: await createToken(state, { subject: BACKUP, ttl: '1h' }),
    everything: await createToken(state, { subject: EVERYTHING, ttl: '1h' }),
  };
  const owned = cleanup.move();
  const port = (name: string): string => String(gateway.connection(name).port);
  const common = { ...process.env, PGHOST: '127.0.0.1', PGUSER: 'postgres', PGSSLMODE: 'disable' };
  return {
    folder,
    direct: (database) => ({
      ...common,
      PGDATABASE: database,
      PGPORT: String(server.port),
      PGPASSWORD: server.password,
    }),
    backup: { ...common, PGDATABASE: 'shop', PGPORT: port('nightly'), PGPASSWORD: tokens.backup },
    everything: (name) => ({ ...common, PGDATABASE: name, PGPORT: port(name), PGPASSWORD: tokens.everything }),
    async emptyCopy() {
      await server.sql('DROP DATABASE copy WITH (FORCE)');
      await server.sql('CREATE DATABASE copy');
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Stdout of a program that must succeed. */
async function output(name: ClientProgram, parameters: readonly string[], env: NodeJS.ProcessEnv): Promise<string> {
  const { stdout } = await run(clientProgram(name), parameters, { env, maxBuffer: 1 << 28 });
  return stdout;
}

/** Newer pg_dump guards its output with a key that is random unless given. */
const withoutKey = (dump: string): string => dump.replaceAll(/^\\(un)?restrict .*$/gm, '');

/** What a backup job of these two schemas asks for. */
const SCHEMAS = ['-n', 'public', '-n', 'audit'];

describeWith(
  [postgresServer(15), program('pg_dump', 'postgresql'), program('pg_restore', 'postgresql')],
  'pg_dump and pg_restore',
  () => {
    let ground: Ground;
    beforeAll(async () => {
      ground = await startGround();
    });
    afterAll(() => ground?.[Symbol.asyncDispose]());

    describe.each([
      ['with a policy for backups', 'backup', SCHEMAS],
      ['where everything is allowed', 'everything', ['-b']],
    ] as const)('%s', (_name, token, selection) => {
      const access = (): NodeJS.ProcessEnv => (token === 'backup' ? ground.backup : ground.everything('shop'));

      test('a plain dump is the same, byte for byte', async () => {
        const direct = await output('pg_dump', selection, ground.direct('shop'));
        const through = await output('pg_dump', selection, access());
        expect(direct).toContain('COPY audit.log');
        expect(withoutKey(through)).toBe(withoutKey(direct));
      });

      test('so are dumps with INSERT statements, and of the schema alone', async () => {
        for (const more of [
          ['--inserts', '--rows-per-insert=50'],
          ['--schema-only', '--no-owner'],
        ]) {
          const parameters = [...selection, ...more];
          const direct = await output('pg_dump', parameters, ground.direct('shop'));
          expect(withoutKey(await output('pg_dump', parameters, access()))).toBe(withoutKey(direct));
        }
      });

      test('an archive holds the same', async () => {
        const [direct, through] = ['direct', 'through'].map((side) =>
          path.join(ground.folder, `${token}-${side}.dump`),
        );
        await output('pg_dump', [...selection, '-Fc', '-f', direct!], ground.direct('shop'));
        await output('pg_dump', [...selection, '-Fc', '-f', through!], access());
        const [one, other] = await Promise.all(
          [direct!, through!].map((file) => output('pg_restore', ['-f', '-', file], process.env)),
        );
        expect(withoutKey(other!)).toBe(withoutKey(one!));
      });

      test('a directory made by parallel jobs holds the same files', async () => {
        const [direct, through] = ['direct', 'through'].map((side) => path.join(ground.folder, `${token}-${side}.d`));
        const parameters = [...selection, '-Fd', '-Z0', '-j2', '-f'];
        await output('pg_dump', [...parameters, direct!], ground.direct('shop'));
        await output('pg_dump', [...parameters, through!], access());
        const files = (await readdir(direct!)).sort();
        expect((await readdir(through!)).sort()).toEqual(files);
        expect(files.length).toBeGreaterThan(5);
        // The table of contents holds the time and the port.
        for (const file of files.filter((name) => name !== 'toc.dat')) {
          expect(await readFile(path.join(through!, file)), file).toEqual(await readFile(path.join(direct!, file)));
        }
      });
    });

    test('a backup job dumps nothing else', async () => {
      const attempt = output('pg_dump', ['-n', 'vault'], ground.backup);
      await expect(attempt).rejects.toThrow(/Sallyport denied this statement/);
    });

    test.each([
      ['a plain dump, by psql', '-Fp'],
      ['an archive', '-Fc'],
      ['a directory, by parallel jobs', '-Fd'],
    ])('%s is restored through Sallyport', async (_name, format) => {
      const file = path.join(ground.folder, `restore${format}`);
      await output('pg_dump', ['-b', format, '-f', file], ground.everything('shop'));
      await ground.emptyCopy();
      const copy = ground.everything('copy');
      if (format === '-Fp') await output('psql', ['-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', file], copy);
      else if (format === '-Fc') await output('pg_restore', ['-1', '-d', 'copy', file], copy);
      else await output('pg_restore', ['-j2', '-e', '-d', 'copy', file], copy);
      const restored = await output('pg_dump', ['-b'], ground.direct('copy'));
      expect(withoutKey(restored)).toBe(withoutKey(await output('pg_dump', ['-b'], ground.direct('shop'))));
    });
  },
);
