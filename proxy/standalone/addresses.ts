import type { CompiledConnection } from '../../policy/bundle.ts';

/** First port that is given to connections nobody configured an address for: PostgreSQL's own with a 1 in front. */
const FIRST_PORT = 15_432;

/**
 * Where each connection is listened on: as configured, else on loopback, on ports counted up from 15432 in order of namespace and
 * name, so that the same folder gets the same ports again.
 */
export function addressBook(
  configured: ReadonlyMap<string, { readonly host: string; readonly port: number }>,
): (connection: CompiledConnection) => { host: string; port: number } {
  const given = new Map<string, { host: string; port: number }>();
  let next = FIRST_PORT;
  return (connection) => {
    const key = `${connection.namespace}/${connection.name}`;
    const known = configured.get(key) ?? given.get(key);
    if (known !== undefined) return { ...known };
    const taken = new Set([...configured.values(), ...given.values()].map(({ port }) => port));
    while (taken.has(next)) next++;
    const address = { host: '127.0.0.1', port: next };
    given.set(key, address);
    return address;
  };
}
