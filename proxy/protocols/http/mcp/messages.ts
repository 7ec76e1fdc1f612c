import { HttpRefused } from '../core/errors.ts';
import { mcpError } from './errors.ts';

/** Messages of JSON-RPC 2.0 as MCP uses them (its specification 2025-11-25, base protocol). */
export interface Message {
  /** Empty: an answer to a request of the server. */
  readonly method: string;
  /** Absent: a notification, to which nothing is answered. */
  readonly id?: string | number;
  /** `params.name` of a call of a tool; else empty. */
  readonly tool: string;
  /** `params.arguments` of a call of a tool. */
  readonly arguments?: unknown;
  /** What field `Mcp-Name` stands for: `params.name`, or `params.uri`. */
  readonly name?: string;
}

const MAX_BATCH = 32;
const MAX_NAME = 1024;
const CALL = 'tools/call';

const wrong = (what: string): HttpRefused => new HttpRefused(mcpError('SPJ001', what));

/**
 * What a body says. An array is a batch, as revision 2025-03-26 has it.
 * @param value JSON whose objects name nothing twice
 * @throws HttpRefused SPJ001
 */
export function messagesOf(value: unknown): readonly Message[] {
  if (!Array.isArray(value)) return [messageOf(value)];
  if (value.length === 0) throw wrong('a batch is empty');
  if (value.length > MAX_BATCH) throw wrong(`a batch has more than ${MAX_BATCH} messages`);
  return value.map(messageOf);
}

function messageOf(value: unknown): Message {
  if (!isObject(value)) throw wrong('a message is no object');
  const { jsonrpc, id, method, params } = value;
  if (jsonrpc !== '2.0') throw wrong('jsonrpc is not "2.0"');
  if (id !== undefined && typeof id !== 'string' && typeof id !== 'number')
    throw wrong('an id is no string and no number');
  if (method === undefined) {
    if (id === undefined || (value['result'] === undefined) === (value['error'] === undefined))
      throw wrong('a message is neither a request nor an answer');
    return { method: '', tool: '' };
  }
  if (typeof method !== 'string' || method === '' || method.length > MAX_NAME) throw wrong('a method is no name');
  if (value['result'] !== undefined || value['error'] !== undefined) throw wrong('a request has an answer in it');
  if (params !== undefined && !isObject(params)) throw wrong('params are no object');
  const shared = { method, ...(id === undefined ? {} : { id }) };
  if (method !== CALL) {
    const name = params?.['name'] ?? params?.['uri'];
    return { ...shared, tool: '', ...(typeof name === 'string' ? { name } : {}) };
  }
  const tool = params?.['name'];
  if (typeof tool !== 'string' || tool === '' || tool.length > MAX_NAME) throw wrong('a call names no tool');
  const given = params?.['arguments'];
  if (given !== undefined && !isObject(given)) throw wrong('arguments are no object');
  return { ...shared, tool, name: tool, ...(given === undefined ? {} : { arguments: given }) };
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * What an approval of the messages covers: every member as it is written but for `id`, which counts attempts, and a token for progress,
 * which does so too. Lexemes are kept: 1.0 and 1 are two numbers to some servers.
 * @param text valid JSON whose objects name nothing twice
 */
export function approvedText(text: string): string {
  const batch = /^\s*\[/.test(text) ? elements(text) : [text];
  return batch.map((message) => object(message, ['id'], { params: paramsText })).join('\n');
}

function paramsText(params: string): string {
  const meta = members(params).get('_meta');
  const onlyProgress = meta !== undefined && [...members(meta).keys()].every((name) => name === 'progressToken');
  return object(params, onlyProgress ? ['_meta'] : []);
}

function object(
  text: string,
  without: readonly string[],
  through: Readonly<Record<string, (value: string) => string>> = {},
): string {
  const kept = [...members(text)].filter(([name]) => !without.includes(name));
  const written = kept.map(([name, value]) => {
    const rewrite = Object.hasOwn(through, name) ? through[name] : undefined;
    return `${JSON.stringify(name)}:${rewrite === undefined || !/^\s*\{/.test(value) ? compact(value) : rewrite(value)}`;
  });
  return `{${written.join(',')}}`;
}

/** Without the white space between tokens. */
const compact = (text: string): string =>
  text.replace(/("(?:[^"\\]|\\.)*")|\s+/g, (_token, quoted?: string) => quoted ?? '');

/** Members of an object with their values as they are written. */
function members(text: string): ReadonlyMap<string, string> {
  return new Map(
    elements(text).map((member) => {
      const name = /^\s*("(?:[^"\\]|\\.)*")\s*:/.exec(member);
      if (name === null) return ['', member];
      return [JSON.parse(name[1] ?? '""') as string, member.slice(name[0].length)];
    }),
  );
}

/** What commas part on the outermost level of an object or array. */
function elements(text: string): string[] {
  const found: string[] = [];
  let depth = 0;
  let from = 0;
  for (const { 0: token, index } of text.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\],]/g)) {
    switch (token) {
      case '{':
      case '[':
        if (++depth === 1) from = index + 1;
        break;
      case '}':
      case ']':
        if (--depth === 0 && text.slice(from, index).trim() !== '') found.push(text.slice(from, index));
        break;
      case ',':
        if (depth === 1) {
          found.push(text.slice(from, index));
          from = index + 1;
        }
        break;
      default:
    }
  }
  return found;
}
