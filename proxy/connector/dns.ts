import { Resolver } from 'node:dns/promises';

/** What of /etc/resolv.conf decides how a name is looked up (resolv.conf(5)). */
export interface ResolverSettings {
  readonly search: readonly string[];
  readonly ndots: number;
}

export function parseResolvConf(text: string): ResolverSettings {
  let search: readonly string[] = [];
  let ndots = 1;
  for (const line of text.split('\n')) {
    const [word = '', ...rest] = line.trim().split(/\s+/);
    // The last of several lines counts.
    if (word === 'search') search = rest.map((domain) => domain.replace(/\.$/, ''));
    if (word === 'options') {
      const wanted = rest.map((option) => /^ndots:(\d{1,2})$/.exec(option)?.[1]).find((value) => value !== undefined);
      if (wanted !== undefined) ndots = Math.min(15, Number(wanted));
    }
  }
  return { search, ndots };
}

/** Full names to ask for, in the order of the C library's resolver. */
export function candidates(host: string, { search, ndots }: ResolverSettings): string[] {
  const longer = search.map((domain) => `${host}.${domain}`);
  const dots = host.split('.').length - 1;
  return dots >= ndots ? [host, ...longer] : [...longer, host];
}

const ABSENT = new Set(['ENOTFOUND', 'ENODATA', 'ENONAME']);

/**
 * Addresses of a host by DNS alone: the pod's hosts file leads to the connector. Empty when no such name exists.
 * @throws Error when DNS does not answer
 */
export async function resolveByDns(host: string, settings: ResolverSettings, timeoutMs: number): Promise<string[]> {
  const resolver = new Resolver({ timeout: timeoutMs, tries: 2 });
  const ask = async (query: Promise<string[]>): Promise<string[]> => {
    try {
      return await query;
    } catch (error) {
      if (error instanceof Error && 'code' in error && ABSENT.has(String(error.code))) return [];
      throw error;
    }
  };
  for (const name of candidates(host, settings)) {
    const found = await Promise.all([ask(resolver.resolve4(name)), ask(resolver.resolve6(name))]);
    if (found.flat().length > 0) return found.flat();
  }
  return [];
}
