import type { Bundle, CompiledConnection, SessionFacts } from '../../../../policy/bundle.ts';
import type { SshCommand } from '../../../../policy/command.ts';
import { createHolding, type Holding } from '../../../approval/holding.ts';
import type { Judged, Judgements, LaneContext } from '../../../lane.ts';
import { type ContentDetectors, createContentDetectors } from '../../../masking/detectors.ts';
import type { TokenKeys } from '../../../masking/port.ts';
import type { VerifiedIdentity } from '../../../ports.ts';
import { bringTokenKeys } from '../../../session/token-keys.ts';
import { gateReport, type SshReport, sshError } from '../errors.ts';
import { notApproved, storeRefused } from './approval-words.ts';
import { createSessionRecord, type SessionRecord } from './record.ts';
import { createVerdict, type Verdict } from './verdict.ts';

/** One subject on one connection under one bundle. */
export interface Judgement extends Judged {
  readonly connection: CompiledConnection;
}

/** What sessions need from outside; the same for all sessions of a process. */
export interface SessionPorts
  extends Pick<
    LaneContext,
    | 'bundles'
    | 'gate'
    | 'approvals'
    | 'credentials'
    | 'recorder'
    | 'limits'
    | 'holdNoticeMs'
    | 'countCommand'
    | 'failed'
    | 'stopping'
  > {
  readonly judgement: Judgements<Judgement>;
}

/** What is masked for the session now. */
export interface SessionMasks {
  readonly tokenKey: TokenKeys;
  readonly content: ContentDetectors | undefined;
}

/** One client that is in, or about to be. What its channels do is the gatekeeper's. */
export interface Session {
  readonly id: string;
  readonly ports: SessionPorts;
  readonly identity: VerifiedIdentity;
  readonly peer: string;
  readonly loginUser: string;
  readonly clientVersion: string;
  readonly startedAt: Date;
  readonly record: SessionRecord;
  readonly holding: Holding<SshReport>;
  /** Of the bundle that its last command was judged on. */
  readonly bundle: Bundle;
  readonly connection: CompiledConnection;
  readonly judgement: Judgement;
  readonly masks: SessionMasks;
  /** Commands so far. */
  readonly commands: number;
  /** Counts one more and returns its number. */
  nextCommand(): number;
  /** Aborted when the session ends; its reason says why. */
  readonly signal: AbortSignal;
  /** Puts the session under the bundle in force. Why it cannot go on, when it cannot: the session has ended then. */
  refresh(): Promise<SshReport | undefined>;
  judge(command: SshCommand): Verdict;
  /** Why nothing may run now, whatever policy says of it. */
  suspended(): SshReport | undefined;
  /** Ends it: the client reads why. */
  fail(report: SshReport): void;
  /** The record cannot be written: nothing may run any more. */
  recordFailed(error: Error): void;
  /** It has ended, for this reason. Only the first counts. */
  finish(reason: string, code?: string): void;
}

export interface SessionInit {
  readonly id: string;
  readonly ports: SessionPorts;
  readonly identity: VerifiedIdentity;
  readonly peer: string;
  readonly loginUser: string;
  readonly clientVersion: string;
  readonly bundle: Bundle;
  readonly connection: CompiledConnection;
  readonly judgement: Judgement;
  /** Tells the client why its session ends, and ends its connection. */
  readonly disconnect: (report: SshReport) => void;
  readonly onEnd: (reason: string, code: string | undefined) => void;
}

/** Coming back does not help where no policy is left. */
const WITHDRAWN = 'Ask the platform team for an AccessPolicy that names you.';

/** @throws CredentialError when a key of a mask cannot be read */
export async function createSession(init: SessionInit): Promise<Session> {
  const { id, ports, identity, peer, loginUser, clientVersion } = init;
  const startedAt = new Date();
  const ending = new AbortController();
  const record = createSessionRecord(
    ports.recorder.stream(init.connection.namespace, init.connection.name),
    id,
    init.connection.audit,
  );
  let { bundle, connection, judgement } = init;
  let masks = await masksOf(judgement);
  let commands = 0;
  let moving: Promise<SshReport | undefined> | undefined;

  async function masksOf({ scope, connection: of }: Judgement): Promise<SessionMasks> {
    const tokenKey = await bringTokenKeys(scope.masks, of, ports.credentials);
    return { tokenKey, content: createContentDetectors(scope.masks.content, tokenKey) };
  }

  const facts: SessionFacts = {
    id,
    startedAt,
    clientAddress: peer.slice(0, peer.lastIndexOf(':')),
    applicationName: clientVersion,
    get commands() {
      return commands;
    },
  };

  function fail(report: SshReport): void {
    if (ending.signal.aborted) return;
    init.disconnect(report);
    finish(`${report.code}: ${report.message}`, report.code);
  }

  function finish(reason: string, code?: string): void {
    if (ending.signal.aborted) return;
    ending.abort(new Error(reason));
    init.onEnd(reason, code);
  }

  const recordFailed = (error: Error): void => {
    ports.failed(id, 'the record cannot be written', error);
    fail(sshError('SPS007'));
  };

  async function move(): Promise<SshReport | undefined> {
    while (ports.bundles.current() !== bundle && !ending.signal.aborted) {
      const next = ports.bundles.current();
      const withdrawn = withdrawnBy(next, ports, connection, identity);
      if ('report' in withdrawn) {
        fail(withdrawn.report);
        return withdrawn.report;
      }
      const made = await masksOf(withdrawn.judgement);
      ({ judgement } = withdrawn);
      ({ connection } = judgement);
      masks = made;
      bundle = next;
    }
    return undefined;
  }

  return {
    ...{ id, ports, identity, peer, loginUser, clientVersion, startedAt, record },
    holding: createHolding<SshReport>({
      bundles: ports.bundles,
      noticeMs: ports.holdNoticeMs,
      record: {
        held: record.held,
        released: record.released,
        sync: () => record.stream.sync(),
      },
      recordFailed,
      failed: (what, error) => ports.failed(id, what, error),
      words: {
        notApproved,
        refused: storeRefused,
        broken: () => sshError('SPS004', 'something went wrong'),
      },
    }),
    get bundle() {
      return bundle;
    },
    get connection() {
      return connection;
    },
    get judgement() {
      return judgement;
    },
    get masks() {
      return masks;
    },
    get commands() {
      return commands;
    },
    nextCommand: () => ++commands,
    signal: ending.signal,
    async refresh() {
      if (ports.bundles.current() === bundle) return undefined;
      moving ??= move().finally(() => {
        moving = undefined;
      });
      return moving;
    },
    judge: (command) => createVerdict(command, judgement.scope.decide(command, { now: new Date(), session: facts })),
    suspended() {
      const kept = ports.gate.suspension(connection);
      if (kept !== undefined) return gateReport(kept);
      return Date.now() >= identity.sessionExpiresAt.getTime() ? EXPIRED : undefined;
    },
    fail,
    recordFailed,
    finish,
  };
}

/** The right to be here under a bundle, or why there is none. */
export function withdrawnBy(
  bundle: Bundle,
  ports: Pick<SessionPorts, 'judgement'>,
  { namespace, name }: CompiledConnection,
  identity: VerifiedIdentity,
): { readonly judgement: Judgement } | { readonly report: SshReport } {
  const connection = bundle.connection(namespace, name);
  const judgement = connection === undefined ? undefined : ports.judgement(bundle, connection, identity);
  const revoked = judgement?.scope.revoked;
  if (judgement !== undefined && revoked === undefined) return { judgement };
  return { report: sshError('SPS006', 'your access was withdrawn', { hint: revoked?.message ?? WITHDRAWN }) };
}

export const EXPIRED: SshReport = sshError('SPS006', 'your token has expired', {
  hint: 'Connect again with a fresh token.',
});
