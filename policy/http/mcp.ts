import type { McpTuple } from '../command.ts';

/** Methods that clients send, of the Model Context Protocol up to its revision 2025-11-25: what `*` in `mcp.methods` grants. */
const STANDARD: ReadonlySet<string> = new Set([
  'initialize',
  'ping',
  'tools/list',
  'tools/call',
  'resources/list',
  'resources/templates/list',
  'resources/read',
  'resources/subscribe',
  'resources/unsubscribe',
  'prompts/list',
  'prompts/get',
  'completion/complete',
  'logging/setLevel',
  'tasks/list',
  'tasks/get',
  'tasks/result',
  'tasks/cancel',
]);

/** What every session needs and nobody learns anything from: the list of tools holds only what the caller may use. */
const HARMLESS: ReadonlySet<string> = new Set([
  'initialize',
  'ping',
  'tools/list',
  'notifications/initialized',
  'notifications/cancelled',
  'notifications/progress',
  'notifications/roots/list_changed',
]);

export function isStandardMethod(method: string): boolean {
  return STANDARD.has(method);
}

/** Needs no rule of its own once some rule grants anything of MCP at the path; without a method it is the stream, an answer or the end. */
export function isHarmlessMessage({ method }: McpTuple): boolean {
  return method === '' || HARMLESS.has(method);
}
