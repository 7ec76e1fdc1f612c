import { errorFields } from '../wire/decode.ts';
import { B } from '../wire/messages.ts';

/** Queries of the gateway's own on the connection of a session, between two commands: the client sees nothing of them. */

/** Rows have two columns: a name and a value. */
export interface Answer {
  readonly rows: Map<string, string>;
  /** SQLSTATE. */
  failure: string | undefined;
}

export interface OwnQueries {
  /** One is under way: what the server says belongs to it. */
  readonly running: boolean;
  /** Resolves with ReadyForQuery, or at `stop`. @param send puts the query on the wire */
  ask(send: () => void): Promise<Answer>;
  /** One message of the server's while it runs. True: it is the client's after all. */
  take(type: number, bytes: Buffer): boolean;
  /** No answer comes any more. */
  stop(): void;
}

export interface OwnQueriesOptions {
  readonly onParameter: (name: string, value: string) => void;
  readonly onParsed: () => void;
}

const HEAD = 5;

export function createOwnQueries({ onParameter, onParsed }: OwnQueriesOptions): OwnQueries {
  let current: (Answer & { readonly done: () => void }) | undefined;

  return {
    get running() {
      return current !== undefined;
    },
    async ask(send) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const asking = { rows: new Map<string, string>(), failure: undefined, done: resolve };
      current = asking;
      send();
      await promise;
      return asking;
    },
    take(type, bytes) {
      switch (type) {
        case B.DataRow: {
          const [name, value] = firstColumns(bytes);
          if (name !== undefined && value !== undefined) current?.rows.set(name, value);
          return false;
        }
        case B.Error:
          if (current !== undefined) current.failure ??= errorFields(bytes, HEAD, bytes.length).C ?? '';
          return false;
        case B.ParseComplete:
          onParsed();
          return false;
        case B.ParameterStatus: {
          const [name = '', value = ''] = bytes.toString('utf8', HEAD).split('\0');
          onParameter(name, value);
          return false;
        }
        case B.ReadyForQuery: {
          const done = current?.done;
          // Before whoever waits goes on: what comes behind it is not an answer to this.
          current = undefined;
          done?.();
          return false;
        }
        case B.Notification:
          return true;
        default:
          return false;
      }
    },
    stop() {
      current?.done();
      current = undefined;
    },
  };
}

/** The first two columns of a DataRow as text. */
function firstColumns(bytes: Buffer): string[] {
  const columns: string[] = [];
  let at = HEAD + 2;
  for (let left = Math.min(bytes.readUInt16BE(HEAD), 2); left > 0; left--) {
    const length = bytes.readInt32BE(at);
    at += 4;
    columns.push(length < 0 ? '' : bytes.toString('utf8', at, at + length));
    at += Math.max(length, 0);
  }
  return columns;
}
