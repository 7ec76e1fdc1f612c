import type { Finding } from './finding.ts';
import { type ChainedLine, membersOf } from './line.ts';
import { found } from './links.ts';

/** Which sessions of a stream have begun and not ended, and where each began. */
export interface VerifiedSessions {
  enter(line: ChainedLine, members: Readonly<Record<string, unknown>>): void;
  /** Segments before this one were not read: its head says which sessions ran. */
  startAt(head: ChainedLine): void;
  /** The session without an end that began first. */
  left(): Finding | undefined;
}

export function createVerifiedSessions(): VerifiedSessions {
  const open = new Map<string, ChainedLine>();
  let eventsLost = false;
  const begin = (session: unknown, line: ChainedLine): void => {
    // The bytes of a line would keep the block alive that it was read with.
    if (typeof session === 'string') open.set(session, { ...line, bytes: EMPTY });
  };
  return {
    enter(line, { session, dropped }) {
      switch (line.event) {
        case 'session.start':
          begin(session, line);
          return;
        case 'session.end':
        case 'session.refused':
        case 'session.interrupted':
          if (typeof session === 'string') open.delete(session);
          return;
        case 'recorder.resumed':
          // The end of a session may be among what found no room, and the writer has said so.
          if (typeof dropped === 'number' && dropped > 0) eventsLost = true;
          return;
        default:
          // Other events neither begin nor end a session.
          return;
      }
    },
    startAt(head) {
      open.clear();
      const sessions = membersOf(head)?.['sessions'];
      if (Array.isArray(sessions)) for (const session of sessions) begin(session, head);
    },
    left() {
      const first = open.entries().next().value;
      if (first === undefined || eventsLost) return undefined;
      const [session, line] = first;
      return found('session-without-end', line, session);
    },
  };
}

const EMPTY = Buffer.alloc(0);
