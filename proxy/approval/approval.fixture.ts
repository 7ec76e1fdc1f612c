import { createPublicKey, type KeyObject } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ApproverConfiguration } from '../../api/configuration.ts';
import type { ApprovalRequest } from '../../api/resources.ts';
import { createApproverKey, parsePrivateKey, publicKeyText } from '../../approval/keys.ts';
import { type Ballot, signVote } from '../../approval/vote.ts';
import type { CompiledConnection } from '../../policy/bundle.ts';
import type { ApprovalRequirement } from '../../policy/decision.ts';
import type { ApprovalGrant, ApprovalRefusal, ApprovalTicket, HeldCommand } from '../ports.ts';
import { signersOf } from './configured-approvers.ts';
import type { ApprovalEvent } from './context.ts';
import { createRequestFiles, type RequestFiles } from './files.ts';
import { createFolderApprovals, type FolderApprovalsOptions } from './folder-approvals.ts';
import { createHolder } from './folders.ts';
import type { RequestRef } from './request-store.ts';
import type { Approvals } from './store.ts';

/** Ground for the tests of approvals: commands, people with keys, a clock that can be set, and a store in a folder of its own. */

export const connection: CompiledConnection = {
  namespace: 'shop',
  name: 'orders',
  uid: '',
  labels: {},
  protocol: 'Postgres',
  mode: 'Enforce',
  maxPolicyStalenessMs: 300_000,
  target: { host: 'db', port: 5432, database: 'orders', hostKeys: [], tls: { mode: 'Disable' } },
  credential: {},
  ssh: { authorizedKeys: [], trustedUserCAs: [], maxConnectionsPerSubject: 64 },
  http: { maxBodyBytes: 1_048_576, cookies: 'Pass', responseTimeoutMs: 60_000, mcpPaths: [] },
  limits: {},
  audit: { level: 'Full', maxResponseBytes: 0, retentionDays: 1 },
};

export function requirement(change: Partial<ApprovalRequirement> = {}): ApprovalRequirement {
  return {
    rule: { namespace: 'shop', policy: 'deletes', rule: 'ask', generation: 1 },
    requiredApprovals: 1,
    timeoutMs: 600_000,
    hold: 'Wait',
    ...change,
  };
}

export const AGENT = 'system:serviceaccount:shop:agent';

export function held(change: Partial<HeldCommand> = {}): HeldCommand {
  const text = change.text ?? 'DELETE FROM orders WHERE id = 1';
  return {
    connection,
    subject: { username: AGENT, groups: [], claims: {} },
    sessionId: 's1',
    target: { database: 'orders' },
    text,
    values: [],
    settings: { search_path: 'public', role: 'app' },
    requirements: [requirement()],
    fingerprint: undefined,
    presentation: {
      summary: text.slice(0, 120),
      display: text,
      redactions: [],
      effects: ['Delete on public.orders'],
      preview: { cascades: [] },
    },
    ...change,
  };
}

/** A person with a key, and their entry in the configuration. */
export interface Person {
  readonly key: KeyObject;
  readonly entry: ApproverConfiguration;
}

export function person(name: string, change: Partial<ApproverConfiguration> = {}): Person {
  const key = parsePrivateKey(createApproverKey().privateKey);
  return { key, entry: { name, publicKey: publicKeyText(createPublicKey(key)), ...change } };
}

export interface Ground {
  readonly folder: string;
  readonly store: Approvals;
  readonly files: RequestFiles;
  readonly events: string[];
  readonly warnings: string[];
  /** Who may approve from now on. */
  allow(...people: readonly Person[]): void;
  clock: { now: number; monotonic: number };
  advance(ms: number): void;
  /** A further store on the same folder, as another gateway would have it. */
  another(change?: Partial<FolderApprovalsOptions>): Approvals;
  vote(who: Person, name: string, change?: Partial<Ballot>): Promise<void>;
  request(name: string): Promise<ApprovalRequest>;
  edit(name: string, change: (request: ApprovalRequest) => ApprovalRequest): Promise<void>;
  close(): Promise<void>;
}

export const at = (name: string): RequestRef => ({ namespace: 'shop', name });

export async function ground(people: readonly Person[], change: Partial<FolderApprovalsOptions> = {}): Promise<Ground> {
  const root = await mkdtemp(join(tmpdir(), 'sallyport-approvals-'));
  const folder = change.folder ?? join(root, 'approvals');
  let signers = signersOf(people.map(({ entry }) => entry));
  const clock = { now: Date.now(), monotonic: 1000 };
  const events: string[] = [];
  const warnings: string[] = [];
  const options: FolderApprovalsOptions = {
    folder,
    usedFolder: join(root, 'used'),
    signers: { current: () => Promise.resolve(signers) },
    holder: createHolder(process.pid),
    now: () => clock.now,
    monotonic: () => clock.monotonic,
    log: { warn: (facts, message) => void warnings.push(`${message} ${JSON.stringify(facts)}`) },
    onChange: ({ metadata }, event: ApprovalEvent) => void events.push(`${metadata.name} ${event}`),
    pollMs: 50,
    ...change,
  };
  const files = createRequestFiles(folder, createHolder(process.pid));
  const store = createFolderApprovals(options);
  const opened = [store];
  const edit: Ground['edit'] = async (name, how) => {
    await files.update(at(name), how);
  };
  return {
    folder,
    store,
    files,
    events,
    warnings,
    allow(...next) {
      signers = signersOf(next.map(({ entry }) => entry));
    },
    clock,
    advance(ms) {
      clock.now += ms;
      clock.monotonic += ms;
    },
    another(other = {}) {
      const made = createFolderApprovals({ ...options, usedFolder: join(root, `used-${opened.length}`), ...other });
      opened.push(made);
      return made;
    },
    vote: (who, name, ballot = {}) =>
      edit(name, (request) => {
        const vote = { verdict: 'Approve', voter: who.entry.name, via: 'test', now: clock.now, ...ballot } as const;
        const decision = signVote(request, vote, who.key);
        return { ...request, spec: { ...request.spec, decisions: [...(request.spec.decisions ?? []), decision] } };
      }),
    async request(name) {
      const stored = await files.read(at(name));
      if (stored === undefined) throw new Error(`there is no request ${name}`);
      return stored.request;
    },
    edit,
    async close() {
      await Promise.all(opened.map((each) => each.close()));
      await rm(root, { recursive: true, force: true });
    },
  };
}

export function isTicket(value: ApprovalTicket | ApprovalRefusal): value is ApprovalTicket {
  return 'decided' in value;
}

/** The ticket, or a failed test that says why there is none. */
export function ticketOf(value: ApprovalTicket | ApprovalRefusal): ApprovalTicket {
  if (!isTicket(value)) throw new Error(`${value.code}: ${value.message}`);
  return value;
}

export const codeOf = (value: ApprovalTicket | ApprovalRefusal | ApprovalGrant): string =>
  'code' in value ? value.code : 'granted';

export const NEVER = new AbortController().signal;
