/** One server, and Sallyport before it: the ground of the lane's integration tests. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { allowEverythingYaml, connectionYaml, EVERYTHING } from './allow-everything.ts';
import { type Postgres, type PostgresOptions, startPostgres } from './postgres.ts';
import { createToken, type Gateway, type GatewayOptions, startSallyport } from './sallyport.ts';
import { WireClient, type WireClientOptions } from './wire-client.ts';

export interface LaneGroundOptions extends PostgresOptions {
  /** Runs as the superuser in database `app` before the gateway starts. */
  readonly schema?: string;
  /** YAML of each file in the resource folder besides those of the connections and `everything.yaml`. */
  readonly resources?: Readonly<Record<string, string>>;
  /** Connections besides `everything`, by name: what stands in their spec, such as `mode: Observe`. */
  readonly connections?: Readonly<Record<string, string>>;
  readonly gateway?: Partial<GatewayOptions>;
}

export interface LaneGround extends AsyncDisposable {
  readonly server: Postgres;
  readonly folder: string;
  readonly state: string;
  gateway: Gateway & AsyncDisposable;
  /** Resources as `sallyport run -f` got them. */
  readonly resources: string;
  /** Writes a file of the resource folder and waits until the gateway has said what it makes of it. */
  edit(file: string, yaml: string): Promise<{ readonly changed: boolean; readonly findings: readonly unknown[] }>;
  /** A token of the service account `default/NAME`. */
  token(name: string, ttl?: string): Promise<string>;
  port(connection?: string): number;
  /** Straight to the server. */
  direct(options?: Partial<WireClientOptions>): Promise<WireClient>;
  /** Through Sallyport, as `everything` on connection `everything` unless said otherwise. */
  through(connection?: string, account?: string, options?: Partial<WireClientOptions>): Promise<WireClient>;
  /** A gateway on the same folders, after the one before has ended. */
  restart(options?: Partial<GatewayOptions>): Promise<void>;
}

/** The server trusts whoever comes: how credentials are used is the subject of other tests. */
const TRUST = ['host all all 127.0.0.1/32 trust'];

export async function startLaneGround(options: LaneGroundOptions): Promise<LaneGround> {
  await using cleanup = new AsyncDisposableStack();
  const folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-lane-'));
  cleanup.defer(() => rm(folder, { recursive: true, force: true }));
  const server = cleanup.use(await startPostgres({ hba: TRUST, ...options }));
  await server.sql('CREATE DATABASE app');
  if (options.schema !== undefined) await server.sql(options.schema, undefined, 'app');
  const resources = path.join(folder, 'resources');
  const state = options.gateway?.state ?? path.join(folder, 'state');
  await mkdir(resources, { mode: 0o700 });
  const connections = { everything: '', ...options.connections };
  const names = Object.keys(connections);
  const target = { port: server.port, database: 'app', username: 'postgres', password: server.password };
  for (const [name, more] of Object.entries(connections)) {
    const yaml = connectionYaml(name, target).replace('spec:\n', `spec:\n${more === '' ? '' : `  ${more}\n`}`);
    await writeFile(path.join(resources, `connection-${name}.yaml`), yaml);
  }
  const everything = allowEverythingYaml().replace('connections: {all: true}', 'connections: {names: [everything]}');
  await writeFile(path.join(resources, 'everything.yaml'), everything);
  for (const [file, yaml] of Object.entries(options.resources ?? {})) await writeFile(path.join(resources, file), yaml);
  const start = (more: Partial<GatewayOptions> = {}): Promise<Gateway & AsyncDisposable> =>
    startSallyport({
      resources: [resources],
      state,
      listen: names.map((name) => `default/${name}=127.0.0.1:0`),
      ...options.gateway,
      ...more,
    });
  const tokens = new Map<string, Promise<string>>();
  const ground: LaneGround = {
    server,
    folder,
    state,
    resources,
    gateway: await start(),
    async edit(file, yaml) {
      const before = ground.gateway.output().split('"event":"reload"').length - 1;
      await writeFile(path.join(resources, file), yaml);
      let count = 0;
      const event = await ground.gateway.event((found) => found.event === 'reload' && ++count > before);
      return event as unknown as { changed: boolean; findings: readonly unknown[] };
    },
    token(name, ttl = '1h') {
      const key = `${name} ${ttl}`;
      let token = tokens.get(key);
      if (token === undefined) {
        token = createToken(state, { subject: `system:serviceaccount:default:${name}`, ttl });
        tokens.set(key, token);
      }
      return token;
    },
    port: (connection = 'everything') => ground.gateway.connection(connection).port,
    direct: (more = {}) => WireClient.connect({ port: server.port, database: 'app', ...more }),
    async through(connection = 'everything', account = EVERYTHING.split(':').at(-1)!, more = {}) {
      const password = await ground.token(account);
      return WireClient.connect({ port: ground.port(connection), database: 'app', password, ...more });
    },
    async restart(more) {
      await ground.gateway.stop('SIGKILL');
      ground.gateway = await start(more);
    },
    async [Symbol.asyncDispose]() {
      await ground.gateway[Symbol.asyncDispose]();
      await owned.disposeAsync();
    },
  };
  const owned = cleanup.move();
  return ground;
}
