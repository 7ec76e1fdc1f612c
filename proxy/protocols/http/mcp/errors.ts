import type { LaneReport } from '../errors.ts';

/**
 * Errors of MCP (SPJ): what is refused before policy is asked, since nobody can say what it means. Denials and approvals have the codes
 * of the HTTP lane; how they look to a client of MCP is in refusal.ts. `{}` is filled by the place that raises it.
 */
export const MCP_ERRORS = {
  SPJ001: {
    status: 400,
    message: 'this is no message of MCP: {}',
    hint: 'Send one JSON-RPC 2.0 message, or an array of them, in UTF-8 whose objects name nothing twice.',
  },
  SPJ002: {
    status: 405,
    message: 'MCP has no {}',
    hint: 'Send messages with POST, open the stream with GET, end the session with DELETE.',
  },
  SPJ003: {
    status: 415,
    message: 'messages of MCP are application/json, and this is {}',
    hint: 'Set Content-Type: application/json.',
  },
  SPJ004: {
    status: 404,
    message: 'MCP is at {} here, and the path is written in another way',
    hint: 'Write the path exactly as the AccessConnection does in http.mcp.paths.',
  },
  SPJ005: {
    status: 400,
    message: 'the field {} says something else than the message',
    hint: 'Leave it out, or make it agree with the message.',
  },
  SPJ006: {
    status: 502,
    message: 'the answer of the server cannot be read as MCP: {}',
    hint: 'Its list of tools has to be looked through before you may see it; tell the platform team.',
  },
  SPJ007: {
    status: 404,
    message: 'there is no such session of MCP',
    hint: 'Begin another with initialize.',
  },
} as const;

export type McpErrorCode = keyof typeof MCP_ERRORS;

export function mcpError(code: McpErrorCode, fill: string, headers?: readonly string[]): LaneReport {
  const { status, message, hint } = MCP_ERRORS[code];
  return {
    code,
    status,
    message: message.replace('{}', () => fill),
    hint,
    ...(headers === undefined ? {} : { headers }),
  };
}
