import type { ApprovalRequest } from '../../api/resources.ts';
import { isOpen, stateOf } from '../../approval/state.ts';
import { neutralise } from '../../record/display.ts';
import { table } from '../table.ts';

/** Requests for approval as people read them. Every text in them is somebody else's, and safe on a terminal only once escaped. */

export const ruleOf = ({ policyRef }: ApprovalRequest['spec']['requirements'][number]): string =>
  `${policyRef.namespace}/${policyRef.name}/${policyRef.rule}`;

const votesOf = ({ spec, status }: ApprovalRequest): string =>
  status?.votes ?? `0/${Math.max(...spec.requirements.map(({ requiredApprovals }) => requiredApprovals))}`;

function until(expiresAt: string, now: number): string {
  const seconds = Math.round((Date.parse(expiresAt) - now) / 1000);
  if (seconds <= 0) return 'over';
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

const counted = (count: number): string => `${count} ${count === 1 ? 'row' : 'rows'}`;

/** As a table, the oldest first. */
export function requestTable(requests: readonly ApprovalRequest[], now: number): string {
  const head = ['NAMESPACE', 'NAME', 'STATE', 'WHO', 'CONNECTION', 'VOTES', 'LEFT', 'COMMAND'];
  const rows = requests.map((request) =>
    [
      request.metadata.namespace,
      request.metadata.name,
      stateOf(request),
      request.spec.requester.displayName,
      request.spec.connectionRef.name,
      votesOf(request),
      isOpen(stateOf(request)) ? until(request.spec.expiresAt, now) : '-',
      request.spec.request.summary,
    ].map(neutralise),
  );
  return table([head, ...rows]);
}

/** One line for each change, for `requests watch`. */
export function requestLine(request: ApprovalRequest): string {
  const { metadata, spec } = request;
  const facts = [
    `${metadata.namespace}/${metadata.name}`,
    stateOf(request),
    votesOf(request),
    spec.requester.displayName,
    spec.request.summary,
  ];
  return `${facts.map(neutralise).join('  ')}\n`;
}

const lines = (label: string, values: readonly string[]): string =>
  values.map((value, index) => `${(index === 0 ? `${label}:` : '').padEnd(16)}${neutralise(value)}\n`).join('');
const block = (text: string): string =>
  text
    .split('\n')
    .map((line) => `    ${neutralise(line)}\n`)
    .join('');

function requirementText({
  policyRef,
  requiredApprovals,
  approvers,
  message,
}: ApprovalRequest['spec']['requirements'][number]): string {
  const { users = [], groups = [] } = approvers ?? {};
  const named = [...users, ...groups.map((group) => `group ${group}`)];
  const who = named.length === 0 ? 'whoever may approve on the connection' : named.join(', ');
  const people = requiredApprovals === 1 ? '1 person' : `${requiredApprovals} people`;
  const rule = `${policyRef.namespace}/${policyRef.name}/${policyRef.rule}`;
  return `${rule} wants ${people} of: ${who}${message === undefined ? '' : ` (${message})`}`;
}

function previewText({ spec, status }: ApprovalRequest): string {
  const { estimate, cascades = [], unavailable } = spec.preview ?? {};
  const { measured, unavailable: uncounted } = status?.preview ?? {};
  return [
    estimate === undefined
      ? lines('Estimate', [`none${unavailable === undefined ? '' : `: ${unavailable}`}`])
      : `${lines('Estimate', [`about ${counted(estimate.rows)}: a guess of the planner, nothing was run`])}${block(estimate.plan)}`,
    measured === undefined
      ? lines('Measured', [
          uncounted === undefined ? 'not counted (requests show NAME --count)' : `not counted: ${uncounted}`,
        ])
      : lines('Measured', [`${counted(measured.rows)}, counted at ${measured.at} in ${measured.durationMs} ms`]),
    lines('Carried on', cascades),
  ].join('');
}

/** Everything that somebody needs to decide, the command last. */
export function requestText(request: ApprovalRequest): string {
  const { metadata, spec, status } = request;
  const { requester, request: command, decisions = [] } = spec;
  const database = command.database === undefined ? '' : `, database ${command.database}`;
  const login = command.loginUser === undefined ? '' : `, as user ${command.loginUser}`;
  const host = command.host === undefined ? '' : `, host ${command.host}`;
  const votes = decisions.map(({ verdict, by, at, reason }) =>
    [verdict, by?.username ?? 'nobody', at ?? '', reason ?? ''].filter((part) => part !== '').join('  '),
  );
  return [
    lines('Request', [`${metadata.namespace}/${metadata.name}`]),
    lines('State', [stateOf(request)]),
    lines('Asked by', [requester.username]),
    lines('On behalf of', [requester.onBehalfOf ?? 'nobody whom the token names']),
    lines('Connection', [`${metadata.namespace}/${spec.connectionRef.name}${database}${login}${host}`]),
    lines('Session', command.sessionId === undefined ? [] : [command.sessionId]),
    lines('Asked at', [metadata.creationTimestamp ?? 'unknown']),
    lines('Expires at', [spec.expiresAt]),
    lines(
      'Covers',
      spec.reuseFor === undefined ? ['this command, once'] : [`this statement with any values, for ${spec.reuseFor}`],
    ),
    lines('Rule', spec.requirements.map(requirementText)),
    lines('Access', command.effects ?? []),
    lines('Replaced', command.redactions ?? []),
    previewText(request),
    lines('Votes', [`${votesOf(request)} as counted by the gateway`]),
    lines('Cast', votes),
    lines('Decided', status?.decidedTime === undefined ? [] : [`${status.decidedBy ?? ''} at ${status.decidedTime}`]),
    lines('Outcome', status?.outcome === undefined ? [] : [status.outcome]),
    lines('Hash', [command.hash]),
    'Command:\n',
    block(command.display ?? command.summary),
  ].join('');
}
