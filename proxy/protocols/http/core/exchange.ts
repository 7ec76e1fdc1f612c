import type { Duplex, Readable } from 'node:stream';
import type { VerifiedIdentity } from '../../../ports.ts';
import { createRequestBody, DISCARD_BYTES, discardBody, NO_BODY, type RequestBody } from './body.ts';
import type { BodyBudget } from './body-budget.ts';
import { HttpRefused, type HttpReport, httpError } from './errors.ts';
import { OURS_TO_WRITE } from './field-syntax.ts';
import { SAFE_METHODS } from './head.ts';
import { withoutFields } from './headers.ts';
import type {
  Answer,
  AskAnswer,
  AskRequest,
  Exchange,
  ForwardRequest,
  HeaderFields,
  Outcome,
  RequestHead,
  UpstreamRequest,
  UpstreamSend,
} from './port.ts';
import type { ManagedSession } from './session.ts';
import { ask, connectUpgrade } from './upstream/ask.ts';
import { type Relay, type RelayInit, relay } from './upstream/relay.ts';
import { splice } from './upstream/splice.ts';
import type { Incoming } from './wire/incoming.ts';

const SWITCHING = 101;
/** For the last words on a connection that was handed over. */
const GOODBYE_MS = 500;

export interface ExchangeInit {
  readonly incoming: Incoming;
  readonly head: RequestHead;
  readonly expectsContinue: boolean;
  readonly session: ManagedSession;
  readonly seq: number;
  readonly budget: BodyBudget;
  readonly render: (report: HttpReport, head: RequestHead) => Answer;
}

export interface ManagedExchange extends Exchange {
  /** One of the ways to end it was begun. */
  readonly ending: boolean;
  /** Ends it from outside, such as when its session ends. */
  stop(report: HttpReport): void;
  /** When the client was last waited for as it sends a body. Milliseconds since 1970. */
  readonly waitingSince: number | undefined;
  /** It has ended: what it held is free. */
  release(): void;
}

export function createExchange(init: ExchangeInit): ManagedExchange {
  return new ClientExchange(init);
}

const bodyOf = ({ incoming, expectsContinue, budget }: ExchangeInit): RequestBody =>
  createRequestBody(
    incoming,
    () => {
      if (expectsContinue) incoming.sendContinue();
    },
    budget,
  );

class ClientExchange implements ManagedExchange {
  readonly head: RequestHead;
  readonly session: ManagedSession;
  readonly seq: number;
  readonly startedAt = Date.now();
  readonly #init: ExchangeInit;
  readonly #incoming: Incoming;
  readonly #body: RequestBody;
  #read: Buffer | undefined;
  #abort: AbortController | undefined;
  #stopped: HttpReport | undefined;
  /** Why it was ended from outside, and not by its client. */
  #ended: HttpReport | undefined;
  #relay: Relay | undefined;
  #taken: Duplex | undefined;
  /** It is spoken on by whoever handles the exchange. */
  #handedOver = false;
  ending = false;

  constructor(init: ExchangeInit) {
    this.#init = init;
    this.#incoming = init.incoming;
    this.head = init.head;
    this.session = init.session;
    this.seq = init.seq;
    this.#body = init.head.hasBody ? bodyOf(init) : NO_BODY;
    init.incoming.onClosed = () => this.#cancel(httpError('SPE020'));
  }

  get identity(): VerifiedIdentity {
    return this.session.identity;
  }

  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController();
      if (this.#stopped !== undefined) this.#abort.abort(new HttpRefused(this.#stopped));
      else if (this.#incoming.gone) this.#abort.abort(new HttpRefused(httpError('SPE020')));
    }
    return this.#abort.signal;
  }

  get stopped(): HttpReport | undefined {
    return this.#stopped ?? (this.#abort === undefined && this.#incoming.gone ? httpError('SPE020') : undefined);
  }

  get answered(): boolean {
    return this.#incoming.begun;
  }

  get waitingSince(): number | undefined {
    return this.#body.waitingSince;
  }

  release(): void {
    this.#body.release();
  }

  #cancel(report: HttpReport): void {
    if (this.#stopped !== undefined) return;
    this.#stopped = report;
    const error = new HttpRefused(report);
    this.#abort?.abort(error);
    this.#body.fail(error);
  }

  stop(report: HttpReport): void {
    this.#ended ??= report;
    this.#cancel(report);
    if (this.#taken !== undefined) this.#endTaken(this.#taken);
    else if (this.#relay !== undefined) this.#relay.stop(report);
    else if (this.#incoming.begun) this.#incoming.destroy();
  }

  /** Who was handed a connection has heard of it by the signal, and says goodbye in its own protocol; a splice has none. */
  #endTaken(client: Duplex): void {
    if (!this.#handedOver) {
      client.destroy();
      return;
    }
    const timer = setTimeout(() => client.destroy(), GOODBYE_MS).unref();
    client.once('close', () => clearTimeout(timer));
  }

  async readBody(limit: number): Promise<Buffer> {
    if (this.#stopped !== undefined) throw new HttpRefused(this.#stopped);
    const { contentLength } = this.head;
    if (contentLength !== undefined && contentLength > limit) throw new HttpRefused(httpError('SPE012', limit));
    const body = await this.#body.buffer(limit);
    this.#read = body;
    return body;
  }

  body(): Readable {
    return this.#body.stream();
  }

  async answer(status: number, headers: HeaderFields, body: Buffer | string = ''): Promise<void> {
    this.#end();
    await this.#send({ status, headers, body });
  }

  async refuse(report: HttpReport): Promise<void> {
    this.#end();
    await this.#send(this.#init.render(report, this.head));
  }

  #end(): void {
    if (this.ending) throw new Error('this exchange has been ended already');
    this.ending = true;
  }

  #send(answer: Answer): Promise<void> {
    return sendAnswer(this.#incoming, this.#body, answer);
  }

  forward(request: ForwardRequest): Promise<Outcome> {
    this.#end();
    return this.#forward(request);
  }

  async #forward(request: ForwardRequest, upgraded?: RelayInit['upgraded']): Promise<Outcome> {
    // What has ended meanwhile is not sent: not even begun.
    if (this.#stopped !== undefined) return this.#unsent(this.#stopped);
    const send = this.#sendOf(request, upgraded === undefined ? undefined : this.head.upgrade);
    this.#relay = relay({
      incoming: this.#incoming,
      request,
      send,
      body: this.#body,
      // Once more: it would change nothing.
      again: send.body === null && upgraded === undefined && SAFE_METHODS.has(send.method),
      refuse: (report) => this.#send(this.#init.render(report, this.head)),
      upgraded,
    });
    const outcome = await this.#relay.outcome;
    // What the client still sends belongs to nothing.
    if (!outcome.complete) this.#cancel(outcome.report ?? httpError('SPE020'));
    this.#body.discard(DISCARD_BYTES);
    return outcome;
  }

  async #unsent(report: HttpReport): Promise<Outcome> {
    await this.#send(this.#init.render(report, this.head));
    return { status: report.status, requestBytes: 0, responseBytes: 0, complete: false, report };
  }

  #sendOf(request: ForwardRequest, upgrade: string | undefined): UpstreamSend {
    const { head } = this;
    const buffer = request.body ?? this.#read;
    const streamed = buffer === undefined && head.hasBody && upgrade === undefined;
    return {
      method: request.method ?? head.method,
      target: request.target ?? head.target,
      headers: request.headers ?? head.headers,
      host: request.host,
      body: streamed ? this.#body.stream(request.passing) : (buffer ?? null),
      contentLength: streamed ? head.contentLength : undefined,
      upgrade,
      headersTimeoutMs: request.headersTimeoutMs,
      bodyTimeoutMs: request.bodyTimeoutMs,
    };
  }

  ask(request: AskRequest): Promise<AskAnswer> {
    return ask(request, { ...this.#base(request), body: request.body ?? null }, this.signal);
  }

  #base(request: UpstreamRequest): UpstreamSend {
    const { head } = this;
    return {
      method: request.method ?? head.method,
      target: request.target ?? head.target,
      headers: request.headers ?? head.headers,
      host: request.host,
      body: null,
    };
  }

  async splice(request: Parameters<Exchange['splice']>[0]): Promise<Outcome> {
    this.#end();
    if (this.head.upgrade === undefined) throw new HttpRefused(httpError('SPE022', 'websocket'));
    const protocol = this.head.upgrade;
    return this.#forward(request, async ({ headers }, target) => {
      const rewritten = await request.respond?.({ status: SWITCHING, headers });
      const client = this.#accept(rewritten?.head.headers ?? headers, protocol);
      return splice(client, target, request.watch, () => this.#ended);
    });
  }

  accept(headers: HeaderFields): Duplex {
    const protocol = this.head.upgrade;
    this.#end();
    if (protocol === undefined) throw new HttpRefused(httpError('SPE022', 'websocket'));
    this.#handedOver = true;
    return this.#accept(headers, protocol);
  }

  #accept(headers: HeaderFields, protocol: string): Duplex {
    const client = this.#take();
    const lines = [
      `HTTP/1.1 101 Switching Protocols`,
      'Connection: Upgrade',
      `Upgrade: ${protocol === 'spdy/3.1' ? 'SPDY/3.1' : protocol}`,
    ];
    const fields = withoutFields(headers, OURS_TO_WRITE);
    for (let index = 0; index + 1 < fields.length; index += 2) lines.push(`${fields[index]}: ${fields[index + 1]}`);
    client.write(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
    return client;
  }

  takeOver(): Duplex {
    this.#end();
    this.#handedOver = true;
    return this.#take();
  }

  #take(): Duplex {
    const client = this.#incoming.takeOver();
    if (client === undefined) throw new HttpRefused(httpError('SPE022', this.head.upgrade ?? 'websocket'));
    this.#taken = client;
    client.on('error', () => {});
    client.once('close', () => this.#cancel(httpError('SPE020')));
    return client;
  }

  connect(request: UpstreamRequest & { readonly upgrade: string }): ReturnType<Exchange['connect']> {
    return connectUpgrade(request.pool, { ...this.#base(request), upgrade: request.upgrade }, this.signal);
  }
}

/** Sends an answer of ours; resolves when it is handed over, or the client is gone. */
export function sendAnswer(incoming: Incoming, body: RequestBody | undefined, answer: Answer): Promise<void> {
  return new Promise((resolve) => {
    if (incoming.gone || incoming.begun) {
      // Something went out already: the client must not take it for whole.
      if (incoming.begun) incoming.destroy();
      resolve();
      return;
    }
    const bytes = typeof answer.body === 'string' ? Buffer.from(answer.body) : answer.body;
    incoming.onClosed = () => resolve();
    try {
      const headers = withoutFields(answer.headers, OURS_TO_WRITE);
      const bare = answer.status === 204 || answer.status === 304;
      incoming.writeHead(answer.status, bare ? headers : [...headers, 'content-length', String(bytes.length)]);
      if (!bare && bytes.length > 0) incoming.write(bytes);
      incoming.end();
    } catch (error) {
      incoming.destroy();
      resolve();
      throw error;
    }
    if (body === undefined) discardBody(incoming, DISCARD_BYTES);
    else body.discard(DISCARD_BYTES);
  });
}
