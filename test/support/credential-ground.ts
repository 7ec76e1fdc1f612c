/** A server on which roles are made for sessions, by an admin that is no superuser, and Sallyport before it. */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import pg from 'pg';
import { type Postgres, type PostgresOptions, startPostgres } from './postgres.ts';
import { createToken, type Gateway, type GatewayOptions, startSallyport } from './sallyport.ts';

export const ADMIN_PASSWORD = 'only-the-gateway-knows-the-admin';
/** What the admin role may do: it makes roles, and owns what it grants on. */
const ADMIN = `CREATE ROLE sallyport_admin LOGIN CREATEROLE PASSWORD '${ADMIN_PASSWORD}'`;

export interface CredentialGroundOptions extends PostgresOptions {
  /** Members of postgresRole besides adminSecretRef. */
  readonly role?: string;
  /** Of the subject agent: YAML of rules, each line with four spaces. */
  readonly rules?: string;
  /** Runs in database app as its owner, the admin role. */
  readonly schema?: string;
  /** Runs as the superuser in database app, after `schema`. */
  readonly besides?: string;
  readonly gateway?: Partial<GatewayOptions>;
}

export interface CredentialGround extends AsyncDisposable {
  readonly server: Postgres;
  readonly resources: string;
  readonly state: string;
  gateway: Gateway & AsyncDisposable;
  token(): Promise<string>;
  /** A connected node-postgres client through Sallyport. The caller ends it. */
  client(more?: pg.ClientConfig): Promise<pg.Client>;
  /** Logins that are there now. */
  logins(): Promise<string[]>;
  /** Puts other rules into force and waits until they are. */
  policy(rules: string): Promise<void>;
  /** Events of the connection's record. */
  record(): Promise<Record<string, unknown>[]>;
  restart(): Promise<void>;
}

export const SHOP = `CREATE TABLE orders (id int PRIMARY KEY, total int);
  INSERT INTO orders SELECT n, n * 10 FROM generate_series(1, 100) n;
  CREATE TABLE audit (id serial PRIMARY KEY, note text)`;

export const READ = `    - name: read
      effect: Allow
      sql: {statements: [Read, Session], relations: ["public.*"]}
`;
export const WRITE = `    - name: write
      effect: Allow
      sql: {statements: [Read, Write, Session], relations: ["public.*"]}
`;
export const EVERYTHING = `    - name: everything
      effect: Allow
      sql: {statements: ["*", CopyTo, CopyFrom], relations: ["*.*"], functions: ["*.*", pg_catalog.pg_advisory_lock, pg_catalog.pg_try_advisory_lock, pg_catalog.pg_advisory_xact_lock]}
`;

const policyYaml = (rules: string): string => `apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: agents}
spec:
  connections: {names: [app]}
  subjects: [{serviceAccount: {name: agent}}]
  rules:
${rules}`;

export async function startCredentialGround(options: CredentialGroundOptions): Promise<CredentialGround> {
  await using cleanup = new AsyncDisposableStack();
  const folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-made-'));
  cleanup.defer(() => rm(folder, { recursive: true, force: true }));
  const server = cleanup.use(await startPostgres(options));
  await server.sql(ADMIN);
  await server.sql('CREATE DATABASE app OWNER sallyport_admin');
  await server.sql(
    'ALTER SCHEMA public OWNER TO sallyport_admin; REVOKE CREATE ON SCHEMA public FROM PUBLIC',
    undefined,
    'app',
  );
  await server.sql(`SET ROLE sallyport_admin; ${options.schema ?? SHOP}`, undefined, 'app');
  if (options.besides !== undefined) await server.sql(options.besides, undefined, 'app');
  const resources = path.join(folder, 'resources');
  const state = path.join(folder, 'state');
  await mkdir(resources, { mode: 0o700 });
  const connection = `apiVersion: sallyport.dev/v1alpha1
kind: AccessConnection
metadata: {name: app}
spec:
  protocol: Postgres
  target: {host: 127.0.0.1, port: ${server.port}, database: app, tls: {mode: Disable}}
  credential:
    postgresRole:
      adminSecretRef: {name: admin}
${options.role ?? '      grantsFromPolicy: true\n'}---
apiVersion: v1
kind: Secret
metadata: {name: admin}
stringData: {username: sallyport_admin, password: ${ADMIN_PASSWORD}}
`;
  await writeFile(path.join(resources, 'app.yaml'), connection, { mode: 0o600 });
  await writeFile(path.join(resources, 'policy.yaml'), policyYaml(options.rules ?? READ));
  const start = (): Promise<Gateway & AsyncDisposable> =>
    startSallyport({ resources: [resources], state, listen: ['default/app=127.0.0.1:0'], ...options.gateway });
  let token: Promise<string> | undefined;
  const ground: CredentialGround = {
    server,
    resources,
    state,
    gateway: await start(),
    token() {
      token ??= createToken(state, { subject: 'system:serviceaccount:default:agent', ttl: '1h' });
      return token;
    },
    async client(more = {}) {
      const { port } = ground.gateway.connection('app');
      const client = new pg.Client({
        ...{ host: '127.0.0.1', port, user: 'agent', database: 'app', password: await ground.token() },
        ...more,
      });
      client.on('error', () => {});
      await client.connect();
      return client;
    },
    async logins() {
      const rows = await server.sql(
        "SELECT rolname FROM pg_roles WHERE rolname LIKE 'sallyport\\_login\\_%' ORDER BY 1",
      );
      return rows.map(({ rolname }) => String(rolname));
    },
    async policy(rules) {
      let known = ground.gateway.output().split('"event":"reload"').length - 1;
      const reloaded = ground.gateway.event((event) => event.event === 'reload' && known-- === 0);
      await writeFile(path.join(resources, 'policy.yaml'), policyYaml(rules));
      const event = await reloaded;
      if (event['changed'] !== true) throw new Error(JSON.stringify(event));
    },
    async record() {
      const place = path.join(state, 'record', 'default', 'app');
      const texts = await Promise.all((await readdir(place)).map((file) => readFile(path.join(place, file), 'utf8')));
      return texts.flatMap((text) =>
        text
          .split('\n')
          .filter((line) => line.endsWith('}'))
          .map((line) => JSON.parse(line) as Record<string, unknown>),
      );
    },
    async restart() {
      await ground.gateway.stop('SIGKILL');
      ground.gateway = await start();
    },
    async [Symbol.asyncDispose]() {
      await ground.gateway[Symbol.asyncDispose]();
      await owned.disposeAsync();
    },
  };
  const owned = cleanup.move();
  return ground;
}
