import type { CompiledConnection, PolicyScope } from '../../../policy/bundle.ts';
import type { HttpCommand, HttpFacts } from '../../../policy/command.ts';
import { judgeBody, mediaType } from './body.ts';
import { HttpRefused } from './core/errors.ts';
import { eachField, field } from './core/headers.ts';
import type { Exchange, RequestHead } from './core/port.ts';
import { laneError } from './errors.ts';
import type { AskedRequest } from './port.ts';

/** `host[:port]` of the target: without the port where it is the scheme's own. */
export function targetHost({ target }: CompiledConnection): string {
  const host = target.host.includes(':') ? `[${target.host}]` : target.host.toLowerCase();
  const own = target.tls.mode === 'Disable' ? 80 : 443;
  return target.port === own ? host : `${host}:${target.port}`;
}

/** `https://HOST[:PORT]`. */
export const targetOrigin = (connection: CompiledConnection): string =>
  `${connection.target.tls.mode === 'Disable' ? 'http' : 'https'}://${targetHost(connection)}`;

/**
 * What a request means to policy: method, host and path of the target, whatever name the client had for it, and the body where a rule of
 * this scope looks at bodies.
 * @throws HttpRefused SPE012, SPE105; the signal's reason
 */
export async function understand(exchange: Exchange): Promise<AskedRequest> {
  const { head, session } = exchange;
  if (!head.hasBody || !needsBody(session.scope))
    return { command: commandOf(session.connection, head), body: undefined };
  const body = await exchange.readBody(session.connection.http.maxBodyBytes);
  const judged = judgeBody(body, {
    contentType: field(head.headers, 'content-type'),
    contentEncoding: field(head.headers, 'content-encoding'),
  });
  if (judged.kind === 'refused') throw new HttpRefused(laneError('SPE105', judged.why));
  const json = judged.kind === 'json' ? { body: judged.value } : {};
  return { command: commandOf(session.connection, head, json), body };
}

/** Whether some rule for this subject looks at bodies: then they are read before anything is decided. */
export const needsBody = (scope: PolicyScope): boolean => scope.needs.body;

/** @param more such as the body, where it was read */
export function commandOf(
  connection: CompiledConnection,
  head: RequestHead,
  more: Pick<HttpFacts, 'body' | 'mcp'> = {},
): HttpCommand {
  const { method, path, target } = head;
  const host = targetHost(connection);
  const facts: HttpFacts = {
    method,
    host,
    path,
    query: queryOf(head),
    headers: headersOf(head),
    contentType: mediaType(field(head.headers, 'content-type')).type,
    ...more,
  };
  return {
    protocol: 'HTTP',
    text: `${method} ${targetOrigin(connection)}${target}`,
    statements: [facts],
    tuples: [{ type: 'http', statement: 0, method, host, path }],
  };
}

function queryOf({ query }: RequestHead): Readonly<Record<string, readonly string[]>> {
  if (query.length === 0) return {};
  const values = new Map<string, string[]>();
  for (const [name, value] of query) {
    const known = values.get(name);
    if (known === undefined) values.set(name, [value]);
    else known.push(value);
  }
  return Object.fromEntries(values);
}

function headersOf({ headers }: RequestHead): Readonly<Record<string, string>> {
  const values = new Map<string, string>();
  for (const [name, value] of eachField(headers)) {
    if (name === 'cookie') continue;
    const known = values.get(name);
    values.set(name, known === undefined ? value : `${known}, ${value}`);
  }
  return Object.fromEntries(values);
}
