/**
 * What short-lived credentials cost. The same steps are timed by plain clients of the server, through Sallyport with a fixed secret, and
 * through Sallyport with a login made for each session or each statement.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import pg from 'pg';
import { scramKeys, scramVerifier } from '../proxy/protocols/postgres/scram.ts';
import { startPostgres } from '../test/support/postgres.ts';
import { createToken, startSallyport } from '../test/support/sallyport.ts';

const WARM_UP = 20;
const PASSWORD = 'bench-password';
const SQL = 'SELECT total FROM orders WHERE id = 7';

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

interface Way {
  readonly name: string;
  readonly run: () => Promise<number>;
}

/** Medians of each way, measured in turns so that a busy moment falls on all. */
async function measure(ways: readonly Way[], rounds: number): Promise<Map<string, number>> {
  const samples = new Map(ways.map(({ name }) => [name, [] as number[]]));
  for (let round = -WARM_UP; round < rounds; round++) {
    for (const { name, run } of round % 2 === 0 ? ways : [...ways].reverse()) {
      const took = await run();
      if (round >= 0) samples.get(name)?.push(took);
    }
  }
  return new Map([...samples].map(([name, values]) => [name, median(values)]));
}

const resources = (port: number): string => {
  const connection = (name: string, credential: string): string => `apiVersion: sallyport.dev/v1alpha1
kind: AccessConnection
metadata: {name: ${name}}
spec:
  protocol: Postgres
  target: {host: 127.0.0.1, port: ${port}, database: app, tls: {mode: Disable}}
  credential: {${credential}}
---
`;
  return `${connection('fixed', 'secretRef: {name: admin}')}${connection(
    'session',
    'postgresRole: {adminSecretRef: {name: admin}, grantsFromPolicy: true}',
  )}${connection('statement', 'postgresRole: {adminSecretRef: {name: admin}, grantsFromPolicy: true, scope: Statement}')}apiVersion: v1
kind: Secret
metadata: {name: admin}
stringData: {username: owner, password: ${PASSWORD}}
---
apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: bench}
spec:
  connections: {all: true}
  subjects: [{serviceAccount: {name: bench}}]
  rules:
    - name: read
      effect: Allow
      sql: {statements: [Read], relations: ["public.*"]}
`;
};

export interface CredentialCosts {
  readonly rounds: number;
  /** Connecting and one statement, median in milliseconds, by way. */
  readonly sessions: Readonly<Record<string, number>>;
  /** One statement on an open session. */
  readonly statements: Readonly<Record<string, number>>;
}

const PLAIN = 'PostgreSQL, fixed password';
const BY_HAND = 'PostgreSQL, login made by hand';
const FIXED = 'Sallyport, fixed secret';
const SESSION = 'Sallyport, login per session';
const STATEMENT = 'Sallyport, login per statement';
const IN_TRANSACTION = 10;
const TRANSACTION = `${STATEMENT}, transaction of ${IN_TRANSACTION}, for each of these`;

/** On a server and a gateway of its own. */
export async function measureCredentials(rounds: number): Promise<CredentialCosts> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-bench-credentials-'));
  await using cleanup = new AsyncDisposableStack();
  cleanup.defer(() => rm(folder, { recursive: true, force: true }));
  const server = cleanup.use(
    await startPostgres({ version: 15, settings: { fsync: true, synchronous_commit: true, full_page_writes: true } }),
  );
  await server.sql(`CREATE ROLE owner LOGIN CREATEROLE PASSWORD '${PASSWORD}'`);
  await server.sql('CREATE DATABASE app OWNER owner');
  await server.sql(
    'GRANT ALL ON SCHEMA public TO owner; SET ROLE owner; CREATE TABLE orders AS SELECT n AS id, n * 10 AS total FROM generate_series(1, 100) n',
    undefined,
    'app',
  );
  await mkdir(path.join(folder, 'resources'), { mode: 0o700 });
  await writeFile(path.join(folder, 'resources', 'bench.yaml'), resources(server.port), { mode: 0o600 });
  const state = path.join(folder, 'state');
  const names = ['fixed', 'session', 'statement'] as const;
  const gateway = cleanup.use(
    await startSallyport({
      resources: [path.join(folder, 'resources')],
      state,
      // Ports of their own: all three have the same target.
      listen: names.map((name) => `default/${name}=127.0.0.1:0`),
    }),
  );
  const token = await createToken(state, { subject: 'system:serviceaccount:default:bench', ttl: '1h' });

  async function connected(config: pg.ClientConfig): Promise<pg.Client> {
    const client = new pg.Client({ host: '127.0.0.1', database: 'app', ...config });
    await client.connect();
    return client;
  }
  const through = (name: (typeof names)[number]): Promise<pg.Client> =>
    connected({ port: gateway.connection(name).port, user: 'agent', password: token });

  /** Connects, runs one statement; what is timed ends there, and the goodbye comes after it. */
  const session = (open: () => Promise<pg.Client>) => async (): Promise<number> => {
    let client: pg.Client | undefined;
    const took = await timed(async () => {
      client = await open();
      await client.query(SQL);
    });
    await client?.end();
    return took;
  };

  const admin = await connected({ port: server.port, user: 'owner', password: PASSWORD });
  cleanup.defer(() => admin.end());
  // As Sallyport's own connection has it: a role that a crash takes back is no harm.
  await admin.query('SET synchronous_commit TO off; CREATE ROLE rights; GRANT SELECT ON orders TO rights');

  /** The same SQL as Sallyport's, by hand, on a connection that is open already: what the server itself takes. Hashing is not its work, and is done before. */
  async function byHand(): Promise<number> {
    const login = `by_hand_${randomBytes(8).toString('hex')}`;
    const password = randomBytes(32).toString('base64url');
    const salt = randomBytes(16);
    const verifier = scramVerifier(await scramKeys(password, salt, 4096), salt, 4096);
    let client: pg.Client | undefined;
    const took = await timed(async () => {
      await admin.query(
        `CREATE ROLE ${login} LOGIN PASSWORD '${verifier}' VALID UNTIL '2100-01-01' CONNECTION LIMIT 1 IN ROLE rights; COMMENT ON ROLE ${login} IS 'bench'`,
      );
      client = await connected({ port: server.port, user: login, password });
      await client.query(SQL);
    });
    await client?.end();
    for (;;) {
      const { rows } = await admin.query('SELECT 1 FROM pg_stat_activity WHERE usename = $1', [login]);
      if (rows.length === 0) break;
    }
    await admin.query(`DROP ROLE ${login}`);
    return took;
  }

  const sessions = await measure(
    [
      { name: PLAIN, run: session(() => connected({ port: server.port, user: 'owner', password: PASSWORD })) },
      { name: BY_HAND, run: byHand },
      { name: FIXED, run: session(() => through('fixed')) },
      { name: SESSION, run: session(() => through('session')) },
    ],
    rounds,
  );
  const clients = await Promise.all([
    connected({ port: server.port, user: 'owner', password: PASSWORD }),
    ...names.map((name) => through(name)),
  ]);
  try {
    const labels = [PLAIN, FIXED, SESSION, STATEMENT];
    const statements = await measure(
      clients.map((client, at) => ({ name: labels[at] ?? '', run: () => timed(() => client.query(SQL)) })),
      rounds,
    );
    const [last] = clients.slice(-1);
    const transaction = async (): Promise<void> => {
      await last?.query('BEGIN');
      for (let i = 0; i < IN_TRANSACTION; i++) await last?.query(SQL);
      await last?.query('COMMIT');
    };
    const within = await measure(
      [{ name: TRANSACTION, run: async () => (await timed(transaction)) / IN_TRANSACTION }],
      Math.ceil(rounds / IN_TRANSACTION),
    );
    return {
      rounds,
      sessions: Object.fromEntries(sessions),
      statements: Object.fromEntries([...statements, ...within]),
    };
  } finally {
    for (const client of clients) await client.end();
  }
}

/** Milliseconds of connecting that a login of its own adds: what the server itself takes for it, and Sallyport in all. */
export function addedBy({ sessions }: CredentialCosts): { readonly server: number; readonly sallyport: number } {
  const value = (name: string): number => sessions[name] ?? Number.NaN;
  return { server: value(BY_HAND) - value(PLAIN), sallyport: value(SESSION) - value(FIXED) };
}
