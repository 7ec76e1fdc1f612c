import type { Problem } from '../../api/resources.ts';
import { type Finding, finding, summary } from './conditions.ts';
import { type ProxyState, programmed, sentence } from './connection.ts';

export interface PolicyState {
  /** About this object, from compiling what it is compiled with. */
  readonly problems: readonly Problem[];
  /** AccessConnections that it selects. */
  readonly connections: number;
  /** Of every namespace with a connection that it selects. */
  readonly proxies: readonly ProxyState[];
}

/** The conditions of an AccessPolicy or MaskingRule; Ready comes first. Warnings do not keep it from being ready. Pure. */
export function policyFindings({ problems, connections, proxies }: PolicyState): Finding[] {
  const findings = [accepted(problems), effective(problems), enforced(proxies, connections)];
  return [summary(findings, ['Accepted', 'Programmed'], 'enforced by every proxy'), ...findings];
}

function accepted(problems: readonly Problem[]): Finding {
  const errors = problems.filter(({ severity }) => severity === 'error');
  if (errors.length === 0) return finding('Accepted', 'True', 'Accepted', 'nothing is wrong with this object');
  return finding('Accepted', 'False', 'Invalid', errors.map(sentence).join('; '));
}

/** Whether it does what its author will think that it does. */
function effective(problems: readonly Problem[]): Finding {
  const warnings = problems.filter(({ severity }) => severity === 'warning');
  const [first] = warnings;
  if (first === undefined) return finding('Effective', 'True', 'Effective', 'every rule can have an effect');
  const reason = REASONS[first.code] ?? 'NoEffect';
  return finding('Effective', 'False', reason, warnings.map(sentence).join('; '));
}

/** One word for each warning of policy/errors.ts. */
const REASONS: Readonly<Record<string, string>> = {
  SPP001: 'UnknownConnection',
  SPP002: 'SelectsNothing',
  SPP003: 'AboutNobody',
  SPP004: 'RuleNeverMatches',
  SPP005: 'NothingToApprove',
  SPP006: 'AllowInGuardrail',
  SPP007: 'NamesInGuardrail',
};

function enforced(proxies: readonly ProxyState[], connections: number): Finding {
  if (connections === 0) return finding('Programmed', 'True', 'NoConnections', 'it selects no AccessConnection');
  const bad = proxies.map(programmed).find(({ status }) => status !== 'True');
  return bad ?? finding('Programmed', 'True', 'Enforced', `${proxyCount(proxies)} proxies enforce it`);
}

/** `PROXIES THAT RUN THIS VERSION/ALL`. */
export function proxyCount(proxies: readonly ProxyState[]): string {
  let [done, all] = [0, 0];
  for (const { bundle, replicas, reports } of proxies) {
    done += reports.filter((report) => report.bundle === bundle && bundle !== undefined).length;
    all += Math.max(replicas, reports.length);
  }
  return `${done}/${all}`;
}
