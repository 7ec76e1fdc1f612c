import { parseArgs } from 'node:util';
import { DEFAULT_PEERS, PEER_NAMES, type PeerName } from './peers.ts';

export interface BenchOptions {
  readonly quick: boolean;
  readonly rounds: number;
  /** Of one run of one scenario against one peer. */
  readonly seconds: number;
  /** pgbench scale factor: 100,000 accounts each. */
  readonly scale: number;
  readonly idleSessions: number;
  readonly only: RegExp | undefined;
  readonly peers: readonly PeerName[];
  /** Writes docs/benchmarks.md. */
  readonly publish: boolean;
}

export const USAGE = `Usage: node bench/main.ts [--quick] [--rounds N] [--seconds N] [--only REGEX] [--peers A,B] [--publish]
  --quick     one short round of a few scenarios, for development
  --only      scenarios whose name matches
  --peers     of ${PEER_NAMES.join(', ')}; default the first ${DEFAULT_PEERS.length}
  --publish   also write docs/benchmarks.md`;

/** @throws TypeError for arguments that are not in USAGE */
export function parseOptions(parameters: readonly string[]): BenchOptions {
  const { values } = parseArgs({
    args: [...parameters],
    options: {
      quick: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      only: { type: 'string' },
      peers: { type: 'string' },
      publish: { type: 'boolean', default: false },
    },
  });
  const peers: readonly string[] = values.peers?.split(',') ?? DEFAULT_PEERS;
  for (const peer of peers) {
    if (!PEER_NAMES.some((name) => name === peer)) throw new TypeError(`there is no peer ${peer}`);
  }
  const number = (name: string, text: string | undefined, fallback: number): number => {
    const value = text === undefined ? fallback : Number(text);
    if (!Number.isInteger(value) || value < 1) throw new TypeError(`--${name} is a whole number from 1`);
    return value;
  };
  return {
    quick: values.quick,
    rounds: number('rounds', values.rounds, values.quick ? 1 : 5),
    seconds: number('seconds', values.seconds, values.quick ? 2 : 5),
    scale: values.quick ? 1 : 10,
    idleSessions: values.quick ? 300 : 1000,
    only: values.only === undefined ? undefined : new RegExp(values.only),
    peers: PEER_NAMES.filter((name) => peers.includes(name)),
    publish: values.publish,
  };
}
