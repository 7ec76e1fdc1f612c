import type { AccessConnection } from '../../api/resources.ts';
import { neutralise } from '../../record/display.ts';
import type { Paint } from '../commands/explain-format.ts';
import { requestTable } from '../commands/requests-format.ts';
import { table } from '../table.ts';
import type { NamespaceStatus, ReplicaStatus } from './status.ts';

/** The status of namespaces as people read it. Every text in it may be somebody else's, and is made safe for a terminal. */

const SHORT_HASH = 12;
const short = (hash: string | undefined): string => (hash ?? '-').replace(/^sha256:/, '').slice(0, SHORT_HASH);

type Condition = NonNullable<NonNullable<AccessConnection['status']>['conditions']>[number];

/** @param asked the namespace that was asked for; undefined: all */
export function statusText(statuses: readonly NamespaceStatus[], asked: string | undefined, paint: Paint): string {
  if (statuses.length === 0) {
    return `no AccessConnection, AccessPolicy or MaskingRule ${asked === undefined ? 'in the cluster' : `in ${asked} (-A: all namespaces)`}\n`;
  }
  return statuses.map((status) => namespaceText(status, paint)).join('\n');
}

function namespaceText(status: NamespaceStatus, paint: Paint): string {
  const { namespace, connections, policies, maskingRules, requests } = status;
  const counts = `${policies.length} policies, ${maskingRules.length} masking rules`;
  const lines = [
    `${neutralise(namespace)}: ${connections.length} connections, ${counts}, bundle ${short(status.bundle)}\n`,
  ];
  if (connections.length > 0) lines.push(indented(connectionTable(connections)));
  for (const connection of connections) lines.push(...troubles('AccessConnection', connection, paint));
  for (const policy of policies) lines.push(...troubles('AccessPolicy', policy, paint));
  for (const rule of maskingRules) lines.push(...troubles('MaskingRule', rule, paint));
  lines.push(proxiesText(status, paint));
  if (requests === undefined) lines.push('  requests for approval may not be read by you\n');
  else if (requests.length > 0) {
    lines.push(
      `  ${paint.held(`${requests.length} waiting for approval`)}\n`,
      indented(requestTable(requests, Date.now())),
    );
  }
  return lines.join('');
}

const indented = (text: string): string => text.replaceAll(/^(?=.)/gm, '  ');

function connectionTable(connections: readonly AccessConnection[]): string {
  const head = ['CONNECTION', 'PROTOCOL', 'TARGET', 'MODE', 'READY', 'POLICY', 'SESSIONS'];
  const rows = connections.map(({ metadata, spec, status }) =>
    [
      metadata.name,
      spec.protocol,
      `${spec.target.host}:${spec.target.port}`,
      spec.mode ?? 'Enforce',
      status?.conditions?.find(({ type }) => type === 'Ready')?.status ?? 'Unknown',
      short(status?.policyHash),
      String(status?.sessions ?? '-'),
    ].map(neutralise),
  );
  return table([head, ...rows]);
}

interface Conditioned {
  readonly metadata: { readonly name: string; readonly generation?: number };
  readonly status?: { readonly conditions?: readonly Condition[] };
}

/** What is not as it should be: conditions that do not hold, and that nobody has looked at the object. */
function troubles(kind: string, { metadata, status }: Conditioned, paint: Paint): string[] {
  const { generation = 0 } = metadata;
  const conditions = status?.conditions ?? [];
  const label = `  ${kind} ${metadata.name}: `;
  // The CRDs' own default for conditions has no generation.
  if (conditions.every(({ observedGeneration }) => observedGeneration === undefined))
    return [`${label}${paint.held('no operator has looked at it yet')} (kubectl sallyport doctor)\n`];
  const stale = conditions.every(({ observedGeneration = 0 }) => observedGeneration < generation);
  return [
    ...(stale ? [`${label}${paint.held('the last change is not in force yet')}\n`] : []),
    ...conditions
      .filter((condition) => condition.status !== 'True')
      .map(({ type, status: value, reason, message }) => {
        const word = value === 'False' ? paint.bad(`${type}=${value}`) : paint.held(`${type}=${value}`);
        return `${label}${word} ${neutralise(reason)}: ${neutralise(message)}\n`;
      }),
  ];
}

function proxiesText({ proxies, bundle, connections }: NamespaceStatus, paint: Paint): string {
  if (proxies === undefined) return '  proxies may not be read by you (get and list leases)\n';
  if (proxies.length === 0)
    return connections.length === 0 ? '' : `  ${paint.bad('no proxy reports')} (kubectl sallyport doctor)\n`;
  const rows = proxies.map((replica) => [
    replica.name,
    short(replica.bundle),
    replica.bundle === bundle ? 'current' : 'behind',
    replica.silent ? 'silent' : 'alive',
    String(Object.values(replica.report?.sessions ?? {}).reduce((sum, count) => sum + count, 0)),
    replicaTrouble(replica),
  ]);
  return indented(
    table([['PROXY', 'BUNDLE', 'POLICY', 'STATE', 'SESSIONS', 'PROBLEM'], ...rows.map((row) => row.map(neutralise))]),
  );
}

function replicaTrouble({ report }: ReplicaStatus): string {
  if (report === undefined) return '-';
  const problems = Object.entries(report.problems).map(([name, problem]) => `${name}: ${problem}`);
  const all = [...(report.auditFailure === undefined ? [] : [`record: ${report.auditFailure}`]), ...problems];
  return all.length === 0 ? '-' : all.join('; ');
}
