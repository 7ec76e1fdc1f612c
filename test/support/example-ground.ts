/** Runs files of examples/ as they are: only where a target is, and the password that nobody may publish, are filled in. */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import pg from 'pg';
import { parseAllDocuments } from 'yaml';
import type { Postgres } from './postgres.ts';
import { createToken, type Gateway, type GatewayEvent, repositoryRoot, startSallyport } from './sallyport.ts';
import { clientProgram } from './server-binaries.ts';

export const EXAMPLES = path.join(repositoryRoot, 'examples');

export interface Caller {
  /** `system:serviceaccount:NAMESPACE:NAME` or `ALIAS:SUBJECT`. */
  readonly as: string;
  readonly groups?: readonly string[];
  readonly claims?: Readonly<Record<string, string>>;
}

/** A service account of the namespace that objects without one are in. */
export const account = (name: string, namespace = 'default'): Caller => ({
  as: `system:serviceaccount:${namespace}:${name}`,
});

export interface ExampleOptions {
  /** With TLS: the examples verify their targets. */
  readonly server: Postgres;
  /** Names of files in examples/. */
  readonly files: readonly string[];
  /** Resources that the example speaks of and leaves to its reader. */
  readonly besides?: string;
  /** Of the SallyportConfiguration. */
  readonly configuration?: string;
  /** What else must differ, such as a time zone; each must be found. */
  readonly replace?: ReadonlyMap<string, string>;
  /** A state folder that outlives the example. Default: one of its own. */
  readonly state?: string;
  /** Default true: the server's authority is one of the system's. */
  readonly trustsServer?: boolean;
}

export interface ProgramResult {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Example extends AsyncDisposable {
  readonly gateway: Gateway;
  readonly state: string;
  /** A connected node-postgres client; it ends with the example. @throws when the session is refused */
  open(connection: string, caller: Caller | { readonly token: string }): Promise<pg.Client>;
  /** Stock psql, unaligned, rows only. */
  psql(connection: string, caller: Caller, sql: string): Promise<ProgramResult>;
  pgDump(connection: string, caller: Caller, parameters: readonly string[]): Promise<ProgramResult>;
  /** Puts another example into the folder and waits until it is in force. */
  add(file: string): Promise<void>;
}

/** Where a target of the examples is: `target: {host: H, port: P`, in one line or in three. */
const TARGET = /^( *)target:(?: \{|\n +)host: ([^\s,]+)(?:,|\n) +port: 5432(?=[,\n])/gm;
const PASSWORD = 'only-the-gateway-knows';

/** The file with its targets at the test server. */
export async function exampleText(file: string, server: Postgres): Promise<string> {
  const text = await readFile(path.join(EXAMPLES, file), 'utf8');
  return text.replace(TARGET, (whole, _indent, host: string) =>
    whole.replace(host, server.host).replace('5432', String(server.port)),
  );
}

/** Databases with the role that Sallyport signs in with: its owner, so that only policy stands before what is there. */
export async function exampleDatabases(server: Postgres, schemas: Readonly<Record<string, string>>): Promise<void> {
  await server.sql(`CREATE ROLE sallyport LOGIN PASSWORD '${PASSWORD}'`);
  for (const [database, schema] of Object.entries(schemas)) {
    await server.sql(`CREATE DATABASE ${database} OWNER sallyport`);
    await server.sql(`GRANT CREATE ON SCHEMA public TO sallyport; SET ROLE sallyport; ${schema}`, undefined, database);
  }
}

interface ConnectionInExample {
  readonly namespace: string;
  readonly database: string;
  /** Name of the Secret with its credential. */
  readonly secret: string;
}

/** Connections of the PostgreSQL lane, by name. */
function connectionsOf(text: string): Map<string, ConnectionInExample> {
  const found = new Map<string, ConnectionInExample>();
  for (const document of parseAllDocuments(text)) {
    const written = document.toJS() as {
      readonly kind?: string;
      readonly metadata: { readonly name: string; readonly namespace?: string };
      readonly spec: {
        readonly protocol: string;
        readonly target: { readonly database: string };
        readonly credential: {
          readonly secretRef?: { readonly name: string };
          readonly postgresRole?: { readonly adminSecretRef: { readonly name: string } };
        };
      };
    } | null;
    if (written?.kind !== 'AccessConnection') continue;
    const { metadata, spec } = written;
    const { namespace = 'default', name } = metadata;
    const secret = spec.credential.secretRef ?? spec.credential.postgresRole?.adminSecretRef;
    // A connection of another lane, or without a stored credential.
    if (spec.protocol !== 'Postgres' || secret === undefined) continue;
    found.set(name, { namespace, database: spec.target.database, secret: secret.name });
  }
  return found;
}

function secrets(connections: Iterable<ConnectionInExample>): string {
  const written = [...connections].map(
    ({ namespace, secret }) => `apiVersion: v1
kind: Secret
metadata: {name: ${secret}, namespace: ${namespace}}
stringData: {username: sallyport, password: ${PASSWORD}}
`,
  );
  return written.join('---\n');
}

export async function startExample(options: ExampleOptions): Promise<Example> {
  await using opening = new AsyncDisposableStack();
  const folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-example-'));
  opening.defer(() => rm(folder, { recursive: true, force: true }));
  const resources = path.join(folder, 'resources');
  const state = options.state ?? path.join(folder, 'state');
  await mkdir(resources, { mode: 0o700 });

  let all = options.besides ?? '';
  const replaced = new Set<string>();
  for (const file of options.files) {
    let text = await exampleText(file, options.server);
    for (const [from, to] of options.replace ?? []) {
      if (text.includes(from)) replaced.add(from);
      text = text.replaceAll(from, to);
    }
    all += `\n---\n${text}`;
    await writeFile(path.join(resources, path.basename(file)), text);
  }
  for (const from of options.replace?.keys() ?? [])
    if (!replaced.has(from)) throw new Error(`no example here says ${from}`);
  const connections = connectionsOf(all);
  await writeFile(path.join(resources, 'secrets.yaml'), secrets(connections.values()), { mode: 0o600 });
  if (options.besides !== undefined) await writeFile(path.join(resources, 'besides.yaml'), options.besides);
  const parameters: string[] = [];
  if (options.configuration !== undefined) {
    const file = path.join(folder, 'sallyport.yaml');
    const head = 'apiVersion: sallyport.dev/v1alpha1\nkind: SallyportConfiguration\n';
    await writeFile(file, head + options.configuration);
    parameters.push('-c', file);
  }
  const endpoint = (name: string): { port: number; database: string } => {
    const { namespace, database } = connections.get(name) ?? { namespace: 'default', database: '' };
    return { port: gateway.connection(name, namespace).port, database };
  };
  const gateway = opening.use(
    await startSallyport({
      resources: [resources],
      state,
      parameters,
      listen: [...connections].map(([name, { namespace }]) => `${namespace}/${name}=127.0.0.1:0`),
      // Where OpenSSL's programs look for the system's authorities.
      environment: options.trustsServer === false ? {} : { SSL_CERT_FILE: options.server.tls?.caPath },
    }),
  );

  const tokens = new Map<string, Promise<string>>();
  function tokenOf(caller: Caller): Promise<string> {
    const key = JSON.stringify(caller);
    const { as: subject, groups = [], claims = {} } = caller;
    const token = tokens.get(key) ?? createToken(state, { subject, groups, claims });
    tokens.set(key, token);
    return token;
  }

  async function run(
    program: 'psql' | 'pg_dump',
    connection: string,
    caller: Caller,
    parameters: readonly string[],
  ): Promise<ProgramResult> {
    const { port, database } = endpoint(connection);
    const environment = {
      ...process.env,
      ...{ PGHOST: '127.0.0.1', PGPORT: String(port), PGUSER: 'agent', PGDATABASE: database },
      ...{ PGPASSWORD: await tokenOf(caller), PGSSLMODE: 'disable' },
    };
    return new Promise((resolve) => {
      execFile(clientProgram(program), parameters, { env: environment }, (error, stdout, stderr) => {
        resolve({ status: error === null ? 0 : Number(error.code), stdout, stderr });
      });
    });
  }

  const clients: pg.Client[] = [];
  opening.defer(async () => {
    for (const client of clients) await client.end();
  });
  const owned = opening.move();
  return {
    gateway,
    state,
    async open(connection, caller) {
      const password = 'token' in caller ? caller.token : await tokenOf(caller);
      const { port, database } = endpoint(connection);
      const client = new pg.Client({
        ...{ host: '127.0.0.1', port, user: 'agent', database, password },
      });
      // A session that Sallyport ends is what some tests wait for, on the same event.
      client.on('error', () => clients.splice(clients.indexOf(client), 1));
      await client.connect();
      clients.push(client);
      return client;
    },
    psql: (connection, caller, sql) => run('psql', connection, caller, ['-XAt', '-c', sql]),
    pgDump: (connection, caller, parameters) => run('pg_dump', connection, caller, parameters),
    async add(file) {
      let known = gateway.output().split('"event":"reload"').length - 1;
      const reloaded = gateway.event((event: GatewayEvent) => event.event === 'reload' && known-- === 0);
      await writeFile(path.join(resources, file), await exampleText(file, options.server));
      const { changed, findings } = await reloaded;
      if (changed !== true) throw new Error(`${file} did not come into force: ${JSON.stringify(findings)}`);
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** The error of a statement that must not pass. @throws when it passes */
export async function refusal(client: pg.Client, sql: string, values: unknown[] = []): Promise<pg.DatabaseError> {
  try {
    await client.query(sql, values);
  } catch (error) {
    if (error instanceof pg.DatabaseError) return error;
    throw error;
  }
  throw new Error(`this passed: ${sql}`);
}
