import { hash } from 'node:crypto';

/**
 * Whose a session of MCP is. Its id alone lets whoever sends it go on in the session, and behind Sallyport the server sees one credential
 * for all: so an id is bound to the subject that the server gave it to.
 * https://modelcontextprotocol.io/specification/2025-06-18/basic/transports#session-management
 */
export interface McpSessions {
  /**
   * Whether the subject may send the id. One that nobody is known to have (given through another replica, before a start, or too long ago)
   * is bound to whoever sends it first.
   */
  admits(connection: string, subject: string, id: string): boolean;
  /** The server gave the id to the subject. False: it is another subject's. */
  given(connection: string, subject: string, id: string): boolean;
}

/** Ids that are remembered of one subject: of its own only the oldest are forgotten for it. */
const MOST_OF_A_SUBJECT = 1_000;

/** In memory, about 200 bytes for each id. */
export function createMcpSessions(most = MOST_OF_A_SUBJECT): McpSessions {
  const owners = new Map<string, string>();
  const bySubject = new Map<string, Set<string>>();

  function bind(subject: string, key: string): void {
    const own = bySubject.get(subject) ?? new Set();
    bySubject.set(subject, own);
    // Again at the end: the oldest is the one that was not used for longest.
    own.delete(key);
    own.add(key);
    owners.set(key, subject);
    const [oldest] = own;
    if (own.size <= most || oldest === undefined) return;
    own.delete(oldest);
    owners.delete(oldest);
  }

  function admits(connection: string, subject: string, id: string): boolean {
    // As long as they are sent, ids would be a memory of the client's choice.
    const key = hash('sha256', `${connection}\n${id}`, 'base64');
    const owner = owners.get(key);
    if (owner !== undefined && owner !== subject) return false;
    bind(subject, key);
    return true;
  }

  return { admits, given: admits };
}
