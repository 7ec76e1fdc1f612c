import type { Wire } from '../../../listener/wire.ts';
import type { CredentialLease, PostgresCredential } from '../../../ports.ts';
import type { UpstreamSession } from '../upstream.ts';
import { errorFields } from '../wire/decode.ts';
import * as encode from '../wire/encode.ts';
import { B, F, STATUS } from '../wire/messages.ts';
import { READ_SETTINGS, READ_SETTINGS_UNLIMITED, READ_STATEMENTS, setAgain } from './settings.ts';
import { createSplitter, type Piece, type Splitter } from './split.ts';
import { namesPrepared, Statements } from './statements.ts';

/** A signed-in connection with the login that it is good for. */
export interface LeasedConnection {
  readonly upstream: UpstreamSession;
  readonly lease: CredentialLease<PostgresCredential>;
}

export interface PerCommandOptions {
  /** Signed in already, for what comes first. */
  readonly first: LeasedConnection;
  /** A login of its own, and a connection with it. @throws what `lease` and `connectUpstream` throw */
  readonly open: (signal: AbortSignal) => Promise<LeasedConnection>;
  /** From now on this login acts for the session. */
  readonly onLogin: (username: string) => void;
  /** No further command can be had: the session has to end. */
  readonly onFailed: (error: Error) => void;
  /** The target refused to tell, or to take, what the session has set. */
  readonly settingsRefused: (sqlstate: string) => Error;
  readonly now: () => number;
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
 * `idle`: no command is under way, and the next one needs a connection, unless `unused` has one. `moving`: one is being opened or given
 * up. `between`: connected, within a transaction or before the first message of a command. `open`: messages of the extended protocol
 * have gone out and no Sync. `answering`: the command is complete, and the server has not said ReadyForQuery.
 */
type Phase = 'idle' | 'moving' | 'between' | 'open' | 'answering';

interface Answer {
  readonly rows: Map<string, string>;
  /** SQLSTATE. */
  failure: string | undefined;
}

const CANCELED = '57014';
const COPY_IN: ReadonlySet<number> = new Set([F.CopyData, F.CopyDone, F.CopyFail]);
const FROM_CLIENT: ReadonlySet<number> = new Set([F.CopyData]);
const FROM_SERVER: ReadonlySet<number> = new Set([B.DataRow, B.CopyData]);
/** More than this waits: the client is not read. */
const MAX_QUEUED = 1_048_576;
/** How long a server may take to close a connection that was told to, in milliseconds. */
const CLOSE_MS = 1000;
/** Reported by every connection for itself. */
const OF_THE_LOGIN: ReadonlySet<string> = new Set(['session_authorization', 'is_superuser']);

/**
 * A wire whose other end is a new login for each autocommit statement or explicit transaction (`scope: Statement`). The relay sees one
 * connection. Here commands are let through one at a time; when the server has ended one outside a transaction, its connection is
 * closed and its login dropped, and what lasts of a session (parameters, prepared statements of the protocol) is set up again on the
 * connection of the next. What cannot last is refused before it gets here (judge.ts).
 */
export function createPerCommandUpstream(options: PerCommandOptions): PerCommandUpstream {
  const stopping = new AbortController();
  const statements = new Statements();
  const fromClient = createSplitter(FROM_CLIENT);
  const queue: Piece[] = [];
  let queued = 0;
  let phase: Phase = 'idle';
  /** Signed in and not used by a command yet. */
  let unused: LeasedConnection | undefined = options.first;
  let connection: LeasedConnection | undefined;
  let fromServer: Splitter = createSplitter(FROM_SERVER);
  let settings: ReadonlyMap<string, string> = new Map();
  const reported = new Map(options.first.upstream.parameterStatus);
  /** The command ended with Sync: a copy that begins has the server ignore that. */
  let bySync = false;
  let asksStatements = false;
  let paused = true;
  let closed = false;
  let revoking: Promise<unknown> = Promise.resolve();
  let beginning: Promise<void> = Promise.resolve();
  /** One write for what goes out together. */
  let out: Buffer[] = [];
  /** Takes the server's answer to a query of ours. */
  let own: (Answer & { readonly done: () => void }) | undefined;
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
    onBytes: () => {},
    onEnd: () => {},
    onClose: () => {},
    onDrain: () => {},
    get congested() {
      return queued > MAX_QUEUED || connection?.upstream.wire.congested === true;
    },
    get closed() {
      return closed;
    },
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
      if (own === undefined) connection?.upstream.wire.pause();
    },
    resume() {
      paused = false;
      connection?.upstream.wire.resume();
    },
    end: () => close(undefined),
    destroy: (error) => close(error),
    get socket() {
      return last.socket;
    },
  };

  function close(error: Error | undefined): void {
    if (closed) return;
    closed = true;
    stopping.abort(error ?? new Error('the session has ended'));
    own?.done();
    for (const each of new Set([connection, unused])) if (each !== undefined) giveUp(each);
    connection = undefined;
    unused = undefined;
    queueMicrotask(() => wire.onClose(error));
  }

  /** Closes at once and has the login dropped. */
  function giveUp(leased: LeasedConnection): void {
    leased.upstream.wire.onClose = () => {};
    leased.upstream.wire.destroy();
    revoke(leased);
  }

  function revoke(leased: LeasedConnection, after: Promise<void> = Promise.resolve()): void {
    revoking = Promise.all([revoking, after.then(() => leased.lease.release())]);
  }

  function failed(error: unknown): void {
    if (closed) return;
    options.onFailed(error instanceof Error ? error : new Error(String(error)));
  }

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

  /** False: not yet. */
  function pass(piece: Piece): boolean {
    const { type, bytes } = piece;
    if (COPY_IN.has(type)) return copies(bytes);
    if (phase === 'answering' || phase === 'moving') return false;
    if (type === F.Terminate) {
      if (connection === undefined) queueMicrotask(() => close(undefined));
      else send(bytes);
      return true;
    }
    if (connection === undefined) {
      // Nothing is under way that could be flushed.
      if (type === F.Flush) return true;
      beginning = begin();
      return false;
    }
    const before = statements.before(type, bytes);
    if (before.length > 0 && type === F.Query) {
      // An error among them must not have the server skip to a Sync that never comes.
      void prepareAgain(before);
      return false;
    }
    for (const parse of before) send(parse);
    if ((type === F.Query || type === F.Parse) && namesPrepared(bytes)) asksStatements = true;
    statements.sent(type, bytes);
    send(bytes);
    switch (type) {
      case F.Query:
      case F.FunctionCall:
      case F.Sync:
        phase = 'answering';
        bySync = type === F.Sync;
        break;
      default:
        phase = 'open';
    }
    return true;
  }

  /** Copy data belongs to the command that is under way; without one the server would ignore it. */
  function copies(bytes: Buffer): boolean {
    if (phase === 'moving') return false;
    if (connection !== undefined) send(bytes);
    return true;
  }

  function send(bytes: Buffer): void {
    out.push(bytes);
  }

  function flush(): void {
    if (out.length === 0) return;
    connection?.upstream.wire.write(out.length === 1 ? out[0]! : Buffer.concat(out));
    out = [];
  }

  async function begin(): Promise<void> {
    phase = 'moving';
    try {
      const leased = await usable();
      if (closed) {
        giveUp(leased);
        return;
      }
      connect(leased);
      const again = setAgain(settings);
      if (again !== undefined) await ask(again);
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

  /** The connection that is there, when its login is still good; else a new one, and what the one before owned has been left to others. */
  async function usable(): Promise<LeasedConnection> {
    const ready = unused;
    unused = undefined;
    if (ready !== undefined) {
      const { expiresAt } = ready.lease;
      if (!ready.upstream.wire.closed && (expiresAt === undefined || options.now() < expiresAt.getTime())) return ready;
      giveUp(ready);
    }
    const [opened] = await Promise.allSettled([options.open(stopping.signal), revoking]);
    if (opened.status === 'rejected') throw opened.reason;
    return opened.value;
  }

  function connect(leased: LeasedConnection): void {
    connection = leased;
    last = leased.upstream.wire;
    fromServer = createSplitter(FROM_SERVER);
    statements.connected();
    options.onLogin(leased.lease.credential.username);
    last.onBytes = (chunk) => receive(leased, chunk);
    last.onDrain = () => wire.onDrain();
    last.onEnd = () => {
      if (connection === leased) wire.onEnd();
    };
    last.onClose = (error) => {
      if (connection !== leased) return;
      connection = undefined;
      revoke(leased);
      closed = true;
      stopping.abort(error ?? new Error('the target closed the connection'));
      own?.done();
      wire.onClose(error);
    };
    if (leased.upstream.residual.length > 0) receive(leased, leased.upstream.residual);
    last.resume();
  }

  function report(name: string, value: string): void {
    if (OF_THE_LOGIN.has(name) || reported.get(name) === value) return;
    reported.set(name, value);
    wire.onBytes(encode.parameterStatus(name, value));
  }

  /** Runs a query of ours on the connection of now; the client sees nothing of it. Rows have two columns. */
  async function answerOf(query: Buffer): Promise<Answer> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const asking: Answer & { done: () => void } = { rows: new Map(), failure: undefined, done: resolve };
    own = asking;
    connection?.upstream.wire.resume();
    send(query);
    flush();
    await promise;
    own = undefined;
    return asking;
  }

  function rowsOf({ failure, rows }: Answer): ReadonlyMap<string, string> {
    if (failure !== undefined) throw options.settingsRefused(failure);
    return rows;
  }

  const ask = async (query: Buffer): Promise<ReadonlyMap<string, string>> => rowsOf(await answerOf(query));

  async function askSettings(): Promise<ReadonlyMap<string, string>> {
    const answer = await answerOf(encode.query(READ_SETTINGS));
    return answer.failure === CANCELED ? ask(encode.query(READ_SETTINGS_UNLIMITED)) : rowsOf(answer);
  }

  async function prepareAgain(parses: readonly Buffer[]): Promise<void> {
    phase = 'moving';
    try {
      await ask(Buffer.concat([...parses, encode.sync()]));
      statements.settled();
      phase = 'between';
      pump();
    } catch (error) {
      failed(error);
    }
  }

  function receive(leased: LeasedConnection, chunk: Buffer): void {
    if (connection !== leased) return;
    try {
      let run: Buffer[] = [];
      fromServer.feed(chunk, (piece) => {
        if (connection !== leased || !passes(piece)) return;
        run.push(piece.bytes);
        // The relay has to know of the end before anything else happens.
        if (piece.type !== B.ReadyForQuery) return;
        deliver(run);
        run = [];
        ready(leased, piece.bytes[HEAD]!);
      });
      if (run.length > 0) deliver(run);
    } catch (error) {
      failed(error);
    }
  }

  function deliver(run: readonly Buffer[]): void {
    wire.onBytes(run.length === 1 ? run[0]! : Buffer.concat(run));
  }

  /** Whether the relay gets to see it. */
  function passes({ type, bytes }: Piece): boolean {
    if (own !== undefined) return ownAnswer(own, type, bytes);
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

  function ownAnswer(answer: NonNullable<typeof own>, type: number, bytes: Buffer): boolean {
    switch (type) {
      case B.DataRow: {
        const [name, value] = textColumns(bytes);
        if (name !== undefined && value !== undefined) answer.rows.set(name, value);
        return false;
      }
      case B.Error:
        answer.failure ??= errorFields(bytes, HEAD, bytes.length).C ?? '';
        return false;
      case B.ParseComplete:
        statements.parsed();
        return false;
      case B.ParameterStatus: {
        const [name = '', value = ''] = bytes.toString('utf8', HEAD).split('\0');
        connection?.upstream.parameterStatus.set(name, value);
        return false;
      }
      case B.ReadyForQuery:
        answer.done();
        return false;
      case B.Notification:
        return true;
      default:
        return false;
    }
  }

  function ready(leased: LeasedConnection, status: number): void {
    if (connection !== leased || closed) return;
    statements.settled();
    if (status !== STATUS.idle) {
      phase = 'between';
      pump();
      return;
    }
    phase = 'moving';
    void end(leased);
  }

  /** The command is over: its connection and its login go. */
  async function end(leased: LeasedConnection): Promise<void> {
    try {
      settings = await askSettings();
      if (asksStatements && !closed) statements.keep(new Set((await ask(encode.query(READ_STATEMENTS))).keys()));
      asksStatements = false;
      if (closed) return;
      connection = undefined;
      revoke(leased, farewell(leased.upstream.wire));
      phase = 'idle';
      pump();
    } catch (error) {
      failed(error);
    }
  }

  return {
    wire,
    current: () => connection ?? unused,
    async release() {
      close(undefined);
      await beginning;
      await revoking;
    },
  };
}

const HEAD = 5;

/** The first two columns of a DataRow. */
function textColumns(bytes: Buffer): (string | undefined)[] {
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

/** Says goodbye and waits until the server has closed: by then nobody is signed in any more. */
function farewell(wire: Wire): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => wire.destroy(), CLOSE_MS);
    wire.onEnd = () => wire.destroy();
    wire.onClose = () => {
      clearTimeout(timer);
      resolve();
    };
    wire.onBytes = () => {};
    if (wire.closed) {
      clearTimeout(timer);
      resolve();
      return;
    }
    wire.resume();
    wire.write(encode.terminate());
  });
}
