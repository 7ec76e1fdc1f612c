import { createHash } from 'node:crypto';

/** 127.77.0.1 … 127.77.255.254; without .0 and .255, which some tools take for a network and for everybody. */
const HOSTS_PER_BLOCK = 254;
const ADDRESSES = 256 * HOSTS_PER_BLOCK;

const addressOf = (index: number): string =>
  `127.77.${Math.floor(index / HOSTS_PER_BLOCK)}.${(index % HOSTS_PER_BLOCK) + 1}`;

/**
 * An address of its own for each host. It comes from a hash of the name, so that it is the same in every pod and after a restart; where
 * two names meet, the later in the alphabet takes the next that is free.
 */
export function loopbackAddresses(hosts: Iterable<string>): ReadonlyMap<string, string> {
  const names = [...new Set(hosts)].sort();
  if (names.length > ADDRESSES) throw new RangeError(`${names.length} hosts do not fit into 127.77.0.0/16`);
  const taken = new Set<number>();
  const addresses = new Map<string, string>();
  for (const name of names) {
    let index = createHash('sha256').update(name).digest().readUInt32BE(0) % ADDRESSES;
    while (taken.has(index)) index = (index + 1) % ADDRESSES;
    taken.add(index);
    addresses.set(name, addressOf(index));
  }
  return addresses;
}

/** Whether an address is one that `loopbackAddresses` could give. */
export const isConnectorAddress = (address: string): boolean => address.startsWith('127.77.');
