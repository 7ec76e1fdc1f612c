/**
 * One server, and Sallyport before it with two connections: one under which everything is allowed, and one of an ordinary agent
 * with masking. The same checks run directly and through either.
 */
import { appendFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { connectionYaml, EVERYTHING, writeAllowEverything } from '../../support/allow-everything.ts';
import { type Postgres, startPostgres } from '../../support/postgres.ts';
import { createToken, startSallyport } from '../../support/sallyport.ts';
import type { PostgresVersion } from '../../support/server-binaries.ts';

/** How a driver gets in. */
export interface Access {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
  /** Trust this authority, and check the name; absent: no TLS. */
  readonly caFile: string | undefined;
}

export interface Ground extends AsyncDisposable {
  readonly server: Postgres;
  readonly direct: Access;
  /** Everything is allowed, without TLS and with it. */
  readonly plain: Access;
  readonly tls: Access;
  /** May read and is masked. */
  readonly masked: Access;
}

const SCHEMA = `CREATE TABLE people (id int PRIMARY KEY, name text NOT NULL, email text, card text, born date, amount numeric(12,2));
INSERT INTO people SELECT i, 'name ' || i, 'person' || i || '@example.com', '4111 1111 1111 1111', date '2000-01-01' + i, i * 1.25
FROM generate_series(1, 500) i;
CREATE TABLE notes (id serial PRIMARY KEY, body text, data bytea, tags text[], doc jsonb, at timestamptz);
CREATE TABLE secrets (id int, body text); INSERT INTO secrets VALUES (1, 'hidden');`;

const READER = 'system:serviceaccount:default:reader';

const MASKED = `apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata:
  name: reader
spec:
  connections: {names: [masked]}
  subjects:
    - serviceAccount: {name: reader}
  rules:
    - name: read
      effect: Allow
      sql: {statements: [Read, CopyTo], relations: [public.people]}
---
apiVersion: sallyport.dev/v1alpha1
kind: MaskingRule
metadata:
  name: pii
spec:
  connections: {names: [masked]}
  columns:
    - match: ["public.people.email"]
    - match: ["public.people.card"]
      transform: {partial: {keepLast: 4}}
`;

export async function startGround(version: PostgresVersion): Promise<Ground> {
  await using cleanup = new AsyncDisposableStack();
  const folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-drivers-'));
  cleanup.defer(() => rm(folder, { recursive: true, force: true }));
  const server = cleanup.use(await startPostgres({ version }));
  await server.sql('CREATE DATABASE app');
  await server.sql(SCHEMA, undefined, 'app');
  const target = { port: server.port, database: 'app', username: server.user, password: server.password };
  const resources = path.join(folder, 'resources');
  await writeAllowEverything(resources, { everything: target });
  await appendFile(path.join(resources, 'everything.yaml'), `---\n${connectionYaml('masked', target)}---\n${MASKED}`);
  const state = path.join(folder, 'state');
  const gateway = cleanup.use(
    await startSallyport({
      resources: [resources],
      state,
      listen: ['default/everything=127.0.0.1:0', 'default/masked=127.0.0.1:0'],
    }),
  );
  const endpoints = JSON.parse(await readFile(path.join(state, 'run', 'endpoints.json'), 'utf8')) as {
    tls: { caFile: string };
  };
  const token = await createToken(state, { subject: EVERYTHING, ttl: '1h' });
  const readerToken = await createToken(state, { subject: READER, ttl: '1h' });
  const { port } = gateway.connection('everything');
  const access = { host: '127.0.0.1', user: 'postgres', database: 'app', caFile: undefined };
  const owned = cleanup.move();
  return {
    server,
    direct: { ...access, name: 'directly', port: server.port, password: server.password },
    plain: { ...access, name: 'through Sallyport', port, password: token },
    tls: {
      ...access,
      name: 'through Sallyport over TLS',
      host: 'localhost',
      port,
      password: token,
      caFile: endpoints.tls.caFile,
    },
    masked: { ...access, name: 'masked', port: gateway.connection('masked').port, password: readerToken },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Environment of a driver's process: libpq's variables, which all of them understand. */
export function environmentOf(access: Access): NodeJS.ProcessEnv {
  return {
    ...{ PATH: process.env.PATH, HOME: process.env.HOME, LC_ALL: 'C.UTF-8' },
    ...{ PGHOST: access.host, PGPORT: String(access.port), PGUSER: access.user, PGDATABASE: access.database },
    ...{ PGPASSWORD: access.password, PGGSSENCMODE: 'disable' },
    ...(access.caFile === undefined
      ? { PGSSLMODE: 'disable' }
      : { PGSSLMODE: 'verify-full', PGSSLROOTCERT: access.caFile }),
  };
}
