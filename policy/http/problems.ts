import { globsOverlap } from '../glob.ts';
import type { HttpMatcher, HttpSpec } from './match.ts';
import { urlPatternsMeet } from './path-pattern.ts';

/** An entry of `paths` that nothing can ever match, or that means less than it seems to. */
export interface OddPath {
  readonly index: number;
  readonly entry: string;
  readonly reason: string;
  /** Undefined: it matches nothing. */
  readonly means?: string;
}

export function oddPaths({ paths = [] }: HttpSpec): readonly OddPath[] {
  return [...paths.entries()].flatMap(([index, entry]): OddPath[] => {
    if (/%[0-9a-f]{2}/i.test(entry)) {
      return [{ index, entry, reason: 'paths are compared decoded: write the character itself' }];
    }
    const inside = entry.split('/').find((segment) => segment !== '**' && segment.includes('**'));
    if (inside === undefined) return [];
    const reason = `only a whole segment ** crosses segments, and in ${inside} it stays inside one`;
    return [{ index, entry, reason, means: entry.replaceAll(inside, inside.replace(/\*+/g, '*')) }];
  });
}

/**
 * Entries of an Allow rule without `mcp` that are endpoints of MCP on every connection, where it grants nothing.
 * @param spoken paths of MCP, of each connection
 */
export function endpointPaths(
  { paths = [], mcp }: HttpSpec,
  spoken: readonly (readonly string[])[],
): readonly OddPath[] {
  if (mcp !== undefined || spoken.length === 0) return [];
  const reason = 'messages of MCP there are granted by rules with mcp only';
  return [...paths.entries()].flatMap(([index, entry]) =>
    spoken.every((endpoints) => endpoints.includes(entry)) ? [{ index, entry, reason }] : [],
  );
}

/** Whether an Allow rule grants anything that the other rule could hit, by their lists alone. */
export function httpRulesMeet(rule: HttpMatcher, allow: HttpMatcher): boolean {
  if (rule.mcp !== undefined && allow.mcp === undefined) return false;
  const { methods, paths } = rule;
  if (paths !== undefined && allow.paths !== undefined) {
    const meet = paths.some((mine) => allow.paths?.some((theirs) => urlPatternsMeet(mine, theirs, globsOverlap)));
    if (!meet) return false;
  }
  if (allow.mcp !== undefined || methods === undefined || methods.has('*')) return true;
  return [...(allow.methods ?? [])].some(
    (method) =>
      method === '*' ||
      methods.has(method) ||
      (method === 'GET' && methods.has('HEAD')) ||
      (method === 'HEAD' && methods.has('GET')),
  );
}
