import type { RecordEventType } from '../../record/port.ts';

const SESSION = /"session":"([^"\\]+)"/;

export interface OpenSessions {
  /** Enters an event of any type; most change nothing. */
  note(event: RecordEventType, members: string): void;
  readonly ids: readonly string[];
  readonly count: number;
}

/** Sessions that run are named at the head of each segment: after a crash only the last segment must be read. */
export function createOpenSessions(): OpenSessions {
  const open = new Set<string>();
  return {
    note(event, members) {
      if (event !== 'session.start' && event !== 'session.end' && event !== 'session.refused') return;
      const session = SESSION.exec(members)?.[1];
      if (session === undefined) return;
      if (event === 'session.start') open.add(session);
      else open.delete(session);
    },
    get ids() {
      return [...open];
    },
    get count() {
      return open.size;
    },
  };
}
