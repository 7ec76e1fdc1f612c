import { isIP } from 'node:net';
import type { AccessConnection } from '../../api/resources.ts';
import { sleep } from '../../kube/backoff.ts';
import { ENDPOINT_SLICES } from '../../kube/builtin.ts';
import type { KubeClient, Log, Reflector, ResourceType } from '../../kube/types.ts';
import type { EndpointSlice, Stored, Targets } from '../context.ts';
import { serviceOf } from './in-cluster.ts';

export interface TargetsOptions {
  readonly client: KubeClient;
  readonly connections: Reflector<Stored<AccessConnection>>;
  /** Addresses of a name, as the operator's resolver knows them; none when there is no such name. @throws when that is not known */
  readonly lookup: (host: string) => Promise<readonly string[]>;
  readonly log: Log;
  /** Milliseconds between two rounds. */
  readonly everyMs?: number;
}

const EVERY_MS = 30_000;
const AT_ONCE = 16;
const SLICES = ENDPOINT_SLICES as unknown as ResourceType<EndpointSlice>;

const key = (host: string, namespace: string): string => `${namespace}/${host}`;

/**
 * NetworkPolicies know no names: this asks again and again which addresses the targets without `target.addresses` have. Behind a
 * Service the pods' addresses count too, since most engines look after the Service's address was replaced. What cannot be resolved
 * now keeps its last answer.
 */
export function createTargets(options: TargetsOptions): Targets {
  const { client, connections, lookup, log } = options;
  const known = new Map<string, readonly string[]>();
  const listeners = new Set<() => void>();

  async function resolve(host: string, namespace: string, signal: AbortSignal): Promise<readonly string[]> {
    if (isIP(host) !== 0) return [host];
    const service = serviceOf(host, namespace);
    const names = new Set([host]);
    if (service !== undefined) names.add(`${service.name}.${service.namespace}.svc`);
    const found = await Promise.all([...names].map(lookup));
    const slices =
      service === undefined
        ? []
        : (
            await client.listAll(SLICES, {
              namespace: service.namespace,
              labelSelector: `kubernetes.io/service-name=${service.name}`,
              signal,
            })
          ).items;
    const endpoints = slices.flatMap((slice) => (slice.endpoints ?? []).flatMap(({ addresses }) => addresses));
    return [...new Set([...found.flat(), ...endpoints])].filter((address) => isIP(address) !== 0).sort();
  }

  function wanted(): Map<string, { readonly host: string; readonly namespace: string }> {
    return new Map(
      connections
        .list()
        .filter(({ spec }) => spec.target.addresses === undefined)
        .map(({ metadata, spec }) => [
          key(spec.target.host, metadata.namespace),
          { host: spec.target.host, namespace: metadata.namespace },
        ]),
    );
  }

  async function round(signal: AbortSignal): Promise<void> {
    const targets = wanted();
    let changed = false;
    for (const id of known.keys()) if (!targets.has(id)) known.delete(id);
    const queue = [...targets];
    const worker = async (): Promise<void> => {
      for (let next = queue.pop(); next !== undefined && !signal.aborted; next = queue.pop()) {
        const [id, { host, namespace }] = next;
        try {
          const addresses = await resolve(host, namespace, signal);
          if (addresses.length === 0 || JSON.stringify(known.get(id)) === JSON.stringify(addresses)) continue;
          known.set(id, addresses);
          changed = true;
        } catch (error) {
          if (!signal.aborted) log.debug({ host, namespace, err: error }, 'a target cannot be resolved now');
        }
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    if (changed) for (const listener of [...listeners]) listener();
  }

  return {
    ranges: (host, namespace) => known.get(key(host, namespace)),
    onChange(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    async run(signal) {
      let wake = new AbortController();
      const end = connections.onChange((change) => {
        if (change.type === 'deleted') return;
        const { metadata, spec } = change.object;
        if (spec.target.addresses === undefined && !known.has(key(spec.target.host, metadata.namespace))) wake.abort();
      });
      while (!signal.aborted) {
        wake = new AbortController();
        await round(signal);
        await sleep(options.everyMs ?? EVERY_MS, AbortSignal.any([signal, wake.signal]));
      }
      end();
    },
  };
}
