import type { CompiledConnection } from '../../../../policy/bundle.ts';
import type { LaneContext, OpenSession } from '../../../lane.ts';
import type { LastToken, Proof, VerifiedIdentity } from '../../../ports.ts';
import { admit } from '../../../session/admission.ts';
import { newSessionId } from '../../../session/id.ts';
import type { RecordRefusal } from '../../../session/refusals.ts';
import type { BodyBudget } from './body-budget.ts';
import { HttpRefused, type HttpReport, httpError, reportOf } from './errors.ts';
import { createExchange, type ManagedExchange, sendAnswer } from './exchange.ts';
import { type ParsedHead, parseHead } from './head.ts';
import { field } from './headers.ts';
import type { HeaderFields, HttpApplication, RequestHead } from './port.ts';
import { beginSession, type ManagedSession, notAdmitted, reasonOf, type SessionPorts } from './session.ts';
import { lastAnswer } from './wire/answer-head.ts';
import type { Incoming } from './wire/incoming.ts';

/** One client: its requests in turn or side by side, and the sessions that they belong to. */
export interface ClientConnection {
  attach(transport: Transport): void;
  request(incoming: Incoming): void;
  /** What came is not HTTP. @returns the last answer, as bytes */
  malformed(report: HttpReport): Buffer;
  /** It is closed. */
  gone(): void;
  sweep(now: number): void;
  /** Ends it when nothing is under way. */
  drain(): void;
  destroy(): void;
}

export interface Transport {
  /** One request at a time: answers have the order of requests. */
  readonly serial: boolean;
  drain(): void;
  sweep?(now: number): void;
  destroy(): void;
}

export interface ClientInit {
  readonly context: LaneContext;
  readonly ports: SessionPorts;
  readonly application: HttpApplication;
  readonly recordRefused: RecordRefusal;
  readonly open: Set<ManagedSession>;
  /** Being set up: they count from the moment that they are admitted. */
  readonly opening: Set<OpenSession>;
  readonly budget: BodyBudget;
  readonly proof: Proof | undefined;
  /** Those behind the address. */
  readonly names: readonly { readonly namespace: string; readonly name: string }[];
  readonly connections: () => readonly CompiledConnection[];
  readonly peer: string;
  readonly remoteAddress: string;
  readonly draining: () => boolean;
  readonly closed: () => void;
}

/** A client that sends nothing more of a body that is waited for, in milliseconds. */
const BODY_IDLE_MS = 60_000;
/** A connection without a request under way, in milliseconds. */
const IDLE_MS = 75_000;
/** From our end of a connection to that of a client, in milliseconds. */
const LINGER_MS = 10_000;
/** Subjects of one connection of a client. */
const MAX_SESSIONS = 64;

export function createClientConnection(init: ClientInit): ClientConnection {
  const { context, application, peer } = init;
  const sessions = new Map<string, Promise<ManagedSession>>();
  const mine = new Set<ManagedSession>();
  const exchanges = new Map<ManagedExchange, ManagedSession>();
  const left = new AbortController();
  /** HTTP/1.x: its turn comes when the record has what came of the one before, which was answered already. */
  let following: Incoming | undefined;
  let transport: Transport | undefined;
  let serving = 0;
  let usedAt = Date.now();
  let proved: Promise<VerifiedIdentity> | undefined;
  let provedNow: VerifiedIdentity | undefined;
  const presented: LastToken = { believed: undefined };
  let bearer: { readonly fields: HeaderFields; readonly token: string | undefined } | undefined;
  /** The one that almost every request of a client belongs to. */
  let last: { readonly session: ManagedSession; identity: VerifiedIdentity } | undefined;

  function request(incoming: Incoming): void {
    if (transport?.serial === true && serving > 0) {
      if (following !== undefined) transport.destroy();
      else following = incoming;
      return;
    }
    serving++;
    serve(incoming).then(next, (error: Error) => {
      context.log.error({ peer, error: error.stack }, 'a request could not be served');
      incoming.destroy();
      next();
    });
  }

  function next(): void {
    serving--;
    usedAt = Date.now();
    const incoming = following;
    following = undefined;
    if (incoming !== undefined) request(incoming);
  }

  async function serve(incoming: Incoming): Promise<void> {
    if (init.draining()) incoming.last();
    const parsed = parseHead(incoming.raw);
    if ('code' in parsed) {
      refused(parsed, undefined);
      // What follows on the connection may be the rest of what was not understood.
      incoming.last();
      await send(incoming, parsed, undefined);
      return;
    }
    let { head } = parsed;
    let session: ManagedSession;
    try {
      const chosen = choose(head);
      head = chosen.head;
      session = sessionNow(chosen.connection, parsed) ?? (await sessionOf(chosen.connection, parsed));
    } catch (error) {
      const report = reportOf(error);
      if (report.code === 'SPE015' && error instanceof Error) context.failed(peer, 'a request is refused', error);
      observe(error, report);
      await send(incoming, report, head);
      return;
    }
    const kept = session.refresh() ?? session.suspended();
    if (kept !== undefined) {
      observe(undefined, kept);
      await send(incoming, kept, head, session.id);
      return;
    }
    await exchange(incoming, parsed, head, session);
  }

  async function exchange(
    incoming: Incoming,
    { expectsContinue }: ParsedHead,
    head: RequestHead,
    session: ManagedSession,
  ): Promise<void> {
    const seq = session.enter();
    const made = createExchange({
      incoming,
      head,
      expectsContinue,
      session,
      seq,
      budget: init.budget,
      render: (report, of) => application.refuse(report, { head: of, session: session.id }),
    });
    exchanges.set(made, session);
    try {
      await application.handle(made);
      if (!made.ending) throw new Error('the application has not ended the exchange');
    } catch (error) {
      await failed(made, error);
    } finally {
      exchanges.delete(made);
      made.release();
      session.leave();
    }
  }

  async function failed(made: ManagedExchange, error: unknown): Promise<void> {
    const report = reportOf(error);
    if (!(error instanceof HttpRefused) && error instanceof Error)
      context.failed(made.session.id, 'a request failed', error);
    if (report.code.startsWith('SPR') && error instanceof Error) made.session.recordFailed(error);
    if (made.ending) made.stop(report);
    else await made.refuse(report);
  }

  function choose(head: RequestHead): { readonly connection: CompiledConnection; readonly head: RequestHead } {
    const connections = init.connections();
    if (application.choose === undefined) {
      const [connection] = connections;
      if (connection === undefined) throw new HttpRefused(httpError('SPE010'));
      return { connection, head };
    }
    const chosen = application.choose(connections, head);
    if (chosen === undefined) throw new HttpRefused(httpError('SPE010'));
    return { connection: chosen.connection, head: chosen.head ?? head };
  }

  /** Who asks, at every request anew. @throws HttpRefused, IdentityError */
  async function identify({ all }: ParsedHead): Promise<VerifiedIdentity> {
    if (init.proof !== undefined) {
      proved ??= init.proof(left.signal);
      try {
        provedNow = await proved;
        return provedNow;
      } catch (error) {
        proved = undefined;
        throw error;
      }
    }
    const token = tokenIn(all);
    if (token === undefined) {
      const headers = ['www-authenticate', 'Bearer realm="sallyport"'];
      throw new HttpRefused(httpError('SPE007', [], { headers }));
    }
    return context.verifier.verify(token, left.signal, init.remoteAddress, presented);
  }

  /** As `identify`, where nothing has to be waited for; undefined: ask that. */
  function identifyNow({ all }: ParsedHead): VerifiedIdentity | undefined {
    if (init.proof !== undefined) return provedNow;
    const token = tokenIn(all);
    return token === undefined ? undefined : context.verifier.verified(token, init.remoteAddress, presented);
  }

  /** Requests with the same fields share them, and what is in them. */
  function tokenIn(fields: HeaderFields): string | undefined {
    if (bearer?.fields !== fields) bearer = { fields, token: (application.token ?? tokenOf)(fields) };
    return bearer.token;
  }

  /** The session of the request before, where this one belongs to it too and nothing has to be waited for. @throws as `identify` */
  function sessionNow(connection: CompiledConnection, parsed: ParsedHead): ManagedSession | undefined {
    if (last === undefined || last.session.ended || left.signal.aborted || !sameConnection(last.session, connection))
      return undefined;
    return identifyNow(parsed) === last.identity ? last.session : undefined;
  }

  async function sessionOf(connection: CompiledConnection, parsed: ParsedHead): Promise<ManagedSession> {
    const identity = await identify(parsed);
    if (
      last !== undefined &&
      !last.session.ended &&
      last.identity === identity &&
      sameConnection(last.session, connection)
    )
      return last.session;
    const key = JSON.stringify([connection.namespace, connection.name, lasting(identity)]);
    let session = await sessions.get(key);
    if (session === undefined || session.ended) {
      if (sessions.size >= MAX_SESSIONS) throw new HttpRefused(httpError('SPE024', `${MAX_SESSIONS} subjects`));
      const begun = begin(connection, identity, parsed, key);
      sessions.set(key, begun);
      try {
        session = await begun;
      } catch (error) {
        if (sessions.get(key) === begun) sessions.delete(key);
        throw error;
      }
    }
    if (session.ended) throw new HttpRefused(reasonOf(session.signal));
    if (session.identity !== identity) session.renew(identity);
    last = { session, identity };
    return session;
  }

  async function begin(
    connection: CompiledConnection,
    identity: VerifiedIdentity,
    { all }: ParsedHead,
    key: string,
  ): Promise<ManagedSession> {
    const id = newSessionId(Date.now());
    const admitted = admit(init.ports, [...init.open, ...init.opening], connection, identity);
    if ('refused' in admitted) {
      const report = notAdmitted(admitted.refused);
      refused(report, identity, id);
      throw new HttpRefused(report);
    }
    const place: OpenSession = { connection, identity };
    init.opening.add(place);
    try {
      const session = await beginSession({
        ...{ id, ports: init.ports, identity, peer },
        method: init.proof === undefined ? 'bearer' : 'tunnel',
        application: field(all, 'user-agent') ?? '',
        bundle: context.bundles.current(),
        judgement: admitted.judgement,
        onEnd: (ended, reason) => end(ended, reason, key),
      });
      if (session.ended) return session;
      init.open.add(session);
      mine.add(session);
      context.observer.sessionOpened(connection, identity, id);
      application.opened?.(session);
      if (left.signal.aborted) session.finish('the client closed the connection');
      return session;
    } finally {
      init.opening.delete(place);
    }
  }

  function end(session: ManagedSession, reason: string, key: string): void {
    sessions.delete(key);
    mine.delete(session);
    const report = reasonOf(session.signal);
    for (const [made, of] of exchanges) if (of === session) made.stop(report);
    if (!init.open.delete(session)) return;
    context.observer.sessionClosed(session.connection, session.id, reason);
    application.closed?.(session, reason);
  }

  /** A client that gets no session, or whose request is not understood. */
  function refused(report: HttpReport, identity: VerifiedIdentity | undefined, id = newSessionId(Date.now())): void {
    const { code, message } = report;
    init.recordRefused(init.names, { session: id, peer, code, message, identity });
  }

  function observe(error: unknown, report: HttpReport): void {
    context.observer.refused(peer, error instanceof Error ? error : new HttpRefused(report));
    if (report.status === 401) refused(report, undefined);
  }

  async function send(
    incoming: Incoming,
    report: HttpReport,
    head: RequestHead | undefined,
    session?: string,
  ): Promise<void> {
    const answer = application.refuse(report, {
      ...(head === undefined ? {} : { head }),
      ...(session === undefined ? {} : { session }),
    });
    if (head === undefined) context.observer.refused(peer, new HttpRefused(report));
    await sendAnswer(incoming, undefined, answer);
  }

  function finishAll(reason: string): void {
    for (const session of [...mine]) session.finish(reason);
  }

  return {
    attach(made) {
      transport = made;
    },
    request,
    malformed(report) {
      refused(report, undefined);
      context.observer.refused(peer, new HttpRefused(report));
      const { status, headers, body } = application.refuse(report, {});
      return lastAnswer(status, headers, typeof body === 'string' ? Buffer.from(body) : body);
    },
    gone() {
      left.abort(new HttpRefused(httpError('SPE020')));
      following = undefined;
      finishAll('the client closed the connection');
      init.closed();
    },
    sweep(now) {
      transport?.sweep?.(now);
      for (const made of [...exchanges.keys()]) {
        const { waitingSince } = made;
        if (waitingSince !== undefined && now - waitingSince > BODY_IDLE_MS)
          made.stop(httpError('SPE005', BODY_IDLE_MS / 1000));
      }
      if (serving > 0 || now - usedAt <= IDLE_MS) return;
      // Who does not answer our end with its own has had its time.
      if (now - usedAt > IDLE_MS + LINGER_MS) transport?.destroy();
      else transport?.drain();
    },
    drain() {
      if (serving === 0) transport?.drain();
    },
    destroy() {
      transport?.destroy();
    },
  };
}

/** Claims that every token has anew; others make another subject of it, as far as policy is concerned. */
const PASSING: ReadonlySet<string> = new Set(['iat', 'exp', 'nbf', 'jti', 'warnafter']);

/** What is the same in all tokens of a subject. */
function lasting({ subject }: VerifiedIdentity): object {
  const { pod: _pod, claims, ...rest } = subject;
  const kept = JSON.stringify(claims, (name, value: unknown) => (PASSING.has(name) ? undefined : value));
  return { ...rest, kept };
}

const sameConnection = ({ connection }: ManagedSession, other: CompiledConnection): boolean =>
  connection.namespace === other.namespace && connection.name === other.name;

/** Of `Authorization: Bearer TOKEN`, or Basic with the token as the password, for tools that know nothing else. */
export function tokenOf(fields: HeaderFields): string | undefined {
  const value = field(fields, 'authorization');
  if (value === undefined) return undefined;
  const bearer = /^bearer +(\S+)$/i.exec(value);
  if (bearer !== null) return bearer[1];
  const basic = /^basic +([A-Za-z0-9+/=_-]+)$/i.exec(value);
  if (basic === null) return undefined;
  const pair = Buffer.from(basic[1] ?? '', 'base64').toString('latin1');
  const colon = pair.indexOf(':');
  return colon === -1 ? undefined : pair.slice(colon + 1);
}
