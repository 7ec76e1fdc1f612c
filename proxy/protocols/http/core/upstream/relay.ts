import type { Duplex } from 'node:stream';
import { DISCARD_BYTES, type RequestBody } from '../body.ts';
import { HttpRefused, type HttpReport, httpError, reportOf } from '../errors.ts';
import { field, withField, withoutFields } from '../headers.ts';
import type {
  AnswerHandler,
  BodyTransform,
  ForwardRequest,
  HeaderFields,
  Outcome,
  ResponseHead,
  Rewritten,
  SendControl,
  UpstreamSend,
} from '../port.ts';
import type { Incoming } from '../wire/incoming.ts';
import { TargetFailure, upstreamReport } from './failure.ts';

/** What one request and its answer need. */
export interface RelayInit {
  readonly incoming: Incoming;
  readonly request: ForwardRequest;
  readonly send: UpstreamSend;
  readonly body: RequestBody;
  /** Whether the request may be sent again on another connection, when a kept one turns out to be closed. */
  readonly again: boolean;
  /** Refuses the exchange: nothing went out yet. Resolves when the refusal is out. */
  readonly refuse: (report: HttpReport) => Promise<void>;
  /** The target has agreed to an upgrade. Resolves when it is over. */
  readonly upgraded: ((head: ResponseHead, socket: Duplex) => Promise<Outcome>) | undefined;
}

/** Sends a request and relays its answer as it comes, back-pressure both ways. */
export function relay(init: RelayInit): Relay {
  const started = new Relay(init);
  started.start();
  return started;
}

const CONTENT_LENGTH: ReadonlySet<string> = new Set(['content-length']);

/** A class for the sake of speed: one object for each request and no closures. */
export class Relay implements AnswerHandler {
  readonly outcome: Promise<Outcome>;
  readonly #init: RelayInit;
  readonly #incoming: Incoming;
  #resolve: (outcome: Outcome) => void = () => {};
  #control: SendControl | undefined;
  #transform: BodyTransform | undefined;
  #sent: ((chunk: Buffer) => void) | undefined;
  #trailers: Rewritten['trailers'];
  #status = 0;
  #bytes = 0;
  #again = false;
  #answering = false;
  /** `respond` is being waited for: what comes meanwhile. */
  #pending: Buffer[] | undefined;
  #ended: HeaderFields | undefined;
  #bodyReplaced = false;
  /** The client was told how long the body is. */
  #measured = false;
  #settled = false;
  #report: HttpReport | undefined;

  constructor(init: RelayInit) {
    this.#init = init;
    this.#incoming = init.incoming;
    this.outcome = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  start(): void {
    const { incoming, send } = this.#init;
    incoming.onDrain = () => this.#control?.resume();
    incoming.onClosed = (whole) => this.#closed(whole);
    if (incoming.gone) this.#closed(false);
    else this.#send(send);
  }

  #send(request: UpstreamSend): void {
    const { pool } = this.#init.request;
    try {
      this.#control = pool.send(request, this);
    } catch (error) {
      this.#refuse(upstreamReport(pool.target.label, error));
    }
  }

  /** See `AnswerControl`. */
  conclude(last: Buffer): boolean {
    if (!this.#answering || this.#settled || this.#bodyReplaced || this.#measured) return false;
    // From here on the target is not listened to.
    this.#bodyReplaced = true;
    this.#control?.abort();
    if (last.length > 0) {
      this.#sent?.(last);
      this.#bytes += last.length;
      this.#incoming.write(last);
    }
    this.#incoming.end();
    return true;
  }

  /** Ends it from this side, for this reason. */
  stop(report: HttpReport): void {
    if (this.#settled) return;
    this.#report ??= report;
    this.#control?.abort();
    if (this.#answering) this.#incoming.destroy();
    else this.#refuse(report);
  }

  onUpgrade(headers: HeaderFields, socket: Duplex): void {
    const { upgraded } = this.#init;
    // Its close tells of it.
    socket.on('error', () => {});
    if (upgraded === undefined || this.#settled) {
      socket.destroy();
      return;
    }
    this.#answering = true;
    this.#settled = true;
    upgraded({ status: 101, headers }, socket).then(this.#resolve, (error: unknown) => {
      socket.destroy();
      this.#incoming.destroy();
      this.#resolve({ status: 101, requestBytes: 0, responseBytes: 0, complete: false, report: reportOf(error) });
    });
  }

  onHead(status: number, headers: HeaderFields): void {
    // 102 and 103 say nothing that a client needs.
    if (status < 200 || this.#settled) return;
    const head: ResponseHead = { status, headers };
    const { respond } = this.#init.request;
    if (respond === undefined) {
      this.#begin({ head });
      return;
    }
    let rewritten: Rewritten | Promise<Rewritten>;
    try {
      rewritten = respond(head);
    } catch (error) {
      this.#refuseAndAbort(reportOf(error));
      return;
    }
    if (!(rewritten instanceof Promise)) {
      this.#begin(rewritten);
      return;
    }
    this.#control?.pause();
    this.#pending = [];
    rewritten.then(
      (made) => this.#release(made),
      (error: unknown) => this.#refuseAndAbort(reportOf(error)),
    );
  }

  #release(rewritten: Rewritten): void {
    if (this.#settled) return;
    const pending = this.#pending ?? [];
    this.#pending = undefined;
    this.#begin(rewritten);
    for (const chunk of pending) this.#pass(chunk);
    if (this.#ended !== undefined) this.#finish(this.#ended);
    else if (!this.#bodyReplaced) {
      this.onPartial();
      this.#control?.resume();
    }
  }

  #begin({ head, transform, keepsLength, body, sent, trailers }: Rewritten): void {
    const { status } = head;
    this.#answering = true;
    this.#status = status;
    this.#transform = transform;
    this.#sent = sent;
    this.#trailers = trailers;
    let { headers } = head;
    if ((transform !== undefined && keepsLength !== true) || status === 204 || status < 200)
      headers = withoutFields(headers, CONTENT_LENGTH);
    if (body !== undefined) {
      headers = withField(headers, 'content-length', String(body.length));
    }
    this.#measured = field(headers, 'content-length') !== undefined;
    try {
      this.#incoming.writeHead(status, headers);
    } catch {
      this.#answering = false;
      this.#refuseAndAbort(httpError('SPE019', [this.#init.request.pool.target.label, 'a field of its head']));
      return;
    }
    if (body !== undefined) {
      this.#bodyReplaced = true;
      this.#control?.abort();
      try {
        sent?.(body);
      } catch (error) {
        this.#breakOff(error);
        return;
      }
      this.#bytes = body.length;
      this.#incoming.write(body);
      this.#incoming.end();
      this.#init.body.discard(DISCARD_BYTES);
      return;
    }
    this.#init.request.onBegin?.(this);
  }

  onData(chunk: Buffer): void {
    if (this.#pending !== undefined) this.#pending.push(Buffer.from(chunk));
    else this.#pass(chunk);
  }

  /** What came in the same read goes out in the same write; a head alone must not wait for a body that is slow. */
  onPartial(): void {
    if (this.#answering && !this.#settled && !this.#bodyReplaced) this.#incoming.flushHead();
  }

  #pass(chunk: Buffer): void {
    if (this.#settled || this.#bodyReplaced || !this.#answering) return;
    if (this.#transform === undefined) this.#write(chunk);
    else {
      let made: Buffer | undefined;
      try {
        made = this.#transform.write(chunk);
      } catch (error) {
        this.#breakOff(error);
        return;
      }
      if (made !== undefined && made.length > 0) this.#write(made);
    }
  }

  #write(chunk: Buffer): void {
    try {
      this.#sent?.(chunk);
    } catch (error) {
      this.#breakOff(error);
      return;
    }
    this.#bytes += chunk.length;
    if (!this.#incoming.write(chunk)) this.#control?.pause();
  }

  onEnd(trailers: HeaderFields): void {
    if (this.#pending !== undefined) this.#ended = trailers;
    else this.#finish(trailers);
  }

  #finish(trailers: HeaderFields): void {
    if (this.#settled || this.#bodyReplaced || !this.#answering) return;
    if (this.#transform !== undefined) {
      try {
        const rest = this.#transform.end();
        if (rest !== undefined && rest.length > 0) this.#write(rest);
      } catch (error) {
        this.#breakOff(error);
        return;
      }
      if (this.#settled || this.#report !== undefined) return;
    }
    let passed = trailers;
    try {
      if (this.#trailers !== undefined) passed = this.#trailers(trailers);
    } catch (error) {
      this.#breakOff(error);
      return;
    }
    this.#incoming.end(passed);
    // An answer that came before the body was whole: what is left of it is nobody's.
    this.#init.body.discard(DISCARD_BYTES);
  }

  onError(error: Error, { reused, answered }: { readonly reused: boolean; readonly answered: boolean }): void {
    if (this.#settled || this.#bodyReplaced) return;
    const { request, again, send } = this.#init;
    const { pool } = request;
    const stale = reused && !answered && error instanceof TargetFailure && error.kind === 'closed';
    if (again && stale && !this.#again && this.#report === undefined) {
      this.#again = true;
      this.#send({ ...send, fresh: true });
      return;
    }
    const report = this.#report ?? upstreamReport(pool.target.label, error);
    if (this.#answering) {
      this.#report ??= report;
      this.#incoming.destroy();
    } else this.#refuse(report);
  }

  /** The transform failed: what went out stays without its end. */
  #breakOff(error: unknown): void {
    const report = error instanceof HttpRefused ? error.report : httpError('SPE023', 'it could not be rewritten');
    this.#report ??= report;
    this.#control?.abort();
    this.#incoming.destroy();
  }

  #refuseAndAbort(report: HttpReport): void {
    this.#pending = undefined;
    this.#report ??= report;
    this.#refuse(report);
    this.#control?.abort();
  }

  #refuse(report: HttpReport): void {
    if (this.#settled) return;
    this.#settled = true;
    this.#incoming.onClosed = () => {};
    this.#init.refuse(report).then(
      () => this.#resolve(this.#made(false, report)),
      () => this.#resolve(this.#made(false, report)),
    );
  }

  /** The client's side is over. */
  #closed(whole: boolean): void {
    if (this.#settled) return;
    this.#settled = true;
    const complete = whole && this.#report === undefined;
    if (!complete) this.#control?.abort();
    this.#resolve(this.#made(complete, complete ? undefined : (this.#report ?? httpError('SPE020'))));
  }

  #made(complete: boolean, report: HttpReport | undefined): Outcome {
    return {
      status: this.#answering ? this.#status : (report?.status ?? 0),
      requestBytes: this.#init.body.bytes,
      responseBytes: this.#bytes,
      complete,
      ...(report === undefined ? {} : { report }),
    };
  }
}
