import type { CompiledConnection } from '../../policy/bundle.ts';

/** First ports that are given to connections nobody configured an address for: above the usual port of the protocol. */
const FIRST_PORTS: Readonly<Partial<Record<CompiledConnection['protocol'], number>>> = {
  SSH: 10_022,
  HTTP: 10_443,
  Kubernetes: 16_443,
};
const FIRST_PORT = 15_432;

/**
 * Where each connection is listened on: as configured, else on loopback, on ports counted up from 15432 (SSH: 10022, HTTP: 10443, Kubernetes: 16443) in order of
 * namespace and name, so that the same folder gets the same ports again.
 */
export function addressBook(
  configured: ReadonlyMap<string, { readonly host: string; readonly port: number }>,
): (connection: CompiledConnection) => { host: string; port: number } {
  const given = new Map<string, { host: string; port: number }>();
  return (connection) => {
    const key = `${connection.namespace}/${connection.name}`;
    const known = configured.get(key) ?? given.get(key);
    if (known !== undefined) return { ...known };
    const taken = new Set([...configured.values(), ...given.values()].map(({ port }) => port));
    let port = FIRST_PORTS[connection.protocol] ?? FIRST_PORT;
    while (taken.has(port)) port++;
    const address = { host: '127.0.0.1', port };
    given.set(key, address);
    return address;
  };
}
