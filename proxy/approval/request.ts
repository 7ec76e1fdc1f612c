import { randomUUID } from 'node:crypto';
import type { ApprovalRequest } from '../../api/resources.ts';
import { checkStructure } from '../../api/schema.ts';
import { structureProblems } from '../../api/structure-error.ts';
import { canonicalJson } from '../../policy/canonical.ts';
import type { ApprovalRequirement } from '../../policy/decision.ts';
import { ruleName } from '../../policy/rule.ts';
import { neutralise } from '../../record/display.ts';
import type { EffectPreview, HeldCommand, Presentation } from '../ports.ts';
import { ApprovalError } from './errors.ts';

export type Holder = NonNullable<NonNullable<ApprovalRequest['status']>['holder']>;

/** Longest command that is shown, in bytes: a longer one is refused. */
export const MAX_DISPLAY_BYTES = 65_536;
const MAX_PLAN = 16_384;
const MAX_CASCADES = 64;
const MAX_LINE = 512;

/** Text of others, safe wherever the file is shown: control and direction characters as escapes, lines kept. */
function shown(text: string): string {
  return text.split('\n').map(neutralise).join('\n');
}

function cut(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}

/** `1h30m` of milliseconds, as resources write it. */
export function durationText(ms: number): string {
  const seconds = Math.round(ms / 1000);
  const parts = [
    [Math.floor(seconds / 3600), 'h'],
    [Math.floor((seconds % 3600) / 60), 'm'],
    [seconds % 60, 's'],
  ] as const;
  const text = parts.map(([count, unit]) => (count === 0 ? '' : `${count}${unit}`)).join('');
  return text === '' ? '0s' : text;
}

/** How long an approval is reused: the shortest that the rules give, and not at all when one of them gives none. */
export function reuseMs(command: HeldCommand): number | undefined {
  if (command.fingerprint === undefined) return undefined;
  const all = command.requirements.map(({ reuseForMs }) => reuseForMs);
  return all.some((each) => each === undefined) ? undefined : Math.min(...all.map((each) => each ?? 0));
}

export function timeoutMs(command: HeldCommand): number {
  return Math.min(...command.requirements.map((requirement) => requirement.timeoutMs));
}

function requirementOf({ rule, requiredApprovals, approvers, message }: ApprovalRequirement) {
  const { users, groups } = approvers ?? {};
  return {
    policyRef: { namespace: rule.namespace, name: rule.policy, rule: rule.rule, generation: rule.generation },
    requiredApprovals,
    ...(message === undefined ? {} : { message: shown(message) }),
    ...(users === undefined && groups === undefined
      ? {}
      : {
          approvers: {
            ...(users === undefined ? {} : { users: [...users] }),
            ...(groups === undefined ? {} : { groups: [...groups] }),
          },
        }),
  };
}

function targetOf({ target }: HeldCommand) {
  if (target.host !== undefined) return { host: shown(target.host) };
  if (target.loginUser !== undefined) return { loginUser: shown(target.loginUser) };
  return target.database === '' ? {} : { database: target.database };
}

/** What a second process that gets the same command can compare; a preview is each look's own. */
function comparable(command: HeldCommand, hash: string, fingerprint: string | undefined) {
  const { connection, subject, presentation } = command;
  const reuse = reuseMs(command);
  return {
    connectionRef: { name: connection.name, ...(connection.uid === '' ? {} : { uid: connection.uid }) },
    requirements: command.requirements.map(requirementOf),
    requester: {
      username: subject.username,
      displayName: cut(shown(subject.username), 256),
      ...(subject.issuer === undefined ? {} : { issuer: subject.issuer }),
      ...(subject.onBehalfOf === undefined ? {} : { onBehalfOf: subject.onBehalfOf }),
    },
    request: {
      protocol: connection.protocol,
      ...targetOf(command),
      summary: cut(neutralise(presentation.summary), 120),
      display: shown(presentation.display),
      ...(presentation.redactions.length === 0 ? {} : { redactions: presentation.redactions.map(shown) }),
      ...(presentation.effects.length === 0 ? {} : { effects: presentation.effects.map(shown) }),
      ...(fingerprint === undefined ? {} : { fingerprint }),
      hash,
    },
    ...(reuse === undefined ? {} : { reuseFor: durationText(reuse) }),
  };
}

function previewOf({ estimate, cascades, unavailable }: EffectPreview) {
  const all = cascades.map((cascade) => cut(shown(cascade), MAX_LINE));
  const listed =
    all.length <= MAX_CASCADES
      ? all
      : [...all.slice(0, MAX_CASCADES - 1), `and ${all.length - MAX_CASCADES + 1} more foreign keys`];
  return {
    ...(estimate === undefined
      ? {}
      : { estimate: { rows: Math.max(0, Math.round(estimate.rows)), plan: cut(shown(estimate.plan), MAX_PLAN) } }),
    ...(listed.length === 0 ? {} : { cascades: listed }),
    ...(unavailable === undefined || unavailable === '' ? {} : { unavailable: cut(shown(unavailable), 1024) }),
  };
}

/** `status.preview` of what the lane measured. */
export function measuredOf({ measured, unavailable }: EffectPreview) {
  return {
    ...(measured === undefined
      ? {}
      : {
          measured: {
            rows: Math.max(0, Math.round(measured.rows)),
            at: measured.at,
            durationMs: Math.max(0, Math.round(measured.durationMs)),
          },
        }),
    ...(unavailable === undefined || unavailable === '' ? {} : { unavailable: cut(shown(unavailable), 1024) }),
  };
}

export interface RequestFacts {
  readonly name: string;
  readonly hash: string;
  readonly fingerprint: string | undefined;
  readonly holder: Holder;
  /** Milliseconds since 1970. */
  readonly now: number;
}

/** The object as it is stored. @throws ApprovalError SPV003 when the command does not fit: nothing is cut that an approver must see */
export function buildRequest(command: HeldCommand, facts: RequestFacts): ApprovalRequest {
  const { namespace } = command.connection;
  checkPresentation(command.presentation);
  const { reuseFor, request, requester, ...rest } = comparable(command, facts.hash, facts.fingerprint);
  const { pod } = command.subject;
  const preview = previewOf(command.presentation.preview);
  const made: ApprovalRequest = {
    apiVersion: 'sallyport.dev/v1alpha1',
    kind: 'ApprovalRequest',
    metadata: {
      name: facts.name,
      namespace,
      uid: randomUUID(),
      creationTimestamp: new Date(facts.now).toISOString(),
    },
    spec: {
      ...rest,
      // The pod that asked first: others of the same account with the same command share the request.
      requester: { ...requester, ...(pod === undefined ? {} : { pod }) },
      request: { ...request, sessionId: command.sessionId },
      ...(Object.keys(preview).length === 0 ? {} : { preview }),
      ...(reuseFor === undefined ? {} : { reuseFor }),
      expiresAt: new Date(facts.now + timeoutMs(command)).toISOString(),
      decisions: [],
    },
    status: { state: 'Pending', holder: facts.holder },
  };
  const [problem] = structureProblems(checkStructure('ApprovalRequest', made));
  if (problem !== undefined) throw new ApprovalError('SPV003', [problem.message]);
  return made;
}

function checkPresentation({ display, redactions, effects }: Presentation): void {
  const bytes = Buffer.byteLength(shown(display));
  if (bytes > MAX_DISPLAY_BYTES) {
    throw new ApprovalError('SPV003', [`it has ${bytes} bytes, and at most ${MAX_DISPLAY_BYTES} are shown`]);
  }
  if (effects.length > 256) throw new ApprovalError('SPV003', [`it has ${effects.length} effects`]);
  if (redactions.length > 64) throw new ApprovalError('SPV003', [`${redactions.length} things in it are replaced`]);
}

/**
 * Whether a stored request is about this command and shows it as it is. A process that did not make the request must not believe
 * what stands in it: somebody may have been shown another command under this one's hash. Generations of policies may differ.
 */
export function isRequestFor(
  stored: ApprovalRequest,
  command: HeldCommand,
  hash: string,
  fingerprint?: string,
): boolean {
  const { expiresAt: _e, decisions: _d, preview: _p, ...spec } = stored.spec;
  const { sessionId: _s, ...request } = spec.request;
  const { pod: _pod, ...requester } = spec.requester;
  const same = (value: { readonly requirements: readonly { readonly policyRef: object }[] }): string =>
    canonicalJson({
      ...value,
      requirements: value.requirements.map(({ policyRef, ...rest }) => ({
        ...rest,
        policyRef: { ...policyRef, generation: undefined },
      })),
    });
  return same({ ...spec, request, requester } as typeof spec) === same(comparable(command, hash, fingerprint));
}

/** Who may approve, in words, one entry for each requirement. */
export function approverWords(requirements: readonly ApprovalRequirement[], connection: string): readonly string[] {
  return requirements.map(({ requiredApprovals, approvers }) => {
    const count = requiredApprovals === 1 ? '' : `${requiredApprovals} people: `;
    const { users = [], groups = [] } = approvers ?? {};
    const named = [...users, ...groups.map((group) => `group ${group}`)].map(neutralise);
    const who = named.length === 0 ? `whoever may approve on ${connection}` : named.join(', ');
    return `${count}${who}`;
  });
}

/** `rule shop/deletes/wide` of the first requirement: what a refusal names. */
export function firstRule({ requirements }: HeldCommand): string {
  const [first] = requirements;
  return first === undefined ? 'a rule' : `rule ${ruleName(first.rule)}`;
}
