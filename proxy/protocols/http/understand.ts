import type { CompiledConnection, PolicyScope } from '../../../policy/bundle.ts';
import type { HttpCommand, HttpFacts } from '../../../policy/command.ts';
import { judgeBody, mediaType } from './body.ts';
import { HttpRefused } from './core/errors.ts';
import { eachField, field } from './core/headers.ts';
import type { Exchange, RequestHead } from './core/port.ts';
import { laneError } from './errors.ts';
import type { AskedRequest } from './port.ts';

/** How requests to the target of a connection are named. */
interface Named {
  readonly host: string;
  readonly origin: string;
}

const named = new WeakMap<CompiledConnection, Named>();

function namesOf(connection: CompiledConnection): Named {
  const known = named.get(connection);
  if (known !== undefined) return known;
  const { target } = connection;
  const bare = target.host.includes(':') ? `[${target.host}]` : target.host.toLowerCase();
  const plain = target.tls.mode === 'Disable';
  const host = target.port === (plain ? 80 : 443) ? bare : `${bare}:${target.port}`;
  const made = { host, origin: `${plain ? 'http' : 'https'}://${host}` };
  named.set(connection, made);
  return made;
}

/** `host[:port]` of the target: without the port where it is the scheme's own. */
export const targetHost = (connection: CompiledConnection): string => namesOf(connection).host;

/** `https://HOST[:PORT]`. */
export const targetOrigin = (connection: CompiledConnection): string => namesOf(connection).origin;

/**
 * What a request means to policy: method, host and path of the target, whatever name the client had for it, and the body where a rule of
 * this scope looks at bodies.
 * @throws HttpRefused SPE012, SPE105; the signal's reason
 */
export function understand(exchange: Exchange): AskedRequest | Promise<AskedRequest> {
  const { head, session } = exchange;
  if (!head.hasBody || !needsBody(session.scope)) return new PlainRequest(session.connection, head);
  return withBody(exchange);
}

async function withBody(exchange: Exchange): Promise<AskedRequest> {
  const { head, session } = exchange;
  const { connection } = session;
  const body = await exchange.readBody(connection.http.maxBodyBytes);
  const judged = judgeBody(body, {
    contentType: field(head.headers, 'content-type'),
    contentEncoding: field(head.headers, 'content-encoding'),
  });
  if (judged.kind === 'refused') throw new HttpRefused(laneError('SPE105', judged.why));
  return new PlainRequest(connection, head, body, judged.kind === 'json' ? { body: judged.value } : undefined);
}

type More = Pick<HttpFacts, 'body' | 'mcp'>;

/** In no dialect. A class for the sake of speed: most requests are decided on by their text, and need no command. */
class PlainRequest implements AskedRequest {
  readonly text: string;
  readonly body: Buffer | undefined;
  readonly #connection: CompiledConnection;
  readonly #head: RequestHead;
  readonly #more: More | undefined;
  #command: HttpCommand | undefined;

  constructor(connection: CompiledConnection, head: RequestHead, body?: Buffer, more?: More) {
    this.text = textOf(connection, head);
    this.body = body;
    this.#connection = connection;
    this.#head = head;
    this.#more = more;
  }

  get command(): HttpCommand {
    this.#command ??= commandOf(this.#connection, this.#head, this.#more);
    return this.#command;
  }
}

/** Method and URL at the target: says all of a request but its fields and its body. */
export const textOf = (connection: CompiledConnection, { method, target }: RequestHead): string =>
  `${method} ${targetOrigin(connection)}${target}`;

/** Whether some rule for this subject looks at bodies: then they are read before anything is decided. */
export const needsBody = (scope: PolicyScope): boolean => scope.needs.body;

/** @param more such as the body, where it was read */
export function commandOf(connection: CompiledConnection, head: RequestHead, more: More = {}): HttpCommand {
  const { method } = head;
  const host = targetHost(connection);
  // A copy: what is cut out of a head would keep all of it for as long as the decision is remembered.
  const path = Buffer.from(head.path, 'utf8').toString('utf8');
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
    text: textOf(connection, head),
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
