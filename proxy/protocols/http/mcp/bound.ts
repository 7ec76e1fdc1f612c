import { HttpRefused } from '../core/errors.ts';
import { field } from '../core/headers.ts';
import type { Exchange, ResponseHead } from '../core/port.ts';
import type { Dialect } from '../port.ts';
import { mcp } from './dialect.ts';
import { mcpError } from './errors.ts';
import { createMcpSessions } from './sessions.ts';

const SESSION = 'mcp-session-id';

/** MCP in which a session is whoever's it was given to. */
export function createBoundMcp(sessions = createMcpSessions()): Dialect {
  return {
    speaks: mcp.speaks,
    async understand(exchange) {
      const { head } = exchange;
      const id = field(head.headers, SESSION);
      // As a server answers for a session that it does not know: the client begins another.
      if (id !== undefined && !sessions.admits(...whose(exchange), id)) throw new HttpRefused(mcpError('SPJ007', ''));
      const asked = await mcp.understand(exchange);
      const { dialect } = asked;
      return {
        ...asked,
        dialect: {
          ...dialect,
          respond(answer, scope) {
            learn(exchange, answer);
            return dialect?.respond?.(answer, scope);
          },
        },
      };
    },
  };

  function learn(exchange: Exchange, { headers }: ResponseHead): void {
    const id = field(headers, SESSION);
    if (id === undefined || sessions.given(...whose(exchange), id)) return;
    throw new HttpRefused(mcpError('SPJ006', 'it gave a session that is of somebody else'));
  }
}

/** The connection, and who speaks. */
function whose({ session, identity }: Exchange): [connection: string, subject: string] {
  const { namespace, name } = session.connection;
  return [`${namespace}/${name}`, identity.subject.username];
}
