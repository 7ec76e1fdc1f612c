import type { CompiledConnection } from '../../../../policy/bundle.ts';
import type { HttpCommand } from '../../../../policy/command.ts';
import { judgeBody, mediaType } from '../body.ts';
import { HttpRefused } from '../core/errors.ts';
import { field } from '../core/headers.ts';
import type { Exchange, RequestHead } from '../core/port.ts';
import { laneError } from '../errors.ts';
import type { AskedRequest, Dialect, SpokenRequest } from '../port.ts';
import { commandOf } from '../understand.ts';
import { mcpError } from './errors.ts';
import { approvedText, isObject, type Message, messagesOf } from './messages.ts';
import { refusalOf } from './refusal.ts';
import { filterTools } from './tools.ts';

/**
 * The Model Context Protocol over HTTP: streamable HTTP of its revisions from 2025-03-26 on, and the two paths of the transport of
 * 2024-11-05 before it. Which paths speak it is declared by the connection.
 */
export const mcp: Dialect = {
  speaks: ({ http }, { path }) => http.mcpPaths.some((declared) => alike(declared) === alike(path)),
  understand,
};

/** Of a session and its protocol, not of what a message asks for. */
const INCIDENTAL: ReadonlySet<string> = new Set(['last-event-id', 'mcp-protocol-version', 'mcp-session-id']);
const METHODS: ReadonlySet<string> = new Set(['POST', 'GET', 'DELETE']);

/** Equal for paths that some servers take for one: those must not lead round the rules for messages. */
const alike = (path: string): string =>
  path
    .split('/')
    .map((segment) => segment.replace(/;.*$/, ''))
    .join('/')
    .replace(/\/+$/, '')
    .toLowerCase();

async function understand(exchange: Exchange): Promise<AskedRequest> {
  const { head, session } = exchange;
  const { connection } = session;
  const body = hasMessage(connection, head) ? await exchange.readBody(connection.http.maxBodyBytes) : undefined;
  return meaningOf(connection, head, body);
}

/**
 * Whether a request of the dialect has a body to be read.
 * @throws HttpRefused for what MCP does not know
 */
export function hasMessage({ http: { mcpPaths } }: CompiledConnection, head: RequestHead): boolean {
  if (!mcpPaths.includes(head.path)) throw new HttpRefused(mcpError('SPJ004', mcpPaths.join(', ')));
  if (!METHODS.has(head.method) || head.upgrade !== undefined)
    throw new HttpRefused(mcpError('SPJ002', head.upgrade ?? head.method, ['allow', 'GET, POST, DELETE']));
  if (head.method !== 'POST') {
    if (head.hasBody) throw new HttpRefused(mcpError('SPJ002', `${head.method} with a body`));
    return false;
  }
  const { type } = mediaType(field(head.headers, 'content-type'));
  if (type !== 'application/json')
    throw new HttpRefused(mcpError('SPJ003', type === '' ? 'nothing' : type.slice(0, 64)));
  return true;
}

/**
 * What a request of the dialect means.
 * @param body undefined where it has none (`hasMessage`)
 * @throws HttpRefused for a body that is no message
 */
export function meaningOf(connection: CompiledConnection, head: RequestHead, body: Buffer | undefined): AskedRequest {
  if (body === undefined) return spoken(connection, head, [], undefined, undefined);
  const judged = judgeBody(body, {
    contentType: field(head.headers, 'content-type'),
    contentEncoding: field(head.headers, 'content-encoding'),
  });
  if (judged.kind === 'refused') throw new HttpRefused(laneError('SPE105', judged.why));
  if (judged.kind !== 'json') throw new HttpRefused(mcpError('SPJ001', 'it is empty'));
  const messages = messagesOf(judged.value);
  agree(head, messages);
  return spoken(connection, head, messages, body, judged.value);
}

/** Servers may go by these fields (SEP-2243); what is decided on is the message. */
function agree({ headers }: RequestHead, messages: readonly Message[]): void {
  const [only] = messages;
  for (const [name, said] of [
    ['mcp-method', only?.method],
    ['mcp-name', only?.name],
  ] as const) {
    const value = field(headers, name);
    if (value !== undefined && (messages.length !== 1 || value !== said))
      throw new HttpRefused(mcpError('SPJ005', name));
  }
}

function spoken(
  connection: CompiledConnection,
  head: RequestHead,
  messages: readonly Message[],
  body: Buffer | undefined,
  value: unknown,
): AskedRequest {
  const command = commandFor(connection, head, messages, value);
  return {
    text: command.text,
    command,
    body,
    dialect: dialectOf(connection, head, messages, body),
  };
}

function dialectOf(
  { mode }: CompiledConnection,
  head: RequestHead,
  messages: readonly Message[],
  body: Buffer | undefined,
): SpokenRequest {
  return {
    refuse: (report, problem) => refusalOf(report, problem, messages),
    // What is observed is offered whole; a Deny rule is met when the tool is called. The end of a session is answered with no message.
    respond: (answer, scope) =>
      mode === 'Observe' || head.method === 'DELETE'
        ? undefined
        : filterTools(answer, (tool) => scope.offersTool(head.path, tool)),
    ...(body === undefined ? {} : { approved: Buffer.from(approvedText(body.toString('utf8'))) }),
    incidental: INCIDENTAL,
  };
}

/** One statement and one tuple for each message; none: for what HTTP itself asks for, the stream or the end of a session. */
function commandFor(
  connection: CompiledConnection,
  head: RequestHead,
  messages: readonly Message[],
  value: unknown,
): HttpCommand {
  const bodies = Array.isArray(value) ? (value as readonly unknown[]) : [value];
  const base = commandOf(connection, head);
  const [facts] = base.statements;
  if (facts === undefined) throw new Error('a request has one statement');
  const { host, path, method: httpMethod } = facts;
  const all = messages.length === 0 ? [{ method: '', tool: '' }] : messages;
  const words = messages.map(({ method, tool }) => (tool === '' ? method || 'answer' : `${method} ${tool}`));
  return {
    protocol: 'HTTP',
    text: [base.text, ...words].join(' '),
    statements: all.map(({ method, tool, ...message }, index) => ({
      ...facts,
      ...(isObject(bodies[index]) ? { body: bodies[index] } : {}),
      mcp: { method, tool, ...('arguments' in message ? { arguments: message.arguments } : {}) },
    })),
    tuples: all.map(({ method, tool }, statement) => ({
      type: 'mcp',
      statement,
      httpMethod,
      host,
      path,
      method,
      tool,
    })),
  };
}
