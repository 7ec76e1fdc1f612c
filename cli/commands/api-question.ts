import type { CompiledConnection, PolicyScope } from '../../policy/bundle.ts';
import type { Command } from '../../policy/command.ts';
import { judgeBody } from '../../proxy/protocols/http/body.ts';
import { HttpRefused } from '../../proxy/protocols/http/core/errors.ts';
import { field } from '../../proxy/protocols/http/core/headers.ts';
import type { RequestHead } from '../../proxy/protocols/http/core/port.ts';
import { parseTarget } from '../../proxy/protocols/http/core/target.ts';
import { hasMessage, mcp, meaningOf } from '../../proxy/protocols/http/mcp/dialect.ts';
import { commandOf, targetHost } from '../../proxy/protocols/http/understand.ts';
import { understand } from '../../proxy/protocols/kubernetes/meaning/understand.ts';
import { parseRequestInfo } from '../../proxy/protocols/kubernetes/request/request-info.ts';
import { CliError } from '../errors.ts';

/** What is asked of a Kubernetes or an HTTP connection besides method and URL. */
export interface ApiQuestion {
  /** JSON, or the text of a body. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface ApiCommand {
  readonly command: Command;
  /** Only the target could say what becomes of it: the worst is assumed. */
  readonly worst: boolean;
}

/** `GET /v1/charges?limit=3`, or with a whole URL. */
const REQUEST = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+) +(?:https?:\/\/[^/ ]+)?(\/[^ ]*)$/;

interface Asked {
  readonly head: RequestHead;
  readonly body: Buffer;
  readonly contentType: string | undefined;
}

/**
 * The request that an agent would send, from the command line: `METHOD PATH` with a query, as `kubectl -v=8` prints it. It is read as the
 * gateway reads it.
 * @throws CliError SPC036 for what the gateway would refuse before it asks policy
 */
export function apiCommandOf(
  connection: CompiledConnection,
  text: string,
  question: ApiQuestion,
  scope: PolicyScope,
): ApiCommand {
  const asked = parse(connection, text, question);
  return connection.protocol === 'Kubernetes' ? kubernetes(asked) : http(connection, asked, scope);
}

const wrong = (reason: string): CliError =>
  new CliError('SPC036', [
    'the request',
    reason,
    'METHOD PATH, such as GET /v1/charges?limit=3 or GET /api/v1/namespaces/shop/pods,',
  ]);

function parse(connection: CompiledConnection, text: string, { body, headers = {} }: ApiQuestion): Asked {
  const [, method, target] = REQUEST.exec(text.trim()) ?? [];
  if (method === undefined || target === undefined) throw wrong(`${text === '' ? 'nothing' : text} is no METHOD PATH`);
  const parsed = parseTarget(target);
  if ('code' in parsed) throw wrong(parsed.message);
  const bytes = Buffer.from(body === undefined ? '' : typeof body === 'string' ? body : JSON.stringify(body));
  const fields = Object.entries(headers).flatMap(([name, value]) => [name.toLowerCase(), value]);
  const contentType =
    field(fields, 'content-type') ?? (bytes.length === 0 ? undefined : defaultType(connection, method));
  const { path, segments, query, target: encoded } = parsed;
  const host = targetHost(connection);
  return {
    body: bytes,
    contentType,
    head: {
      method,
      version: '1.1',
      scheme: 'https',
      authority: host,
      host,
      path,
      segments,
      query,
      target: encoded,
      headers: contentType === undefined ? fields : ['content-type', contentType, ...without(fields, 'content-type')],
      contentLength: bytes.length,
      hasBody: bytes.length > 0,
      upgrade: undefined,
    },
  };
}

const without = (fields: readonly string[], name: string): string[] =>
  fields.filter((_, index) => fields[index - (index % 2)] !== name);

/** As kubectl sends patches of fields, and everybody JSON. */
function defaultType({ protocol }: CompiledConnection, method: string): string {
  return protocol === 'Kubernetes' && method === 'PATCH' ? 'application/merge-patch+json' : 'application/json';
}

function kubernetes({ head, body, contentType }: Asked): ApiCommand {
  const info = parseRequestInfo(head);
  if ('refusal' in info) throw wrong(info.refusal);
  const meant = understand({ ...head, contentType }, info, body);
  if ('refusal' in meant) throw wrong(meant.refusal);
  return { command: meant.command, worst: meant.refine !== undefined };
}

function http(connection: CompiledConnection, asked: Asked, scope: PolicyScope): ApiCommand {
  const { head, body } = asked;
  if (!mcp.speaks(connection, head)) return plain(connection, asked, scope);
  try {
    const { command } = meaningOf(connection, head, hasMessage(connection, head) ? body : undefined);
    return { command, worst: false };
  } catch (error) {
    if (error instanceof HttpRefused) throw wrong(error.report.message);
    throw error;
  }
}

function plain(connection: CompiledConnection, { head, body, contentType }: Asked, { needs }: PolicyScope): ApiCommand {
  if (!needs.body) return { command: commandOf(connection, head), worst: false };
  const judged = judgeBody(body, { contentType, contentEncoding: field(head.headers, 'content-encoding') });
  if (judged.kind === 'refused') throw wrong(judged.why);
  return { command: commandOf(connection, head, judged.kind === 'json' ? { body: judged.value } : {}), worst: false };
}
