import type { AccessConnection, Resources } from '../../api/resources.ts';
import type { PolicyScope } from '../bundle.ts';
import type { HttpCommand, HttpFacts } from '../command.ts';
import type { HttpSpec } from '../http/match.ts';
import type { RuleSpec } from '../rule.ts';
import { connection, policy, scopeOf } from './build.ts';

/** Short ways to write rules and requests of HTTP in tests of the engine. */

export const HOST = 'api.example.com';

export function httpConnection(name = 'api', spec: Partial<AccessConnection['spec']> = {}): AccessConnection {
  const { spec: base, ...rest } = connection(name);
  const { credential: _, ...without } = base;
  return { ...rest, spec: { ...without, protocol: 'HTTP', target: { host: HOST, port: 443 }, ...spec } };
}

/** The scope of everybody on one HTTP connection. */
export function httpScope(rules: readonly RuleSpec[], resources: Partial<Resources> = {}): PolicyScope {
  return scopeOf({ connections: [httpConnection()], policies: [policy('p', rules)], ...resources }, undefined, 'api');
}

export const allowHttp = (http: HttpSpec, rest: Partial<RuleSpec> = {}): RuleSpec => ({
  name: 'allow',
  effect: 'Allow',
  http,
  ...rest,
});

export function sent(method: string, path: string, rest: Partial<HttpFacts> = {}): HttpCommand {
  const facts = { method, host: HOST, path, query: {}, headers: {}, contentType: '', ...rest };
  return {
    protocol: 'HTTP',
    text: `${method} https://${HOST}${path}`,
    statements: [facts],
    tuples: [{ type: 'http', method, host: HOST, path, statement: 0 }],
  };
}

/** One message of MCP. */
export function message(method: string, tool = '', args?: unknown, path = '/mcp', httpMethod = 'POST'): HttpCommand {
  const { statements } = sent(httpMethod, path);
  const mcp = { method, tool, ...(args === undefined ? {} : { arguments: args }) };
  return {
    protocol: 'HTTP',
    text: `${httpMethod} https://${HOST}${path}`,
    statements: statements.map((facts) => ({ ...facts, mcp })),
    tuples: [{ type: 'mcp', httpMethod, host: HOST, path, method, tool, statement: 0 }],
  };
}
