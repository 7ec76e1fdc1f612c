/** `make bench`: PostgreSQL, pgbouncer and Sallyport side by side on this machine. */
import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { type Postgres, startPostgres } from '../test/support/postgres.ts';
import { repositoryRoot } from '../test/support/sallyport.ts';
import { clientProgram, findProgram } from '../test/support/server-binaries.ts';
import { type CredentialCosts, measureCredentials } from './credentials.ts';
import { eventLoopDelay, measureIdleSessions, measureScenario, type ScenarioResult } from './measure.ts';
import { type BenchOptions, parseOptions, USAGE } from './options.ts';
import { type BenchServer, type Peer, startPeer } from './peers.ts';
import { type Machine, markdown, type Report } from './report.ts';
import { type ScriptFiles, scenarios } from './scenarios.ts';

const run = promisify(execFile);

/** As an installation would be: durable, and with room for the idle sessions. */
const SERVER_SETTINGS = {
  fsync: true,
  synchronous_commit: true,
  full_page_writes: true,
  max_connections: 1200,
  shared_buffers: '512MB',
  max_wal_size: '2GB',
};

const PEOPLE = `CREATE TABLE people AS
  SELECT id, 'Person ' || id AS name, 'person' || id || '@example.com' AS email, md5(id::text) AS note, id * 17 AS balance
  FROM generate_series(1, 100000) AS id;
  ANALYZE people`;

function progress(text: string): void {
  process.stderr.write(`bench: ${text}\n`);
}

async function prepare(server: Postgres, scale: number): Promise<{ username: string; password: string }> {
  const [username, password] = ['app', 'bench-password'];
  await server.sql(`CREATE ROLE ${username} LOGIN PASSWORD '${password}'`);
  await server.sql('CREATE DATABASE bench');
  await run(clientProgram('pgbench'), ['-i', '-q', '-s', String(scale)], {
    env: {
      ...process.env,
      PGHOST: server.host,
      PGPORT: String(server.port),
      PGUSER: server.user,
      PGPASSWORD: server.password,
      PGDATABASE: 'bench',
    },
  });
  await server.sql(PEOPLE, undefined, 'bench');
  await server.sql(`GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO ${username}`, undefined, 'bench');
  return { username, password };
}

async function writeScripts(folder: string): Promise<ScriptFiles> {
  const files = { rows100: path.join(folder, 'rows100.sql'), rows100k: path.join(folder, 'rows100k.sql') };
  await writeFile(files.rows100, 'SELECT id, name, email, note, balance FROM people LIMIT 100;\n');
  await writeFile(files.rows100k, 'SELECT id, name, email, note, balance FROM people;\n');
  return files;
}

async function version(program: string | undefined): Promise<string> {
  if (program === undefined) return 'not installed';
  const { stdout } = await run(program, ['--version']);
  return /\d+(\.\d+)+/.exec(stdout)?.[0] ?? 'unknown';
}

async function describeMachine(): Promise<Machine> {
  const cpus = os.cpus();
  const { stdout: commit } = await run('git', ['-C', repositoryRoot, 'rev-parse', '--short', 'HEAD']);
  return {
    cpu: cpus[0]?.model ?? 'unknown',
    cores: cpus.length,
    memoryGigabytes: os.totalmem() / 2 ** 30,
    kernel: os.release(),
    versions: {
      PostgreSQL: await version(clientProgram('pgbench')),
      pgbouncer: await version(findProgram('pgbouncer')),
      Node: process.versions.node,
      Sallyport: commit.trim(),
    },
    date: new Date().toISOString().slice(0, 10),
  };
}

async function measureAll(options: BenchOptions, bench: BenchServer, files: ScriptFiles): Promise<Report> {
  const failures: string[] = [];
  await using running = new AsyncDisposableStack();
  const peers: Peer[] = [];
  for (const name of options.peers) {
    try {
      peers.push(running.use(await startPeer(name, bench)));
    } catch (error) {
      failures.push(`${name} did not start: ${error instanceof Error ? error.message : String(error)}`);
      progress(failures.at(-1)!);
    }
  }
  const results: ScenarioResult[] = [];
  for (const scenario of scenarios(files)) {
    if (options.only === undefined ? options.quick && !scenario.quick : !options.only.test(scenario.name)) continue;
    progress(scenario.name);
    const result = await measureScenario(scenario, peers, options);
    for (const [name, { failure }] of Object.entries(result.peers)) {
      if (failure !== undefined) failures.push(`${name}, ${scenario.name}: ${failure}`);
    }
    results.push(result);
  }
  const delay: Record<string, string[]> = {};
  const idleBytes: Record<string, number> = {};
  for (const peer of peers) {
    delay[peer.name] = await eventLoopDelay(peer);
  }
  for (const name of options.peers) {
    if (name === 'postgres' || options.only?.test('idle sessions') === false) continue;
    progress(`${options.idleSessions} idle sessions, ${name}`);
    try {
      await using peer = await startPeer(name, bench);
      idleBytes[name] = await measureIdleSessions(peer, options.idleSessions);
    } catch (error) {
      failures.push(`${name}, idle sessions: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  const credentials =
    options.only?.test('credentials') === false ? undefined : await credentialCosts(options, failures);
  return {
    machine: await describeMachine(),
    rounds: options.rounds,
    seconds: options.seconds,
    scale: options.scale,
    scenarios: results,
    idleSessions: options.idleSessions,
    idleBytes,
    ...(credentials === undefined ? {} : { credentials }),
    eventLoopDelay: Object.fromEntries(Object.entries(delay).filter(([, lines]) => lines.length > 0)),
    failures,
  };
}

async function credentialCosts(options: BenchOptions, failures: string[]): Promise<CredentialCosts | undefined> {
  progress('credentials');
  try {
    return await measureCredentials(options.quick ? 30 : 200);
  } catch (error) {
    failures.push(`credentials: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
}

async function main(options: BenchOptions): Promise<void> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-bench-'));
  try {
    await chmod(folder, 0o755);
    progress('preparing the server');
    await using server = await startPostgres({ version: 15, tls: true, settings: SERVER_SETTINGS });
    const files = await writeScripts(folder);
    const account = await prepare(server, options.scale);
    const report = await measureAll(options, { server, authority: server.tls!.authority, ...account, folder }, files);
    const text = markdown(report);
    const results = path.join(repositoryRoot, 'bench', 'results');
    await mkdir(results, { recursive: true });
    await writeFile(path.join(results, 'latest.json'), `${JSON.stringify(report, null, 2)}\n`);
    await writeFile(path.join(results, 'latest.md'), text);
    if (options.publish) await writeFile(path.join(repositoryRoot, 'docs', 'benchmarks.md'), text);
    process.stdout.write(text);
    if (report.failures.length > 0) process.exitCode = 1;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

let options: BenchOptions | undefined;
try {
  options = parseOptions(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n${USAGE}\n`);
  process.exitCode = 2;
}
if (options !== undefined) await main(options);
