import type { Wire } from '../../../listener/wire.ts';
import * as encode from '../wire/encode.ts';
import { B, F, STATUS } from '../wire/messages.ts';
import { type Answer, createOwnQueries } from './own-queries.ts';
import {
  READ_SETTINGS,
  READ_SETTINGS_UNLIMITED,
  READ_STATEMENTS,
  READ_STATEMENTS_UNLIMITED,
  setAgain,
} from './settings.ts';
import { createSplitter, type Piece } from './split.ts';
import { namesPrepared, Statements } from './statements.ts';
import { createSuccession, type LeasedConnection, type SuccessionOptions } from './succession.ts';

export interface PerCommandOptions extends SuccessionOptions {
  /** From now on this login acts for the session. */
  readonly onLogin: (username: string) => void;
  /** No further command can be had: the session has to end. */
  readonly onFailed: (error: Error) => void;
  /** The target refused to tell, or to take, what the session has set. */
  readonly settingsRefused: (sqlstate: string) => Error;
}

/** One connection to the session, whichever is behind it. */
export interface PerCommandUpstream {
  readonly wire: Wire;
  /** For cancels: undefined while nothing is connected. */
  current(): LeasedConnection | undefined;
  /** After the wire was closed: resolves when every login is revoked. */
  release(): Promise<void>;
}

/**
 * `idle`: no command is under way, and the next one needs a connection. `moving`: one is being opened or given up. `between`: connected,
 * within a transaction or before the first message of a command. `open`: messages of the extended protocol have gone out and no Sync.
 * `answering`: the command is complete, and the server has not said ReadyForQuery.
 */
type Phase = 'idle' | 'moving' | 'between' | 'open' | 'answering';

const HEAD = 5;
const CANCELED = '57014';
/** A limit of a millisecond ends even the lifting of it, on a busy machine. */
const UNLIMITED_TRIES = 20;
const COPY_IN: ReadonlySet<number> = new Set([F.CopyData, F.CopyDone, F.CopyFail]);
const FROM_CLIENT: ReadonlySet<number> = new Set([F.CopyData]);
const FROM_SERVER: ReadonlySet<number> = new Set([B.DataRow, B.CopyData]);
/** More than this waits: the client is not read. */
const MAX_QUEUED = 1_048_576;
/** Reported by every connection for itself. */
const OF_THE_LOGIN: ReadonlySet<string> = new Set(['session_authorization', 'is_superuser']);

/**
 * A wire whose other end is a new login for each autocommit statement or explicit transaction (`scope: Statement`). The relay sees one
 * connection. Here commands are let through one at a time; when the server has ended one outside a transaction, its connection is
 * closed and its login dropped, and what lasts of a session (parameters, prepared statements of the protocol) is set up again on the
 * connection of the next. What cannot last is refused before it gets here (lasting.ts).
 */
export function createPerCommandUpstream(options: PerCommandOptions): PerCommandUpstream {
  const stopping = new AbortController();
  const logins = createSuccession(options);
  const statements = new Statements();
  const own = createOwnQueries({
    onParameter: (name, value) => void connection?.upstream.parameterStatus.set(name, value),
    onParsed: () => void statements.parsed(),
  });
  const fromClient = createSplitter(FROM_CLIENT);
  const reported = new Map(options.first.upstream.parameterStatus);
  const queue: Piece[] = [];
  let queued = 0;
  /** One write for what goes out together. */
  let out: Buffer[] = [];
  let phase: Phase = 'idle';
  let connection: LeasedConnection | undefined;
  let beginning: Promise<void> = Promise.resolve();
  let settings: ReadonlyMap<string, string> = new Map();
  /** The command ended with Sync: a copy that begins has the server ignore that. */
  let bySync = false;
  let asksStatements = false;
  let paused = true;
  let closed = false;
  let last: Wire = options.first.upstream.wire;

  const wire: Wire = {
    get peer() {
      return last.peer;
    },
    get remoteAddress() {
      return last.remoteAddress;
    },
    get encrypted() {
      return last.encrypted;
    },
    get socket() {
      return last.socket;
    },
    get congested() {
      return queued > MAX_QUEUED || connection?.upstream.wire.congested === true;
    },
    get closed() {
      return closed;
    },
    onBytes: () => {},
    onEnd: () => {},
    onClose: () => {},
    onDrain: () => {},
    write(bytes) {
      if (closed) return false;
      fromClient.feed(Buffer.from(bytes), (piece) => {
        queue.push(piece);
        queued += piece.bytes.length;
      });
      pump();
      return false;
    },
    pause() {
      paused = true;
      if (!own.running) connection?.upstream.wire.pause();
    },
    readInBulk: () => {},
    resume() {
      paused = false;
      connection?.upstream.wire.resume();
    },
    end: () => close(undefined),
    destroy: (error) => close(error),
  };

  function close(error: Error | undefined): void {
    if (closed) return;
    closed = true;
    stopping.abort(error ?? new Error('the session has ended'));
    own.stop();
    if (connection !== undefined) logins.giveUp(connection);
    connection = undefined;
    logins.stop();
    queueMicrotask(() => wire.onClose(error));
  }

  function failed(error: unknown): void {
    if (!closed) options.onFailed(error instanceof Error ? error : new Error(String(error)));
  }

  // ---- from the client

  /** Lets through what may go now. */
  function pump(): void {
    const before = queued;
    while (queue.length > 0 && !closed) {
      const piece = queue[0]!;
      if (!pass(piece)) break;
      queue.shift();
      queued -= piece.bytes.length;
    }
    flush();
    if (before > MAX_QUEUED && queued <= MAX_QUEUED && !closed) wire.onDrain();
  }

  function flush(): void {
    if (out.length > 0) connection?.upstream.wire.write(out.length === 1 ? out[0]! : Buffer.concat(out));
    out = [];
  }

  /** False: not yet. */
  function pass({ type, bytes }: Piece): boolean {
    if (phase === 'moving') return false;
    if (COPY_IN.has(type)) {
      // It belongs to the command that is under way; without one the server would ignore it.
      if (connection !== undefined) out.push(bytes);
      return true;
    }
    if (phase === 'answering') return false;
    if (connection === undefined) return passUnconnected(type);
    const before = statements.before(type, bytes);
    if (before.length > 0 && type === F.Query) {
      // An error among them must not have the server skip to a Sync that never comes.
      void prepareAgain(before);
      return false;
    }
    if ((type === F.Query || type === F.Parse) && namesPrepared(bytes)) asksStatements = true;
    statements.sent(type, bytes);
    out.push(...before, bytes);
    const complete = type === F.Query || type === F.FunctionCall || type === F.Sync;
    phase = complete ? 'answering' : 'open';
    if (complete) bySync = type === F.Sync;
    return true;
  }

  function passUnconnected(type: number): boolean {
    switch (type) {
      case F.Terminate:
        queueMicrotask(() => close(undefined));
        return true;
      case F.Flush:
        // Nothing is under way that could be flushed.
        return true;
      default:
        phase = 'moving';
        beginning = begin();
        return false;
    }
  }

  // ---- one connection after another

  async function begin(): Promise<void> {
    try {
      const leased = await logins.next(stopping.signal);
      if (closed) {
        logins.giveUp(leased);
        return;
      }
      connect(leased);
      const again = setAgain(settings);
      if (again !== undefined) rowsOf(await ask(again));
      if (closed) return;
      // The client was told what its first connection reported: what is otherwise on this one it has to hear.
      for (const [name, value] of leased.upstream.parameterStatus) report(name, value);
      phase = 'between';
      if (paused) leased.upstream.wire.pause();
      pump();
    } catch (error) {
      failed(error);
    }
  }

  function connect(leased: LeasedConnection): void {
    const fromServer = createSplitter(FROM_SERVER);
    connection = leased;
    last = leased.upstream.wire;
    statements.connected();
    options.onLogin(leased.lease.credential.username);
    last.onBytes = (chunk) => {
      if (connection !== leased) return;
      try {
        receive(leased, chunk, fromServer.feed);
      } catch (error) {
        failed(error);
      }
    };
    last.onDrain = () => wire.onDrain();
    last.onEnd = () => {
      if (connection === leased) wire.onEnd();
    };
    last.onClose = (error) => {
      if (connection === leased) close(error ?? new Error('the target closed the connection'));
    };
    if (leased.upstream.residual.length > 0) last.onBytes(leased.upstream.residual);
    last.resume();
  }

  /** The command is over: its connection and its login go. */
  async function end(leased: LeasedConnection): Promise<void> {
    try {
      settings = rowsOf(await askInTime(READ_SETTINGS, READ_SETTINGS_UNLIMITED));
      if (asksStatements && !closed) {
        const left = await askInTime(READ_STATEMENTS, READ_STATEMENTS_UNLIMITED);
        statements.keep(new Set(rowsOf(left).keys()));
      }
      asksStatements = false;
      if (closed) return;
      connection = undefined;
      logins.end(leased);
      phase = 'idle';
      pump();
    } catch (error) {
      failed(error);
    }
  }

  async function prepareAgain(parses: readonly Buffer[]): Promise<void> {
    phase = 'moving';
    try {
      rowsOf(await ask(Buffer.concat([...parses, encode.sync()])));
      statements.settled();
      phase = 'between';
      pump();
    } catch (error) {
      failed(error);
    }
  }

  /** Where the session's own limit of time ends it, in another form: which lifts the limit first, unless that too took too long. */
  async function askInTime(query: string, unlimited: string): Promise<Answer> {
    let answer = await ask(encode.query(query));
    for (let tries = 0; answer.failure === CANCELED && tries < UNLIMITED_TRIES && !closed; tries++)
      answer = await ask(encode.query(unlimited));
    return answer;
  }

  function ask(query: Buffer): Promise<Answer> {
    connection?.upstream.wire.resume();
    return own.ask(() => void connection?.upstream.wire.write(query));
  }

  function rowsOf({ failure, rows }: Answer): ReadonlyMap<string, string> {
    if (failure !== undefined) throw options.settingsRefused(failure);
    return rows;
  }

  // ---- from the server

  function receive(leased: LeasedConnection, chunk: Buffer, split: ReturnType<typeof createSplitter>['feed']): void {
    let run: Buffer[] = [];
    split(chunk, (piece) => {
      if (connection !== leased || !passes(piece)) return;
      run.push(piece.bytes);
      if (piece.type !== B.ReadyForQuery) return;
      // The relay has to know of the end before anything else happens.
      deliver(run);
      run = [];
      ready(leased, piece.bytes[HEAD]!);
    });
    if (run.length > 0) deliver(run);
  }

  function deliver(run: readonly Buffer[]): void {
    wire.onBytes(run.length === 1 ? run[0]! : Buffer.concat(run));
  }

  /** Whether the relay gets to see it. */
  function passes({ type, bytes }: Piece): boolean {
    if (own.running) return own.take(type, bytes);
    switch (type) {
      case B.ParseComplete:
        return !statements.parsed();
      case B.CloseComplete:
        statements.closed();
        return true;
      case B.CopyIn:
        if (phase === 'answering' && bySync) {
          phase = 'open';
          queueMicrotask(pump);
        }
        return true;
      case B.ParameterStatus: {
        const [name = '', value = ''] = bytes.toString('utf8', HEAD).split('\0');
        reported.set(name, value);
        return !OF_THE_LOGIN.has(name);
      }
      default:
        return true;
    }
  }

  function report(name: string, value: string): void {
    if (OF_THE_LOGIN.has(name) || reported.get(name) === value) return;
    reported.set(name, value);
    wire.onBytes(encode.parameterStatus(name, value));
  }

  function ready(leased: LeasedConnection, status: number): void {
    if (connection !== leased || closed) return;
    statements.settled();
    phase = status === STATUS.idle ? 'moving' : 'between';
    if (status === STATUS.idle) void end(leased);
    else pump();
  }

  return {
    wire,
    current: () => connection ?? logins.unused,
    async release() {
      close(undefined);
      await beginning;
      await logins.settled();
    },
  };
}
