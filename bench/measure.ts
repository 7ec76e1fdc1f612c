import { setTimeout } from 'node:timers/promises';
import pg from 'pg';
import type { Peer, PeerName } from './peers.ts';
import { pgbench } from './pgbench.ts';
import { cpuSeconds, memoryBytes } from './process-usage.ts';
import type { Scenario } from './scenarios.ts';

export interface Sample {
  readonly perSecond: number;
  readonly latencyMicroseconds: number;
  /** Of the processes between client and server, for one transaction; undefined for the server itself. */
  readonly cpuMicroseconds: number | undefined;
}

/** A peer that failed has no samples, and says why. */
export interface PeerResult {
  readonly samples: readonly Sample[];
  readonly failure: string | undefined;
}

export interface ScenarioResult {
  readonly scenario: Scenario;
  readonly peers: Partial<Record<PeerName, PeerResult>>;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length === 0) return Number.NaN;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

async function sample(peer: Peer, scenario: Scenario, seconds: number): Promise<Sample> {
  const before = peer.pid === undefined ? 0 : cpuSeconds(peer.pid);
  const result = await pgbench(peer, { ...scenario.load, seconds });
  const used = peer.pid === undefined ? undefined : cpuSeconds(peer.pid) - before;
  return {
    perSecond: result.transactionsPerSecond,
    latencyMicroseconds: result.latencyMicroseconds,
    cpuMicroseconds: used === undefined ? undefined : (used * 1e6) / result.transactions,
  };
}

/**
 * Rounds are interleaved, so that a machine that gets slower or faster in between does so for all. Every second round goes the
 * other way, so that nobody always comes after the same neighbour.
 */
export async function measureScenario(
  scenario: Scenario,
  peers: readonly Peer[],
  plan: { readonly rounds: number; readonly seconds: number },
): Promise<ScenarioResult> {
  const results = new Map<PeerName, { samples: Sample[]; failure: string | undefined }>();
  for (const peer of peers) results.set(peer.name, { samples: [], failure: undefined });
  for (let round = 0; round < plan.rounds; round += 1) {
    for (const peer of round % 2 === 0 ? peers : [...peers].reverse()) {
      const result = results.get(peer.name)!;
      if (result.failure !== undefined) continue;
      try {
        result.samples.push(await sample(peer, scenario, plan.seconds));
      } catch (error) {
        result.failure = error instanceof Error ? error.message : String(error);
        result.samples = [];
      }
    }
  }
  return { scenario, peers: Object.fromEntries(results) };
}

/** Sessions that have each done something. In small groups: what matters is sessions at rest, not a full accept queue. */
async function openSessions(peer: Peer, sessions: number, clients: pg.Client[]): Promise<void> {
  const { host, port, user, password, database } = peer;
  while (clients.length < sessions) {
    const group = Array.from(
      { length: Math.min(25, sessions - clients.length) },
      () => new pg.Client({ host, port, user, password, database }),
    );
    clients.push(...group);
    await Promise.all(group.map((client) => client.connect()));
    await Promise.all(group.map((client) => client.query('SELECT abalance FROM pgbench_accounts WHERE aid = 1')));
  }
}

const REST_PROBE_MS = 2000;
const REST_PROBES = 15;

/** V8 gives back what set-up needed once the process has been idle for some seconds: the least of half a minute at rest. */
async function memoryAtRest(pid: number): Promise<number> {
  let least = memoryBytes(pid);
  for (let probe = 0; probe < REST_PROBES; probe += 1) {
    await setTimeout(REST_PROBE_MS);
    least = Math.min(least, memoryBytes(pid));
  }
  return least;
}

/**
 * Bytes that one idle session costs in the processes between client and server. The peer must be freshly started: after a load its
 * heap has room for many sessions already. The first fifty bring what is needed once, such as compiled code, and are not counted.
 */
export async function measureIdleSessions(peer: Peer, sessions: number): Promise<number> {
  if (peer.pid === undefined) throw new Error('the server itself is not between client and server');
  const warmUp = 50;
  const clients: pg.Client[] = [];
  try {
    await openSessions(peer, warmUp, clients);
    const before = await memoryAtRest(peer.pid);
    await openSessions(peer, warmUp + sessions, clients);
    return ((await memoryAtRest(peer.pid)) - before) / sessions;
  } finally {
    await Promise.all(clients.map((client) => client.end()));
  }
}

/** The lines of /metrics that tell the event loop's delay. */
export async function eventLoopDelay(peer: Peer): Promise<string[]> {
  if (peer.metrics === undefined) return [];
  const response = await fetch(peer.metrics, { signal: AbortSignal.timeout(5000) });
  const text = await response.text();
  return text.split('\n').filter((line) => /^sallyport_event_loop/.test(line));
}
