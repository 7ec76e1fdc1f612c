import type { Answer } from '../core/port.ts';
import type { LaneReport } from '../errors.ts';
import type { Message } from './messages.ts';

/** Where programs find the whole problem document. */
const PROBLEM = 'sallyport.dev/problem';
/** Of the range that JSON-RPC leaves to servers. */
const REFUSED = -32_003;
/** What a client is told in words of MCP: nothing was sent to the server. Everything else is a failure of HTTP. */
const SPOKEN: ReadonlySet<number> = new Set([403, 429]);

/**
 * A refusal as a client of MCP shows it to its model. A call of a tool gets a result with `isError`, which is where the specification
 * (server/tools, error handling) puts what a model can mend by itself; any other request an error of JSON-RPC. Undefined: nobody waits
 * for an answer to these messages, so that it is a problem document.
 */
export function refusalOf(report: LaneReport, problem: Answer, messages: readonly Message[]): Answer | undefined {
  if (!SPOKEN.has(report.status)) return undefined;
  const answers = messages.flatMap((message) => answerTo(message, report, problem));
  if (answers.length === 0) return undefined;
  return {
    status: 200,
    headers: ['content-type', 'application/json', 'cache-control', 'no-store'],
    body: `${JSON.stringify(messages.length === 1 ? answers[0] : answers)}\n`,
  };
}

function answerTo({ id, tool }: Message, report: LaneReport, { body }: Answer): readonly object[] {
  if (id === undefined) return [];
  const document = JSON.parse(String(body)) as { readonly detail: string };
  const text = `${report.code}: ${document.detail}`;
  if (tool === '') return [{ jsonrpc: '2.0', id, error: { code: REFUSED, message: text, data: document } }];
  const result = { isError: true, content: [{ type: 'text', text }], _meta: { [PROBLEM]: document } };
  return [{ jsonrpc: '2.0', id, result }];
}
