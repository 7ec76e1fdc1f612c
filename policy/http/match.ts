import type { AccessPolicy } from '../../api/resources.ts';
import type { HttpTuple, McpTuple, WebTuple } from '../command.ts';
import { compileGlob, type Glob } from '../glob.ts';
import { isStandardMethod } from './mcp.ts';
import { compileUrlPattern, grantsUrl, hitsUrl, type UrlPattern } from './path-pattern.ts';

export type HttpSpec = NonNullable<AccessPolicy['spec']['rules'][number]['http']>;

/** The lists of `http` in a rule. Undefined: any. */
export interface HttpMatcher {
  readonly methods: ReadonlySet<string> | undefined;
  readonly paths: readonly UrlPattern[] | undefined;
  /** Set: the rule is about messages of MCP, and nothing else. */
  readonly mcp: McpMatcher | undefined;
}

export interface McpMatcher {
  readonly methods: ReadonlySet<string> | undefined;
  readonly tools: readonly Glob[] | undefined;
}

export function compileHttp({ methods, paths, mcp }: HttpSpec): HttpMatcher {
  return {
    methods: methods && new Set(methods),
    paths: paths?.map(compileUrlPattern),
    mcp: mcp && { methods: mcp.methods && new Set(mcp.methods), tools: mcp.tools?.map(compileGlob) },
  };
}

/** What `*` in `methods` grants; others, such as TRACE and PROPFIND, are granted by nothing. */
const STANDARD_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);
const TOOL_CALL = 'tools/call';

/** Whether the lists of an Allow rule cover the whole tuple; what a list that is absent would mean, it does not grant. */
export function coversHttp(matcher: HttpMatcher, tuple: WebTuple): boolean {
  switch (tuple.type) {
    case 'http':
      return coversRequest(matcher, tuple);
    case 'mcp':
      return grantsMcpAt(matcher, tuple.path) && matcher.mcp !== undefined && coversMessage(matcher.mcp, tuple);
    default:
      return tuple satisfies never;
  }
}

/** A HEAD shows less than the GET that it stands for (RFC 9110, 9.3.2). */
function coversRequest({ methods, paths, mcp }: HttpMatcher, { method, path }: HttpTuple): boolean {
  if (mcp !== undefined || methods === undefined || paths === undefined || !STANDARD_METHODS.has(method)) return false;
  if (!methods.has('*') && !methods.has(method) && !(method === 'HEAD' && methods.has('GET'))) return false;
  return paths.some((pattern) => grantsUrl(pattern, path));
}

/** Whether the rule grants anything of MCP at the path. */
export function grantsMcpAt({ mcp, paths }: HttpMatcher, path: string): boolean {
  return mcp?.methods !== undefined && paths?.some((pattern) => grantsUrl(pattern, path)) !== false;
}

function coversMessage({ methods, tools }: McpMatcher, { method, tool }: McpTuple): boolean {
  if (methods?.has(method) !== true && !(methods?.has('*') === true && isStandardMethod(method))) return false;
  return method !== TOOL_CALL || tools?.some((glob) => glob.matches(tool)) === true;
}

/** Whether the lists of a Deny or RequireApproval rule hit the tuple. */
export function hitsHttp(matcher: HttpMatcher, tuple: WebTuple): boolean {
  const { paths, mcp } = matcher;
  if (paths?.some((pattern) => hitsUrl(pattern, tuple.path)) === false) return false;
  if (mcp === undefined) return hitsMethod(matcher, tuple.type === 'mcp' ? tuple.httpMethod : tuple.method);
  return tuple.type === 'mcp' && hitsMessage(mcp, tuple);
}

function hitsMethod({ methods }: HttpMatcher, method: string): boolean {
  return methods === undefined || methods.has('*') || methods.has(method) || (method === 'HEAD' && methods.has('GET'));
}

function hitsMessage({ methods, tools }: McpMatcher, { method, tool }: McpTuple): boolean {
  if (methods !== undefined && !methods.has('*') && !methods.has(method)) return false;
  return tools === undefined || (method === TOOL_CALL && tools.some((glob) => glob.matches(tool)));
}
