import { compileGlob, type Glob } from '../glob.ts';
import { usualAddress, usualSocket } from './same-address.ts';

/** Patterns of `ssh.destinations`: `host:port`, `[v6]:port` and `unix:/path`. */
export interface DestinationPattern {
  readonly text: string;
  /** Narrowly: as it is written. */
  grants(destination: string): boolean;
  /** In whatever form an address or a path is written. */
  hits(destination: string): boolean;
}

interface Parts {
  readonly unix: boolean;
  readonly host: string;
  readonly port: string;
}

/** The last colon parts host and port; a Unix socket has no port. */
function parts(text: string): Parts {
  if (text.startsWith('unix:')) return { unix: true, host: text.slice('unix:'.length), port: '' };
  const colon = text.lastIndexOf(':');
  return { unix: false, host: text.slice(0, colon).toLowerCase(), port: text.slice(colon + 1) };
}

const ADDRESS = /^[0-9.]+$/;

/** Compiles a pattern as the schema lets it pass. */
export function compileDestination(text: string): DestinationPattern {
  const pattern = parts(text);
  const host: Glob = compileGlob(pattern.host);
  const matches = (given: Parts, as: Glob, name: string): boolean => {
    if (given.unix !== pattern.unix || !as.matches(name)) return false;
    return given.unix || pattern.port === '*' || pattern.port === given.port;
  };
  const usual = pattern.unix ? usualSocket : usualAddress;
  const usualHost = host.exact ? compileGlob(usual(pattern.host)) : host;
  // 10.* is a network: it must not cover the host 10.example.com.
  const numeric = !pattern.unix && !host.any && /^[0-9.*]+$/.test(pattern.host);
  return {
    text,
    hits: (destination) => {
      const given = parts(destination);
      return matches(given, host, given.host) || matches(given, usualHost, usual(given.host));
    },
    grants: (destination) => {
      const given = parts(destination);
      if (!matches(given, host, given.host)) return false;
      if (given.unix) return host.exact || !/(^|\/)\.\.?(\/|$)/.test(given.host);
      return !numeric || ADDRESS.test(given.host);
    },
  };
}
