import type { ApprovalRequest } from '../../api/resources.ts';
import { NO_SIGNERS, type Signers } from '../../approval/signers.ts';
import { isOpen, stateOf } from '../../approval/state.ts';
import { asksForThemselves, isApprover } from '../../approval/tally.ts';
import type { ApprovalRefusal, ApprovalStore, ApprovalTicket, HeldCommand } from '../ports.ts';
import { type Case, createCase } from './case.ts';
import type { ApprovalContext } from './context.ts';
import { ApprovalError, causeOf } from './errors.ts';
import { refusal } from './examine.ts';
import { baseName, commandHash, fingerprintHash, numberedName } from './hash.ts';
import { createNamespaceIndex, type NamespaceIndex } from './namespace-index.ts';
import { createQueues } from './queues.ts';
import { approverWords, buildRequest, firstRule, isRequestFor } from './request.ts';
import { type RequestWatch, refOf, type StoredRequest } from './request-store.ts';
import { findReusable, type Reusable } from './reuse.ts';

export interface Approvals extends ApprovalStore {
  close(): Promise<void>;
}

const MAX_PENDING_OF_SUBJECT = 5;
const MAX_PENDING_ON_CONNECTION = 100;
/** A name is taken by others at most this often in a row before the store counts as unusable. */
const ATTEMPTS = 20;

interface Namespace {
  readonly index: NamespaceIndex;
  readonly watch: RequestWatch;
}

/**
 * Approvals over any store of requests. Votes are believed for their signatures; everything else that the store holds is for people.
 */
export function createApprovals(context: ApprovalContext): Approvals {
  const { requests } = context;
  const namespaces = new Map<string, Namespace>();
  const cases = new Map<string, Case & { tickets: number }>();
  const queue = createQueues();

  async function open(name: string): Promise<Namespace> {
    const known = namespaces.get(name);
    if (known !== undefined) return known;
    await requests.prepare(name);
    const opened = namespaces.get(name);
    if (opened !== undefined) return opened;
    const index = createNamespaceIndex(context, name);
    const watch = requests.watch(name, (changed) => {
      index.dirty(changed);
      if (changed !== undefined) void cases.get(`${name}/${changed}`)?.lookIfDue();
      else for (const [key, each] of cases) if (key.startsWith(`${name}/`)) void each.lookIfDue();
    });
    const made = { index, watch };
    namespaces.set(name, made);
    return made;
  }

  function caseOf(command: HeldCommand, hash: string, request: ApprovalRequest): Case & { tickets: number } {
    const key = `${request.metadata.namespace}/${request.metadata.name}`;
    const known = cases.get(key);
    if (known !== undefined) return known;
    const made: Case = createCase(context, { command, hash, request, onEnd: () => cases.delete(key) });
    const counted = Object.assign(made, { tickets: 0 });
    cases.set(key, counted);
    return counted;
  }

  async function submit(command: HeldCommand): Promise<ApprovalTicket | ApprovalRefusal> {
    const impossible = whyImpossible(command, await context.signers.current());
    if (impossible !== undefined) return impossible;
    const hash = commandHash(command);
    const fingerprint = fingerprintHash(command);
    const base = baseName(command, hash);
    const { index } = await open(command.connection.namespace);
    // The same command at once is one request, and looks at one file at a time.
    return queue(`${command.connection.namespace}/${base}`, async () => {
      await index.refresh();
      if (fingerprint !== undefined) {
        const reusable = await findReusable(context, index.reusable(fingerprint), command, fingerprint);
        if (reusable !== undefined) return reusedTicket(command, hash, reusable);
      }
      for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
        const number = index.latest(base);
        const found = number === 0 ? undefined : await attach(command, hash, fingerprint, numberedName(base, number));
        if (found !== undefined) return found;
        const made = await create(command, hash, fingerprint, numberedName(base, number + 1), index);
        if (made !== undefined) return made;
      }
      return refusal('SPV004', ['EEXIST']);
    });
  }

  /** The ticket of a request that is there and still good for this command; undefined: another one has to be made. */
  async function attach(
    command: HeldCommand,
    hash: string,
    fingerprint: string | undefined,
    name: string,
  ): Promise<ApprovalTicket | undefined> {
    const ref = { namespace: command.connection.namespace, name };
    let stored: StoredRequest | undefined;
    try {
      stored = await requests.read(ref);
    } catch (error) {
      if (!(error instanceof ApprovalError)) throw error;
      context.log.warn({ code: error.code, hint: error.hint }, error.message);
      return undefined;
    }
    if (stored === undefined || !isOpen(stateOf(stored.request))) return undefined;
    // Also where this process waits for it already: the policy may ask for more since.
    if (!isRequestFor(stored.request, command, hash, fingerprint)) return undefined;
    const found = caseOf(command, hash, stored.request);
    await found.look();
    if (found.decision !== undefined && found.decision.state !== 'Approved') return undefined;
    if (found.decision === undefined) await adopt(stored.request);
    return ticket(found, command);
  }

  /** A request whose holder is gone waits in this process from now on. */
  async function adopt(request: ApprovalRequest): Promise<void> {
    const holder = request.status?.holder;
    const state = stateOf(request);
    if (state !== 'Orphaned' && !(state === 'Pending' && (await context.isGone(holder)) === true)) return;
    await requests.update(refOf(request), (found) =>
      found.metadata.uid === request.metadata.uid &&
      (stateOf(found) === 'Orphaned' ||
        (stateOf(found) === 'Pending' && found.status?.holder?.process === holder?.process))
        ? { ...found, status: { ...found.status, state: 'Pending', holder: context.holder } }
        : undefined,
    );
  }

  async function create(
    command: HeldCommand,
    hash: string,
    fingerprint: string | undefined,
    name: string,
    index: NamespaceIndex,
  ): Promise<ApprovalTicket | ApprovalRefusal | undefined> {
    const now = context.now();
    const pending = index.pending(now);
    const ofSubject = pending.ofSubject(command.subject.username);
    if (ofSubject >= MAX_PENDING_OF_SUBJECT) return refusal('SPV005', [ofSubject]);
    const onConnection = pending.onConnection(command.connection.name);
    if (onConnection >= MAX_PENDING_ON_CONNECTION) return refusal('SPV006', [onConnection]);
    const request = buildRequest(command, { name, hash, fingerprint, holder: context.holder, now });
    index.put(request, '');
    let stored: StoredRequest | undefined;
    try {
      stored = await requests.create(request);
    } catch (error) {
      index.remove(name);
      throw error;
    }
    if (stored === undefined) {
      index.remove(name);
      index.taken(name);
      index.dirty(name);
      await index.refresh();
      return undefined;
    }
    index.put(stored.request, stored.stamp);
    const made = caseOf(command, hash, stored.request);
    context.changed(stored.request, 'Created');
    return ticket(made, command);
  }

  function ticket(found: Case & { tickets: number }, command: HeldCommand): ApprovalTicket {
    let withdrawn: string | undefined;
    found.tickets++;
    return {
      name: found.ref.name,
      hash: found.hash,
      expiresAt: new Date(found.expiresAt),
      approvers: approverWords(command.requirements, connectionText(command)),
      approved: found.decision?.state === 'Approved',
      decided: (signal) => found.decided(signal),
      consume: () =>
        withdrawn === undefined ? found.consume() : Promise.resolve(refusal('SPV009', [found.ref.name, withdrawn])),
      async withdraw(reason) {
        if (withdrawn !== undefined) return;
        withdrawn = reason;
        found.tickets--;
        // Others wait for the same command.
        if (found.tickets === 0) await found.withdraw(reason);
      },
      onCountWanted: (listener) => found.onCountWanted(listener),
      previewed: (preview) => found.previewed(preview),
    };
  }

  function reusedTicket(command: HeldCommand, hash: string, reusable: Reusable): ApprovalTicket {
    return {
      name: reusable.ref.name,
      hash,
      expiresAt: new Date(reusable.expiresAt),
      approvers: approverWords(command.requirements, connectionText(command)),
      approved: true,
      decided: (signal) => (signal.aborted ? Promise.reject(signal.reason) : Promise.resolve({ state: 'Approved' })),
      consume: reusable.consume,
      withdraw: () => Promise.resolve(),
      onCountWanted: () => () => {},
      previewed: () => Promise.resolve(),
    };
  }

  return {
    async submit(command) {
      try {
        return await submit(command);
      } catch (error) {
        if (error instanceof ApprovalError && error.code < 'SPV020') {
          return { state: 'Refused', code: error.code, message: error.message, hint: error.hint };
        }
        const cause = error instanceof ApprovalError ? error.code : causeOf(error);
        context.log.warn({ code: 'SPV004', error: cause }, 'a request for approval cannot be kept');
        return refusal('SPV004', [cause]);
      }
    },
    async close() {
      for (const { watch } of namespaces.values()) watch.close();
      await Promise.all([...cases.values()].map((each) => each.close()));
    },
  };
}

const connectionText = ({ connection }: HeldCommand): string => `${connection.namespace}/${connection.name}`;

/** Why no request is made at all. */
function whyImpossible(command: HeldCommand, signers: Signers): ApprovalRefusal | undefined {
  if (signers === NO_SIGNERS) return refusal('SPV001', [firstRule(command)]);
  if (
    ![
      command.text,
      command.subject.username,
      ...Object.values(command.target),
      ...Object.entries(command.settings).flat(),
    ].every((text: string) => text.isWellFormed())
  )
    return refusal('SPV013');
  const voters = signers.voters?.(command.connection);
  if (voters === undefined) return undefined;
  const others = voters.filter((voter) => !asksForThemselves(voter, command.subject));
  const words = approverWords(command.requirements, connectionText(command));
  for (const [index, requirement] of command.requirements.entries()) {
    const able = others.filter((voter) => isApprover(requirement, voter)).length;
    if (able < requirement.requiredApprovals)
      return refusal('SPV002', [firstRule({ ...command, requirements: [requirement] }), words[index] ?? '']);
  }
  return undefined;
}
