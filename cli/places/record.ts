import { access } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { describeCause, RecorderError } from '../../record/errors.ts';
import { type FollowedEvent, followEvents } from '../../record/follow.ts';
import type { RecordedEvent } from '../../record/format.ts';
import type { SegmentFilter } from '../../record/segment.ts';
import { listSessions, type SessionFilter, type SessionSummary, sessionEvents } from '../../record/sessions.ts';
import { type CliIo, defaultState } from '../io.ts';
import type { ConnectionName, PlaceOptions } from './place-options.ts';

/** The record that a command reads, wherever it is. */
export interface RecordReader extends AsyncDisposable {
  /** What is meant by a connection, or by none. */
  scope(connection: ConnectionName | undefined): SegmentFilter;
  sessions(filter: SessionFilter): AsyncIterable<SessionSummary>;
  /** Of one session, in order. */
  events(session: string): AsyncIterable<RecordedEvent>;
  follow(filter: SegmentFilter, signal: AbortSignal): AsyncIterable<FollowedEvent>;
  /**
   * A folder that holds the segments of the filter, for what needs their bytes. Gone with the reader when it was made for it.
   */
  folder(filter: SegmentFilter): Promise<string>;
}

export interface RecordPlace {
  options(command: Command): Command;
  /** @throws RecorderError SPR008 when there is no record, or the error of the cluster */
  open(options: PlaceOptions, io: CliIo): Promise<RecordReader>;
}

/** @throws RecorderError SPR009 when the record has no such session */
export async function findSession(reader: RecordReader, id: string): Promise<SessionSummary> {
  for await (const session of reader.sessions({ session: id })) return session;
  throw new RecorderError('SPR009', { object: JSON.stringify(id) });
}

/** The record in the state folder of a gateway. */
export function folderRecord(io: CliIo): RecordPlace {
  return {
    options: (command) => command.option('--state <dir>', 'state folder of the gateway', defaultState(io.env)),
    async open({ state = defaultState(io.env) }) {
      const root = resolve(io.cwd, state, 'record');
      try {
        await access(root);
      } catch (error) {
        throw new RecorderError('SPR008', { path: root, detail: describeCause(error), cause: error });
      }
      return {
        scope: (connection) => (connection === undefined ? {} : { namespace: 'default', ...connection }),
        sessions: (filter) => listSessions(root, filter),
        events: (session) => sessionEvents(root, session),
        follow: (filter, signal) => followEvents(root, filter, signal),
        folder: async () => root,
        [Symbol.asyncDispose]: async () => undefined,
      };
    },
  };
}
