import type { WebTuple } from '../command.ts';
import { listed } from '../ssh/words.ts';
import type { HttpSpec } from './match.ts';

/** What a tuple is, in the words of a denial. */
export function httpTupleWords(tuple: WebTuple): string {
  switch (tuple.type) {
    case 'http':
      return `${tuple.method} ${tuple.path}`;
    case 'mcp':
      if (tuple.method === '') return `MCP (${tuple.httpMethod}) at ${tuple.path}`;
      return `${tuple.method}${tuple.tool === '' ? '' : ` of ${tuple.tool}`} at ${tuple.path}`;
    default:
      return tuple satisfies never;
  }
}

/** Why no Allow rule covers it, where its words alone do not say so. */
export function httpUncoveredAdvice(tuple: WebTuple): string | undefined {
  if (tuple.type !== 'mcp') return undefined;
  const what = tuple.tool === '' ? 'this message' : 'this tool';
  return `Only a rule whose mcp names ${what} covers it; one about methods and paths alone does not.`;
}

/** What an Allow rule grants: `GET of /v1/charges/**`. */
export function httpGrantWords({ methods = [], paths, mcp }: HttpSpec): string {
  const where = paths === undefined ? '' : ` ${mcp === undefined ? 'of' : 'at'} ${listed(paths)}`;
  if (mcp === undefined) return `${listed(methods)}${where}`;
  return `${listed(mcp.methods ?? [])}${mcp.tools === undefined ? '' : ` of ${listed(mcp.tools)}`}${where}`;
}
