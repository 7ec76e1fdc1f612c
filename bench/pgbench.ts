import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { clientProgram } from '../test/support/server-binaries.ts';
import type { Peer } from './peers.ts';

const run = promisify(execFile);

export interface PgbenchLoad {
  readonly mode: 'simple' | 'extended' | 'prepared';
  readonly clients: number;
  readonly seconds: number;
  /** `select-only` and `tpcb-like` are pgbench's own; anything else is the path of a script. */
  readonly script: string;
  readonly tls?: boolean;
  /** A connection for every transaction. */
  readonly reconnect?: boolean;
}

export interface PgbenchResult {
  readonly transactionsPerSecond: number;
  readonly transactions: number;
  readonly latencyMicroseconds: number;
}

export function pgbenchEnvironment(peer: Peer, tls = false): NodeJS.ProcessEnv {
  return {
    ...process.env,
    PGHOST: peer.host,
    PGPORT: String(peer.port),
    PGUSER: peer.user,
    PGPASSWORD: peer.password,
    PGDATABASE: peer.database,
    PGSSLMODE: tls ? 'require' : 'disable',
    PGGSSENCMODE: 'disable',
  };
}

function field(output: string, pattern: RegExp): number {
  const found = pattern.exec(output)?.[1];
  if (found === undefined) throw new Error(`pgbench printed no ${pattern.source}:\n${output}`);
  return Number(found);
}

/** @throws with pgbench's own output when it fails, or when a transaction failed: a refusal must not count as speed */
export async function pgbench(peer: Peer, load: PgbenchLoad): Promise<PgbenchResult> {
  const builtin = load.script === 'select-only' || load.script === 'tpcb-like';
  const parameters = [
    ...['-n', '-M', load.mode, '-c', String(load.clients), '-j', String(Math.min(load.clients, 2))],
    ...['-T', String(load.seconds), builtin ? '-b' : '-f', load.script],
    ...(load.reconnect === true ? ['-C'] : []),
  ];
  const { stdout, stderr } = await run(clientProgram('pgbench'), parameters, {
    env: pgbenchEnvironment(peer, load.tls),
  });
  if (/aborted|ERROR|FATAL/.test(stderr)) throw new Error(`pgbench against ${peer.name}: ${stderr}`);
  return {
    transactionsPerSecond: field(stdout, /^tps = ([0-9.]+)/m),
    transactions: field(stdout, /number of transactions actually processed: (\d+)/),
    latencyMicroseconds: field(stdout, /latency average = ([0-9.]+) ms/) * 1000,
  };
}
