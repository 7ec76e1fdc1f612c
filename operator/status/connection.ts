import type { AccessConnection, Problem } from '../../api/resources.ts';
import { gatewayNameFits, gatewayServiceName } from '../desired/services.ts';
import { type Finding, finding, some, summary } from './conditions.ts';
import { type MaskingStatus, maskingFinding } from './masking.ts';
import type { ReplicaReport } from './reports.ts';

/** What is known of the proxies of a namespace. */
export interface ProxyState {
  /** `hash` of the bundle that is to be in force; undefined: there is none yet. */
  readonly bundle: string | undefined;
  readonly replicas: number;
  /** Of live replicas. */
  readonly reports: readonly ReplicaReport[];
  /** What could not be applied. */
  readonly failures: readonly string[];
  /** Why the cluster makes no pods of the Deployment, such as a quota, in the API server's words. */
  readonly blocked?: string | undefined;
}

/** Injected pods that may use a connection. */
export interface SidecarState {
  readonly pods: number;
  /** `NAMESPACE/NAME` of those that would be injected differently today. */
  readonly stale: readonly string[];
}

export interface ConnectionState {
  readonly connection: AccessConnection;
  /** About this object, from compiling the namespace. */
  readonly problems: readonly Problem[];
  readonly proxies: ProxyState;
  readonly sidecars: SidecarState;
  /** Undefined: no catalog was read yet. */
  readonly masking: MaskingStatus | undefined;
}

/** In the order in which Ready looks at them. */
const COUNTING = ['Accepted', 'Programmed', 'CredentialsResolved', 'AuditHealthy'];

/** The conditions of an AccessConnection; Ready comes first. Pure. */
export function connectionFindings(state: ConnectionState): Finding[] {
  const findings = [
    accepted(state),
    programmed(state.proxies),
    credentials(state),
    egress(state),
    audit(state.proxies),
    sidecars(state.sidecars),
    maskingFinding(state.connection, state.masking),
  ].filter((each) => each !== undefined);
  return [summary(findings, COUNTING, 'served by every proxy, with the policy as it stands'), ...findings];
}

function accepted({ connection, problems }: ConnectionState): Finding {
  const { name } = connection.metadata;
  if (connection.spec.routing === 'Gateway' && !gatewayNameFits(name)) {
    const message = `the Service ${gatewayServiceName(name)} would have more than 63 characters: use a shorter name`;
    return finding('Accepted', 'False', 'NameTooLong', message);
  }
  const [problem] = problems;
  if (problem === undefined) return finding('Accepted', 'True', 'Accepted', 'nothing is wrong with this object');
  const reason = problem.code === 'SPP008' ? 'Conflict' : 'Invalid';
  return finding('Accepted', 'False', reason, sentence(problem));
}

/** What is wrong, and what to do about it. */
export const sentence = ({ code, message, fix }: Problem): string =>
  `${code}: ${message}${fix === undefined ? '' : `: ${fix}`}`;

/** Shared with policies: whether what is written is what is enforced. */
export function programmed({ bundle, replicas, reports, failures, blocked }: ProxyState): Finding {
  const [failure] = failures;
  if (failure !== undefined) {
    const reason = /^the policies of namespace .* bytes/.test(failure) ? 'BundleTooLarge' : 'ApplyFailed';
    return finding('Programmed', 'False', reason, failures.join('; '));
  }
  if (reports.length === 0) {
    const why = blocked ?? 'look at the Deployment sallyport-proxy';
    return finding('Programmed', 'False', 'NoProxies', `no proxy reports yet: ${why}`);
  }
  const done = reports.filter((report) => bundle !== undefined && report.bundle === bundle).length;
  const all = Math.max(replicas, reports.length);
  if (done === all) return finding('Programmed', 'True', 'Enforced', `${done} of ${all} proxies enforce ${bundle}`);
  const behind = reports.filter((report) => report.bundle !== bundle).map(({ replica }) => replica);
  const missing = all - reports.length;
  const who = [
    ...(behind.length === 0 ? [] : [`${some(behind)} still on another one`]),
    ...(missing === 0 ? [] : [`${missing} not running${blocked === undefined ? '' : `: ${blocked}`}`]),
  ];
  return finding('Programmed', 'False', 'Pending', `${done} of ${all} proxies enforce the policy; ${who.join(', ')}`);
}

function credentials({ connection, proxies: { reports } }: ConnectionState): Finding {
  const type = 'CredentialsResolved';
  if (reports.length === 0) return finding(type, 'Unknown', 'NoProxies', 'no proxy reports yet');
  const { name } = connection.metadata;
  const told = reports.map(({ problems }) => problems[name]).filter((text) => text !== undefined && text !== '');
  if (told.length === 0) return finding(type, 'True', 'Resolved', 'every proxy has what it needs to sign in');
  return finding(type, 'False', 'NotResolved', [...new Set(told)].join('; '));
}

function egress({ connection, proxies: { reports } }: ConnectionState): Finding {
  const type = 'EgressEnforced';
  const { name, namespace } = connection.metadata;
  const probes = reports.map((report) => report.egress[name]).filter((probe) => probe !== undefined);
  const open = [...new Set(probes.flatMap((probe) => probe.open))].sort();
  if (open.length > 0) {
    const message =
      `${some(open)} can reach ${connection.spec.target.host}:${connection.spec.target.port} without Sallyport: ` +
      'check that the network plug-in enforces NetworkPolicies, and target.addresses';
    return finding(type, 'False', 'Bypass', message);
  }
  const last = probes
    .map(({ probed }) => probed)
    .sort()
    .at(-1);
  if (last === undefined) {
    return finding(
      type,
      'Unknown',
      'NotProbed',
      `no connector has tried to go past Sallyport to ${namespace}/${name} yet`,
    );
  }
  // The time of the last probe is not said: each would be a write.
  return finding(type, 'True', 'Enforced', 'no pod that tried could reach the target without Sallyport');
}

function audit({ reports }: ProxyState): Finding {
  const type = 'AuditHealthy';
  if (reports.length === 0) return finding(type, 'Unknown', 'NoProxies', 'no proxy reports yet');
  const failing = reports.filter(({ auditFailure }) => auditFailure !== undefined);
  const [first] = failing;
  if (first === undefined) return finding(type, 'True', 'Recording', 'every proxy writes its record');
  const who = some(failing.map(({ replica }) => replica));
  return finding(
    type,
    'False',
    'NotRecording',
    `${who} cannot write the record and lets no command pass: ${first.auditFailure}`,
  );
}

function sidecars({ pods, stale }: SidecarState): Finding {
  const type = 'SidecarsCurrent';
  if (pods === 0) return finding(type, 'True', 'NoPods', 'no pod with a connector may use this connection');
  if (stale.length === 0) return finding(type, 'True', 'Current', `${pods} of ${pods} connectors are current`);
  const message = `${stale.length} of ${pods} pods have an older connector: restart ${some(stale)}`;
  return finding(type, 'False', 'StalePods', message);
}

/** Open sessions, all proxies together. */
export const sessionsOf = (name: string, reports: readonly ReplicaReport[]): number =>
  reports.reduce((sum, report) => sum + (report.sessions[name] ?? 0), 0);
