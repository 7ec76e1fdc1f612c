import type { Bundle, CompiledConnection, SessionFacts } from '../../../../policy/bundle.ts';
import type { Wire } from '../../../listener/wire.ts';
import type {
  AdmissionGate,
  ApprovalStore,
  BundleSource,
  CredentialLeases,
  CredentialSource,
  PostgresCredential,
  VerifiedIdentity,
} from '../../../ports.ts';
import { Outgoing } from '../../../session/buffer-pool.ts';
import type { Turn } from '../../../session/turn.ts';
import type { CatalogCache } from '../catalog/cache.ts';
import { type LaneReport, laneError, OF_THE_SERVER } from '../errors.ts';
import type { Environment, Judgement } from '../judge.ts';
import type { UpstreamSession } from '../upstream.ts';
import { errorResponse, sync } from '../wire/encode.ts';
import { STATUS } from '../wire/messages.ts';
import type { SessionMasking } from './masking.ts';
import { Portals } from './portals.ts';
import type { SessionRecord } from './record.ts';
import { type Prepared, Reply, ReplyQueue } from './replies.ts';

/** What a session needs from outside; the same for all sessions of a process. */
export interface LanePorts {
  readonly bundles: BundleSource;
  readonly gate: AdmissionGate;
  readonly approvals: ApprovalStore;
  readonly credentials: CredentialSource;
  readonly leases: CredentialLeases<PostgresCredential>;
  readonly turn: Turn;
  readonly limits: { readonly maxStatementBytes: number; readonly maxMessageBytes: number };
  readonly syncReads: boolean;
  /** Between two notices to a client whose command is held, in milliseconds. */
  readonly holdNoticeMs: number;
  /** For the log: what went wrong where nobody waits for it. */
  failed(session: string, what: string, error: Error): void;
  /** Commands of this subject on this connection in the running minute, this one included. */
  countCommand(connection: CompiledConnection, username: string): number;
  judgement(bundle: Bundle, connection: CompiledConnection, identity: VerifiedIdentity): Judgement | undefined;
}

/**
 * Everything that the two directions of one session share. It knows no message: `frontend.ts` and `backend.ts` do, and each
 * changes only what its direction learns.
 */
export class LaneSession {
  readonly id: string;
  readonly ports: LanePorts;
  readonly client: Wire;
  readonly upstream: Wire;
  readonly identity: VerifiedIdentity;
  readonly catalogs: CatalogCache;
  readonly record: SessionRecord;
  masking: SessionMasking;
  readonly database: string;
  readonly startedAt = new Date();
  readonly applicationName: string;

  /** What default_transaction_read_only was last set to here. */
  readOnly: boolean;
  bundle: Bundle;
  connection: CompiledConnection;
  judgement: Judgement;
  environment: Environment;

  readonly toUpstream = new Outgoing();
  readonly replies = new ReplyQueue();
  readonly prepared = new Map<string, Prepared>();
  readonly portals = new Portals();

  /** The login that was made for this session, or for the running command of it. Undefined: it is that of the catalog. */
  login: string | undefined;

  /** Status byte of the last ReadyForQuery. */
  status: number = STATUS.idle;
  /** Counts Sync and Query: messages of one number succeed or are skipped together. */
  batch = 0;
  /** Extended-protocol messages went out since the last Sync. */
  inBatch = false;
  /** The server failed and ignores everything up to the next Sync. */
  skipping = false;
  /** The client is sending COPY data: the server ignores Sync and Flush meanwhile. */
  copyIn = false;
  /** Syncs that came amid COPY data. Kept back: the server ignores them, unless the copy has failed by then. */
  heldSyncs = 0;

  /** search_path, role or temporary objects may have moved: ask the server before the next name is judged. */
  namesMoved = false;
  /** They moved since the transaction began, so that its end, or an error, may move them back. */
  namesMovedInTransaction = false;
  /** A definition changed: read the catalog before the next name is judged. */
  catalogMoved = false;
  /** Definitions changed in the open transaction: no snapshot shows them before it ends. */
  uncommitted = false;
  readonly temporary = new Set<string>();

  /** A command has run in the open pipeline: what it did is not committed before its Sync. */
  ranInBatch = false;
  /** ErrorResponses so far: whoever compares two counts knows whether there was one between. */
  failures = 0;
  /** Settings of other names than the server's own that this session has set. */
  readonly customSettings = new Set<string>();

  commands = 0;
  lastActivity = Date.now();
  /** The client has sent something since `lastActivity`. Whoever looks at the session notes when: asking for the time at every read is too dear. */
  heard = false;
  /** The client has said goodbye: the server will close the connection. */
  closing = false;
  /** The goodbye has been forwarded: from here on the client may go without anything being lost. */
  goodbyeSent = false;
  /** The client has the start of a message whose rest has not come from the server. */
  midMessage = false;
  /** The server has said, with an error of its own, that it ends the session. */
  dismissed = false;
  ended = false;
  readonly #ending = new AbortController();
  /** Aborted when the session ends. */
  readonly signal: AbortSignal = this.#ending.signal;
  onEnd: (reason: string) => void = () => {};

  /** Sends bytes of the gateway's own to the server, in order with the client's. Set by the frontend. */
  send: (bytes: Buffer) => void = () => {};

  /** Asks the server to cancel what it is doing for this session; resolves when it was told. Set once the session runs. */
  cancelUpstream: () => Promise<void> = () => Promise.resolve();
  /** A command waits for people: the session is not idle. */
  waiting = false;
  /** Withdraws the command that waits for people; false when none does. Set by the frontend. */
  cancelHeld: () => boolean = () => false;
  /** Goes on reading the client, up to a bound, so that its end is noticed while a command of it waits. Set by the frontend. */
  readOn: () => void = () => {};
  /** A further connection to the target under the session's own credential, for previews. Set once the session runs. */
  dial: (signal: AbortSignal) => Promise<UpstreamSession> = () =>
    Promise.reject(new Error('the session has not begun'));

  /** A cancel of the gateway's own is on its way: what is forwarded before it has arrived may be hit in place of its target. */
  cancelling: Promise<void> | undefined;

  readonly #emptied: (() => void)[] = [];

  constructor(init: {
    id: string;
    ports: LanePorts;
    client: Wire;
    upstream: Wire;
    identity: VerifiedIdentity;
    catalogs: CatalogCache;
    record: SessionRecord;
    masking: SessionMasking;
    database: string;
    applicationName: string;
    bundle: Bundle;
    connection: CompiledConnection;
    judgement: Judgement;
    environment: Environment;
  }) {
    this.id = init.id;
    this.ports = init.ports;
    this.client = init.client;
    this.upstream = init.upstream;
    this.identity = init.identity;
    this.catalogs = init.catalogs;
    this.record = init.record;
    this.masking = init.masking;
    this.database = init.database;
    this.applicationName = init.applicationName;
    this.readOnly = init.judgement.scope.readOnly;
    this.bundle = init.bundle;
    this.connection = init.connection;
    this.judgement = init.judgement;
    this.environment = init.environment;
  }

  recordFailed(error: Error): void {
    this.fail(laneError('SPG015', '', { detail: error.message }));
  }

  /** Stops the running command, and keeps the next one back until the server has been told. */
  cancelForLimit(): void {
    const cancelling = this.cancelUpstream().finally(() => {
      if (this.cancelling === cancelling) this.cancelling = undefined;
    });
    this.cancelling = cancelling;
  }

  get facts(): SessionFacts {
    return {
      id: this.id,
      startedAt: this.startedAt,
      clientAddress: this.client.remoteAddress,
      applicationName: this.applicationName,
      commands: this.commands,
    };
  }

  /** The ErrorResponse for a report, with the code and the session in DETAIL. */
  errorBytes(report: LaneReport, severity: 'ERROR' | 'FATAL' = 'ERROR'): Buffer {
    const { code, state, message, hint } = report;
    if (OF_THE_SERVER.has(code)) return errorResponse({ severity, code: state, message, detail: '', hint });
    const detail = [report.detail, `Sallyport ${code}, session ${this.id}.`].filter((part) => part).join(' ');
    return errorResponse({ severity, code: state, message, detail, hint });
  }

  /** Ends the session with a FATAL error that says why. Nothing that was not forwarded yet will be. */
  fail(report: LaneReport): void {
    if (this.ended) return;
    this.toUpstream.clear();
    // Within a message that is relayed as it comes, an error would be read as a piece of the value.
    if (!this.client.closed && !this.midMessage) this.client.write(this.errorBytes(report, 'FATAL'));
    // A server looks at its client only when it has something to send: what runs would go on after the session was ended.
    if (this.replies.size > 0) void this.cancelUpstream();
    this.finish(`${report.code}: ${report.message}`);
  }

  finish(reason: string): void {
    if (this.ended) return;
    this.ended = true;
    this.#ending.abort(new Error(reason));
    this.onEnd(reason);
    this.client.end();
    this.upstream.destroy();
    this.settleEmptied();
  }

  /** Resolves once the server has answered everything that was sent to it, or the session has ended. */
  drained(): Promise<void> {
    if (this.replies.size === 0 || this.ended) return Promise.resolve();
    return new Promise((resolve) => this.#emptied.push(resolve));
  }

  settleEmptied(): void {
    if (this.#emptied.length === 0) return;
    for (const resolve of this.#emptied.splice(0)) resolve();
  }

  /** COPY FROM STDIN begins: what the client pipelined behind it is read as COPY data or ignored by the server. */
  copyStarted(): void {
    this.copyIn = !this.replies.copyBegins();
  }

  /** The client has said that its COPY data ends, well or not. */
  copyEnded(): void {
    if (!this.copyIn) this.replies.copyEnded();
    this.copyIn = false;
    this.heldSyncs = 0;
  }

  /** The copy has failed: a Sync that came amid its data is due now. */
  copyFailed(): void {
    this.copyIn = false;
    if (this.heldSyncs === 0) return;
    this.skipping = false;
    this.inBatch = false;
    this.ranInBatch = false;
    for (; this.heldSyncs > 0; this.heldSyncs--) {
      this.replies.push(new Reply('sync'));
      this.batch++;
      this.send(sync());
    }
  }
  /** Puts the session under the bundle in force. Rejects, having ended the session, when the subject may no longer be here. */
  rescope: () => Promise<void> = () => Promise.resolve();

  /** A transaction has ended: what was set within it is gone, portals too. */
  transactionEnded(): void {
    if (this.namesMovedInTransaction) this.namesMoved = true;
    this.namesMovedInTransaction = false;
    if (this.uncommitted) this.catalogMoved = true;
    this.uncommitted = false;
    this.portals.dropConfirmed();
  }

  /** The server closed or broke the connection. */
  upstreamClosed(): void {
    if (this.ended) return;
    if (this.closing) this.finish('client closed');
    else if (this.dismissed) this.finish('the target ended the session');
    else this.fail(laneError('SPG016'));
  }
}
