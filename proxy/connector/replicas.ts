import { ConnectorError, reasonOf } from './errors.ts';

/** Addresses of the replicas of one proxy, in the order in which to try them. */
export interface Replicas {
  /** The one that is kept to comes first. @throws ConnectorError SPN004 when none is known */
  inOrder(): Promise<readonly string[]>;
  /** As `inOrder`, by what DNS says now. */
  afresh(): Promise<readonly string[]>;
  /** New connections go there from now on. */
  keepTo(address: string): void;
  /** It failed or is about to stop: new connections go elsewhere while there is an elsewhere. */
  avoid(address: string): void;
}

export interface ReplicasOptions {
  /** Name of the headless Service. */
  readonly name: string;
  /** All addresses of a name; as every program of the pod would find them. */
  readonly lookup: (name: string) => Promise<readonly string[]>;
  /** 0 ≤ random < 1: connectors spread over the replicas. */
  readonly random: () => number;
  /** Milliseconds. */
  readonly now: () => number;
}

const FRESH_MS = 5000;
const AVOID_MS = 15_000;

export function createReplicas({ name, lookup, random, now }: ReplicasOptions): Replicas {
  let known: readonly string[] = [];
  let askedAt = Number.NEGATIVE_INFINITY;
  let asking: Promise<void> | undefined;
  let kept: string | undefined;
  const avoided = new Map<string, number>();

  async function ask(): Promise<void> {
    try {
      const found = await lookup(name);
      if (found.length === 0) throw new Error('the name has no address');
      known = found;
      askedAt = now();
    } catch (error) {
      // DNS may be away for longer than the proxies are.
      if (known.length === 0) throw new ConnectorError('SPN004', [name, reasonOf(error)], error);
    } finally {
      asking = undefined;
    }
  }

  function shuffled(addresses: readonly string[]): string[] {
    return addresses
      .map((address) => ({ address, at: random() }))
      .sort((a, b) => a.at - b.at)
      .map(({ address }) => address);
  }

  async function inOrder(): Promise<readonly string[]> {
    if (now() - askedAt >= FRESH_MS) {
      asking ??= ask();
      await asking;
    }
    const at = now();
    for (const [address, since] of avoided) if (at - since >= AVOID_MS) avoided.delete(address);
    const rank = (address: string): number => (avoided.has(address) ? 2 : address === kept ? 0 : 1);
    return shuffled(known).sort((a, b) => rank(a) - rank(b));
  }

  return {
    inOrder,
    afresh() {
      askedAt = Number.NEGATIVE_INFINITY;
      return inOrder();
    },
    keepTo(address) {
      kept = address;
      avoided.delete(address);
    },
    avoid(address) {
      if (kept === address) kept = undefined;
      avoided.set(address, now());
      // It may be gone from the Service already.
      askedAt = Number.NEGATIVE_INFINITY;
    },
  };
}
