import type { ApprovalRequest } from '../../api/resources.ts';
import type { Signers } from '../../approval/signers.ts';
import { COUNT_WANTED, isOpen, stateOf } from '../../approval/state.ts';
import type { CountedVote } from '../../approval/tally.ts';
import { neutralise } from '../../record/display.ts';
import type { ApprovalDecision, ApprovalGrant, ApprovalRefusal, EffectPreview } from '../ports.ts';
import type { ApprovalContext } from './context.ts';
import { ApprovalError, approvalText, causeOf } from './errors.ts';
import { type Examined, type ExamineFacts, examine, isUsed, refusal } from './examine.ts';
import { measuredOf } from './request.ts';
import { type RequestRef, refOf } from './request-store.ts';

/** One request that this process waits for or may use: what is in its file is looked at, and never believed without signatures. */
export interface Case {
  readonly ref: RequestRef;
  readonly hash: string;
  readonly expiresAt: number;
  /** Undecided, approved or over, as of the last look. */
  readonly decision: ApprovalDecision | undefined;
  /** Reads the file and counts the votes. Never rejects. */
  look(): Promise<void>;
  /** `look`, where the file or who may approve changed, or the time is over. */
  lookIfDue(): Promise<void>;
  decided(signal: AbortSignal): Promise<ApprovalDecision>;
  consume(): Promise<ApprovalGrant | ApprovalRefusal>;
  withdraw(reason: string): Promise<void>;
  onCountWanted(listener: () => void): () => void;
  previewed(preview: EffectPreview): Promise<void>;
  close(): Promise<void>;
}

export interface CaseFacts extends Omit<ExamineFacts, 'expired'> {
  /** Nothing is to be waited for any more. */
  readonly onEnd: () => void;
}

const MAX_TIMER_MS = 2_147_483_647;

export function createCase(context: ApprovalContext, facts: CaseFacts): Case {
  const { requests, used, log } = context;
  const { hash, request: own } = facts;
  const ref = refOf(own);
  const uid = own.metadata.uid ?? '';
  const expiresAt = Date.parse(own.spec.expiresAt);
  const deadline = context.monotonic() + (expiresAt - context.now());
  const waiting = new Set<(decision: ApprovalDecision) => void>();
  const countListeners = new Set<() => void>();
  let decision: ApprovalDecision | undefined;
  let lastStamp: string | undefined;
  let lastSigners: Signers | undefined;
  let rejectedVotes = false;
  let closed = false;
  let counted = 0;
  let countWanted: string | undefined;
  let countAnswered = true;
  let told = '';
  let running: Promise<void> | undefined;
  let again = false;

  // A clock that is set back does not make a request live longer, nor does one that is set forward.
  const expired = (): boolean => context.now() >= expiresAt || context.monotonic() >= deadline;
  const timer = setTimeout(() => void look(), Math.min(Math.max(expiresAt - context.now(), 0) + 1, MAX_TIMER_MS));
  timer.unref();

  function warn(message: string, why: Readonly<Record<string, unknown>>): void {
    const key = JSON.stringify([message, why]);
    if (key === told) return;
    told = key;
    log.warn({ request: `${ref.namespace}/${ref.name}`, ...why }, message);
  }

  async function examineNow(): Promise<Examined> {
    const found = await examine(context, { ...facts, expired });
    switch (found.state) {
      case 'Unknown':
        warn(found.error.message, { code: found.error.code, hint: found.error.hint });
        break;
      case 'Over':
        lastStamp = found.stored?.stamp;
        if (found.refusal.code === 'SPV012') warn(found.refusal.message, { code: 'SPV012' });
        break;
      case 'Open': {
        lastStamp = found.stored.stamp;
        lastSigners = found.signers;
        const { rejected } = found.tally;
        rejectedVotes = rejected.length > 0;
        if (rejectedVotes) warn('votes on a request do not count', { votes: rejected });
        break;
      }
      default:
        found satisfies never;
    }
    return found;
  }

  function settle(outcome: ApprovalDecision): void {
    decision = outcome;
    const all = [...waiting];
    waiting.clear();
    for (const resolve of all) resolve(outcome);
  }

  function end(state: 'Denied' | 'Expired' | 'Withdrawn', message: string): void {
    clearTimeout(timer);
    settle({ state, message });
    facts.onEnd();
  }

  /** Writes a state for people to see. That it cannot be written takes nothing back: what was decided does not rest on it. */
  async function write(
    change: (request: ApprovalRequest) => ApprovalRequest | undefined,
    event: Parameters<ApprovalContext['changed']>[1] | undefined,
  ): Promise<void> {
    let changed: ApprovalRequest | undefined;
    try {
      const stored = await requests.update(ref, (request) => {
        changed = request.metadata.uid === uid ? change(request) : undefined;
        return changed;
      });
      if (changed === undefined || stored === undefined) return;
      lastStamp = stored.stamp;
      if (event !== undefined) context.changed(stored.request, event);
    } catch (error) {
      warn('the state of a request for approval cannot be written', { code: 'SPV004', error: causeOf(error) });
    }
  }

  const withStatus = (request: ApprovalRequest, status: ApprovalRequest['status']): ApprovalRequest => ({
    ...request,
    status: { ...request.status, ...status },
  });
  const votersOf = (votes: readonly CountedVote[]): string =>
    votes
      .map(({ voter }) => voter.name)
      .join(', ')
      .slice(0, 512);
  const nowText = (): string => new Date(context.now()).toISOString();

  async function lookOnce(): Promise<void> {
    if (closed || (decision !== undefined && decision.state !== 'Approved')) return;
    let found: Examined;
    try {
      found = await examineNow();
    } catch (error) {
      warn('a request for approval cannot be looked at', { code: 'SPV004', error: causeOf(error) });
      return;
    }
    if (found.state === 'Unknown') return;
    if (found.state === 'Over') {
      end(found.over, found.refusal.message);
      if (found.over !== 'Expired') return;
      await write(
        (request) => (isOpen(stateOf(request)) ? withStatus(request, { state: 'Expired' }) : undefined),
        'Expired',
      );
      return;
    }
    const { stored, tally } = found;
    heedCount(stored.request);
    const voted = tally.approvals.length + tally.denials.length > counted;
    counted = tally.approvals.length + tally.denials.length;
    const { votes } = tally;
    switch (tally.state) {
      case 'Denied': {
        const decidedBy = votersOf(tally.denials);
        const reasons = tally.denials
          .flatMap(({ reason }) => (reason === undefined ? [] : [`: ${neutralise(reason)}`]))
          .join('');
        end('Denied', `${approvalText('SPV008', [ref.name, decidedBy]).message}${reasons}`);
        await write(
          (request) =>
            isOpen(stateOf(request))
              ? withStatus(request, { state: 'Denied', votes, decidedBy, decidedTime: nowText() })
              : undefined,
          'Denied',
        );
        return;
      }
      case 'Approved':
        settle({ state: 'Approved' });
        await write((request) => {
          const state = stateOf(request);
          if (state !== 'Pending' && state !== 'Orphaned') return undefined;
          const decidedBy = votersOf(tally.approvals);
          return withStatus(request, { state: 'Approved', votes, decidedBy, decidedTime: nowText() });
        }, 'Approved');
        return;
      case 'Pending':
        // A right was lost: whoever asks from now on waits again.
        decision = undefined;
        await write(
          (request) => {
            const state = stateOf(request);
            if (!isOpen(state) || (request.status?.votes ?? `0/${votes.split('/')[1]}`) === votes) return undefined;
            return withStatus(request, { state: state === 'Approved' ? 'Pending' : state, votes });
          },
          voted ? 'Voted' : undefined,
        );
        return;
      default: {
        const never: never = tally.state;
        throw new Error(`votes in unknown state ${String(never)}`);
      }
    }
  }

  function tellOne(listener: () => void): void {
    try {
      listener();
    } catch (error) {
      warn('a count cannot be made', { error: causeOf(error) });
    }
  }

  function heedCount({ metadata, status }: ApprovalRequest): void {
    const wanted = metadata.annotations?.[COUNT_WANTED];
    if (wanted === undefined || wanted === countWanted) return;
    countWanted = wanted;
    // Answered before this process came to it.
    const measured = status?.preview?.measured?.at;
    countAnswered = measured !== undefined && measured >= wanted;
    if (countAnswered) return;
    context.changed(own, 'CountWanted');
    for (const listener of countListeners) tellOne(listener);
  }

  /** One look at a time; a call while one is running makes it look once more, since it may have read the old file. */
  function look(): Promise<void> {
    again = true;
    running ??= (async () => {
      while (again) {
        again = false;
        await lookOnce();
      }
    })().finally(() => {
      running = undefined;
    });
    return running;
  }

  async function release(): Promise<ApprovalGrant | ApprovalRefusal> {
    const found = await examineNow();
    if (found.state !== 'Open') return found.refusal;
    const { tally } = found;
    if (tally.state === 'Denied') return refusal('SPV008', [ref.name, votersOf(tally.denials)]);
    if (tally.state !== 'Approved') return refusal('SPV011', [ref.name]);
    const { fingerprint } = own.spec.request;
    const claim = {
      uid,
      namespace: ref.namespace,
      name: ref.name,
      hash,
      ...(fingerprint === undefined || own.spec.reuseFor === undefined ? {} : { fingerprint }),
      votes: tally.approvals.map(({ id }) => id),
      at: nowText(),
    };
    try {
      if (!(await used.claim(claim))) return refusal('SPV010', [ref.name]);
    } catch (error) {
      // It may be used up for everybody, and nothing ran.
      if (await isUsed(context, uid))
        await write((request) => withStatus(request, { state: 'Failed', outcome: 'it was not let go' }), 'Failed');
      throw error;
    }
    let consumed: ApprovalRequest | undefined;
    await requests.update(ref, (request) => {
      if (request.metadata.uid !== uid) return undefined;
      const { votes } = tally;
      const decidedBy = votersOf(tally.approvals);
      const { decidedTime = nowText() } = request.status ?? {};
      consumed = withStatus(request, { state: 'Consumed', consumedTime: nowText(), votes, decidedBy, decidedTime });
      return consumed;
    });
    if (consumed === undefined) return refusal('SPV012', [ref.name]);
    end('Withdrawn', approvalText('SPV010', [ref.name]).message);
    context.changed(consumed, 'Consumed');
    return {
      state: 'Consumed',
      votes: tally.approvals.map(votedBy),
      settle: (outcome) =>
        write(
          (request) => (stateOf(request) === 'Consumed' ? withStatus(request, { state: outcome }) : undefined),
          outcome,
        ),
    };
  }

  return {
    ref,
    hash,
    expiresAt,
    get decision() {
      return decision;
    },
    look,
    async lookIfDue() {
      // A vote that does not count yet may count later, as one of a voter whose clock is ahead.
      if (rejectedVotes || expired()) return look();
      // A file that is gone, or a folder that cannot be read, is for the look to judge.
      const stamp = await requests.stamp(ref).catch(() => undefined);
      const signers = await context.signers.current().catch(() => undefined);
      if (stamp === undefined || stamp !== lastStamp || signers !== lastSigners) await look();
    },
    decided(signal) {
      if (signal.aborted) return Promise.reject(signal.reason);
      if (decision !== undefined) return Promise.resolve(decision);
      return new Promise((resolve, reject) => {
        const done = (value: ApprovalDecision): void => {
          signal.removeEventListener('abort', aborted);
          resolve(value);
        };
        const aborted = (): void => {
          waiting.delete(done);
          reject(signal.reason);
        };
        signal.addEventListener('abort', aborted, { once: true });
        waiting.add(done);
      });
    },
    async consume() {
      try {
        return await release();
      } catch (error) {
        if (error instanceof ApprovalError && error.code < 'SPV020') {
          warn('an approved request cannot be released', { code: error.code, error: error.message });
          return { state: 'Refused', code: error.code, message: error.message, hint: error.hint };
        }
        warn('an approved request cannot be released', { code: 'SPV004', error: causeOf(error) });
        return refusal('SPV004', [causeOf(error)]);
      }
    },
    async withdraw(reason) {
      if (await isUsed(context, uid)) return;
      const outcome = neutralise(reason).slice(0, 512);
      end('Withdrawn', approvalText('SPV009', [ref.name, outcome]).message);
      await write((request) => {
        // Another process waits for it too, and made it.
        const ours = request.status?.holder?.process === context.holder.process;
        return ours && isOpen(stateOf(request)) ? withStatus(request, { state: 'Withdrawn', outcome }) : undefined;
      }, 'Withdrawn');
    },
    onCountWanted(listener) {
      countListeners.add(listener);
      // Asked for before anybody listened.
      if (!countAnswered) queueMicrotask(() => countListeners.has(listener) && tellOne(listener));
      return () => countListeners.delete(listener);
    },
    async previewed(preview) {
      countAnswered = true;
      await write((request) => withStatus(request, { preview: measuredOf(preview) }), 'Measured');
    },
    async close() {
      closed = true;
      clearTimeout(timer);
      await running;
    },
  };
}

export function votedBy({ voter, at, reason }: CountedVote): ApprovalGrant['votes'][number] {
  return { voter: voter.name, at, ...(reason === undefined ? {} : { reason }) };
}
