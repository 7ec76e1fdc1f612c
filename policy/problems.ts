import type { AccessConnection, AccessPolicy, MaskingRule, Problem, Resources } from '../api/resources.ts';
import { canonicalJson } from './canonical.ts';
import type { CompiledPolicy } from './compile.ts';
import { byAge, targetKey } from './connection.ts';
import { type PolicyProblemCode, problemText } from './errors.ts';
import { globsOverlap } from './glob.ts';
import { endpointPaths, httpRulesMeet, oddPaths } from './http/problems.ts';
import { KINDS_WITHOUT_RELATION } from './kinds.ts';
import { deadKubernetesEntries, kubernetesRulesMeet } from './kubernetes/problems.ts';
import { compilePattern } from './pattern.ts';
import { type CompiledRule, ruleName } from './rule.ts';
import { selectsConnection } from './select-connection.ts';
import { hitsSsh } from './ssh/match.ts';
import {
  deadEntries,
  deniedEntries,
  givesShell,
  isUndoneByShell,
  sshRulesMeet,
  usersWithoutPrincipal,
} from './ssh/problems.ts';

type Kind = 'AccessConnection' | 'AccessPolicy' | 'MaskingRule';
type Report = (
  kind: Kind,
  object: { readonly metadata: AccessPolicy['metadata'] },
  code: PolicyProblemCode,
  values?: Readonly<Record<string, string | number>>,
  path?: Problem['path'],
) => void;

/** Everything worth telling the authors, sorted so that the same resources always give the same report. */
export function findProblems(
  resources: Resources,
  policies: readonly CompiledPolicy[],
  guardrailNamespace: string,
  size: { readonly bytes: number; readonly limit: number },
): readonly Problem[] {
  const problems: Problem[] = [];
  const report: Report = (kind, { metadata: { namespace, name } }, code, values = {}, path = []) => {
    problems.push({ code, object: { kind, namespace, name }, path, ...problemText(code, { namespace, ...values }) });
  };
  const { connections } = resources;
  repeated('AccessConnection', connections, report);
  repeated('AccessPolicy', resources.policies, report);
  repeated('MaskingRule', resources.maskingRules, report);
  sameTarget(connections, report);
  for (const policy of policies) {
    selection('AccessPolicy', policy.object, connections, guardrailNamespace, report);
    aboutNobody(policy.object, report);
    for (const rule of policy.rules) checkRule(rule, policy, policies, connections, guardrailNamespace, report);
  }
  for (const mask of resources.maskingRules) {
    selection('MaskingRule', mask, connections, guardrailNamespace, report);
    patterns(mask, report);
    if (mask.metadata.namespace !== guardrailNamespace) {
      aboutObjects(mask, selected(mask, connections, guardrailNamespace), report);
    }
  }
  if (size.bytes > size.limit) tooLarge(resources, size, report);
  return problems
    .map((problem) => ({ problem, key: JSON.stringify([problem.object, problem.code, problem.path, problem.message]) }))
    .sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
    .map(({ problem }) => problem);
}

/** A rule about objects is of no use where there are none. In the guardrail namespace it stands for connections that are still to come. */
function aboutObjects({ metadata, spec }: MaskingRule, reached: readonly AccessConnection[], report: Report): void {
  if ((spec.kubernetes ?? []).length === 0 || reached.length === 0) return;
  if (reached.some((connection) => connection.spec.protocol === 'Kubernetes')) return;
  report('MaskingRule', { metadata }, 'SPP018', {}, ['spec', 'kubernetes']);
}

function tooLarge(
  { policies, maskingRules }: Resources,
  { bytes, limit }: { readonly bytes: number; readonly limit: number },
  report: Report,
): void {
  const all = [
    ...policies.map((object) => ({ kind: 'AccessPolicy' as const, object })),
    ...maskingRules.map((object) => ({ kind: 'MaskingRule' as const, object })),
  ].map((entry) => ({ ...entry, text: canonicalJson(entry.object.spec) }));
  const [largest] = all.sort((a, b) => b.text.length - a.text.length || (a.text < b.text ? -1 : 1));
  if (largest !== undefined) report(largest.kind, largest.object, 'SPP010', { size: bytes, limit });
}

function repeated(
  kind: Kind,
  objects: readonly { readonly metadata: AccessPolicy['metadata'] }[],
  report: Report,
): void {
  const seen = new Set<string>();
  const told = new Set<string>();
  for (const object of objects) {
    const key = `${object.metadata.namespace}/${object.metadata.name}`;
    if (seen.has(key) && !told.has(key)) {
      told.add(key);
      report(kind, object, 'SPP012');
    }
    seen.add(key);
  }
}

function sameTarget(connections: readonly AccessConnection[], report: Report): void {
  const first = new Map<string, AccessConnection>();
  for (const connection of [...connections].sort(byAge)) {
    const key = targetKey(connection);
    const other = first.get(key);
    if (other === undefined) first.set(key, connection);
    else {
      const { namespace, name } = other.metadata;
      report('AccessConnection', connection, 'SPP008', { connection: `${namespace}/${name}` }, ['spec', 'target']);
    }
  }
}

const selectable = ({
  metadata,
}: AccessConnection): { namespace: string; name: string; labels: Record<string, string> } => ({
  namespace: metadata.namespace,
  name: metadata.name,
  labels: { ...metadata.labels },
});

function selected(
  object: AccessPolicy | MaskingRule,
  connections: readonly AccessConnection[],
  guardrailNamespace: string,
): readonly AccessConnection[] {
  const { metadata, spec } = object;
  return connections.filter((connection) =>
    selectsConnection(spec.connections, metadata.namespace, selectable(connection), guardrailNamespace),
  );
}

function selection(
  kind: Kind,
  object: AccessPolicy | MaskingRule,
  connections: readonly AccessConnection[],
  guardrailNamespace: string,
  report: Report,
): void {
  const { metadata, spec } = object;
  const { names } = spec.connections;
  if (names !== undefined && metadata.namespace === guardrailNamespace) {
    report(kind, object, 'SPP007', {}, ['spec', 'connections', 'names']);
    return;
  }
  if (names !== undefined) {
    for (const [index, name] of names.entries()) {
      const exists = connections.some(
        (connection) => connection.metadata.namespace === metadata.namespace && connection.metadata.name === name,
      );
      if (!exists) report(kind, object, 'SPP001', { connection: name }, ['spec', 'connections', 'names', index]);
    }
    return;
  }
  if (selected(object, connections, guardrailNamespace).length === 0)
    report(kind, object, 'SPP002', {}, ['spec', 'connections']);
}

function aboutNobody(policy: AccessPolicy, report: Report): void {
  const { namespace } = policy.metadata;
  const { subjects, exceptSubjects = [] } = policy.spec;
  const full = (entry: AccessPolicy['spec']['subjects'][number]): string =>
    canonicalJson(
      entry.serviceAccount === undefined ? entry : { serviceAccount: { namespace, ...entry.serviceAccount } },
    );
  const exceptions = exceptSubjects.map(full);
  const out = (entry: AccessPolicy['spec']['subjects'][number]): boolean => {
    if (exceptions.includes(full(entry))) return true;
    const account = entry.serviceAccount;
    return account !== undefined && exceptions.includes(full({ serviceAccount: { ...account, name: '*' } }));
  };
  if (subjects.every(out)) report('AccessPolicy', policy, 'SPP003', {}, ['spec', 'exceptSubjects']);
}

function checkRule(
  rule: CompiledRule,
  policy: CompiledPolicy,
  policies: readonly CompiledPolicy[],
  connections: readonly AccessConnection[],
  guardrailNamespace: string,
  report: Report,
): void {
  const { object } = policy;
  const name = rule.ref.rule;
  const path = ['spec', 'rules', object.spec.rules.indexOf(rule.spec)];
  const guardrail = object.metadata.namespace === guardrailNamespace;
  if (rule.when?.error !== undefined) {
    const consequence = rule.effect === 'Allow' ? 'grants nothing' : 'matches whatever its lists say';
    report('AccessPolicy', object, 'SPP009', { rule: name, reason: rule.when.error, consequence }, [...path, 'when']);
  }
  if (guardrail && rule.effect === 'Allow') {
    report('AccessPolicy', object, 'SPP006', { rule: name }, [...path, 'effect']);
    return;
  }
  const reached = selected(object, connections, guardrailNamespace);
  // A guardrail stands for connections that are still to come.
  const speaking = reached.filter(({ spec }) => rule.protocol === undefined || rule.protocol === spec.protocol);
  const reason =
    reached.length > 0 && speaking.length === 0 && !guardrail
      ? `it is about ${rule.protocol}, and none of the connections speaks it`
      : (impossible(rule) ?? (guardrail ? undefined : withoutMcp(rule, speaking)));
  if (reason !== undefined) {
    report('AccessPolicy', object, 'SPP004', { rule: name, reason }, path);
    return;
  }
  checkApiRule(rule, { object, path, speaking }, report);
  if (rule.ssh !== undefined) checkSshRule(rule, { object, path, speaking, policies, guardrailNamespace }, report);
  if (rule.effect !== 'RequireApproval' || guardrail) return;
  const namespaces = new Set(speaking.map(({ metadata }) => metadata.namespace));
  const granted = policies.some(
    (other) =>
      namespaces.has(other.object.metadata.namespace) &&
      other.object.metadata.namespace !== guardrailNamespace &&
      selected(other.object, speaking, guardrailNamespace).length > 0 &&
      other.rules.some((allow) => allow.effect === 'Allow' && meets(rule, allow)),
  );
  if (speaking.length > 0 && !granted) report('AccessPolicy', object, 'SPP005', { rule: name }, path);
}

/** Entries about Kubernetes and HTTP that do not do what they say. */
function checkApiRule(
  rule: CompiledRule,
  {
    object,
    path,
    speaking,
  }: {
    readonly object: AccessPolicy;
    readonly path: readonly (string | number)[];
    readonly speaking: readonly AccessConnection[];
  },
  report: Report,
): void {
  const { effect, ref, spec } = rule;
  const { kubernetes, http } = spec;
  const absent = readsWhatMayBeAbsent(rule);
  if (absent !== undefined) report('AccessPolicy', object, 'SPP017', { rule: ref.rule, ...absent }, [...path, 'when']);
  if (kubernetes !== undefined) {
    for (const { list, index, entry, reason } of deadKubernetesEntries(kubernetes, effect === 'Allow')) {
      const values = { rule: ref.rule, entry, reason };
      report('AccessPolicy', object, 'SPP013', values, [...path, 'kubernetes', list, index]);
    }
  }
  if (http === undefined) return;
  const spoken = effect === 'Allow' ? speaking.map((one) => one.spec.http?.mcp?.paths ?? []) : [];
  for (const { index, entry, reason, means } of [...oddPaths(http), ...endpointPaths(http, spoken)]) {
    const at = [...path, 'http', 'paths', index];
    if (means === undefined) report('AccessPolicy', object, 'SPP013', { rule: ref.rule, entry, reason }, at);
    else report('AccessPolicy', object, 'SPP016', { rule: ref.rule, entry, reason, means }, at);
  }
}

function checkSshRule(
  rule: CompiledRule,
  {
    object,
    path,
    speaking,
    policies,
    guardrailNamespace,
  }: {
    readonly object: AccessPolicy;
    readonly path: readonly (string | number)[];
    readonly speaking: readonly AccessConnection[];
    readonly policies: readonly CompiledPolicy[];
    readonly guardrailNamespace: string;
  },
  report: Report,
): void {
  const { ssh: matcher, ref } = rule;
  const { ssh } = rule.spec;
  if (ssh === undefined || matcher === undefined) return;
  if (rule.effect === 'Allow') {
    const denied = denyingRules(object, speaking, policies, guardrailNamespace).flatMap((deny) =>
      deniedEntries(
        ssh,
        (tuple, user) => deny.protocol === undefined || (deny.ssh !== undefined && hitsSsh(deny.ssh, tuple, user)),
      ),
    );
    const found = new Map([...denied, ...deadEntries(ssh)].map((one) => [`${one.list} ${one.index}`, one]));
    for (const { list, index, entry, reason } of found.values()) {
      report('AccessPolicy', object, 'SPP013', { rule: ref.rule, entry, reason }, [...path, 'ssh', list, index]);
    }
    for (const { metadata, spec } of speaking) {
      const { sshCertificate } = spec.credential ?? {};
      if (sshCertificate === undefined) continue;
      for (const user of usersWithoutPrincipal(ssh, sshCertificate.principals)) {
        const values = { rule: ref.rule, user, connection: `${metadata.namespace}/${metadata.name}` };
        report('AccessPolicy', object, 'SPP014', values, [...path, 'ssh', 'loginUsers']);
      }
    }
    return;
  }
  if (!isUndoneByShell(matcher)) return;
  for (const other of policies) {
    if (selected(other.object, speaking, guardrailNamespace).length === 0) continue;
    const shell = other.rules.find(
      ({ effect, ssh: given }) => effect === 'Allow' && given && givesShell(given, matcher),
    );
    if (shell === undefined) continue;
    report('AccessPolicy', object, 'SPP015', { rule: ref.rule, other: ruleName(shell.ref) }, path);
    return;
  }
}

/** Deny rules without a condition that hold for everybody a policy is about, on all of its connections. */
function denyingRules(
  object: AccessPolicy,
  speaking: readonly AccessConnection[],
  policies: readonly CompiledPolicy[],
  guardrailNamespace: string,
): readonly CompiledRule[] {
  return policies.flatMap((other) => {
    const { subjects, exceptSubjects = [] } = other.object.spec;
    const everybody = subjects.some(({ everyone }) => everyone === true) && exceptSubjects.length === 0;
    if (other.object !== object && !everybody) return [];
    if (selected(other.object, speaking, guardrailNamespace).length < speaking.length) return [];
    return other.rules.filter(({ effect, when }) => effect === 'Deny' && when === undefined);
  });
}

const HAVE_BODY: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH']);
const HAVE_OBJECT: ReadonlySet<string> = new Set(['create', 'update', 'patch']);

/** A rule that takes away, and whose condition reads what most of the requests do not have that its lists are about. */
function readsWhatMayBeAbsent({ effect, when, spec }: CompiledRule): { path: string; list: string } | undefined {
  if (effect === 'Allow' || when === undefined || when.error !== undefined) return undefined;
  const reads = (path: string): boolean => when.paths.has(path) && !when.text.includes(`has(${path})`);
  const body = 'command.http.body';
  const object = 'command.kubernetes.object';
  if (spec.http !== undefined && reads(body)) {
    const all = spec.http.methods?.every((method) => HAVE_BODY.has(method)) === true || spec.http.mcp !== undefined;
    return all ? undefined : { path: body, list: 'methods' };
  }
  if (spec.kubernetes === undefined || !reads(object)) return undefined;
  const { verbs, operations } = spec.kubernetes;
  const all = verbs === undefined ? operations !== undefined : verbs.every((verb) => HAVE_OBJECT.has(verb));
  return all ? undefined : { path: object, list: 'verbs' };
}

/** Messages of MCP are told from other requests by the paths that connections declare. */
function withoutMcp({ http }: CompiledRule, speaking: readonly AccessConnection[]): string | undefined {
  if (http?.mcp === undefined || speaking.length === 0) return undefined;
  const declared = speaking.some(({ spec }) => spec.http?.mcp !== undefined);
  return declared ? undefined : 'it is about MCP, and none of the connections has spec.http.mcp';
}

function impossible(rule: CompiledRule): string | undefined {
  const { when, sql } = rule;
  if (when !== undefined && when.error === undefined && when.paths.size === 0) {
    // It reads nothing, so it is always the same.
    const result = when.evaluate({ bindings: {}, oversized: [] });
    if (result === false) return 'its condition is always false';
    if (typeof result !== 'boolean' && rule.effect === 'Allow') return `its condition always fails: ${result.error}`;
  }
  if (
    rule.effect !== 'Allow' &&
    sql?.relations !== undefined &&
    sql.functions === undefined &&
    sql.kinds !== undefined
  ) {
    const kinds = [...sql.kinds];
    if (kinds.every((kind) => KINDS_WITHOUT_RELATION.has(kind))) {
      return `${kinds.join(', ')} never come with a relation; leave out relations`;
    }
  }
  return undefined;
}

/** Whether an Allow rule grants anything that the other rule could hit, by their lists alone. */
function meets(rule: CompiledRule, allow: CompiledRule): boolean {
  if (rule.protocol === undefined) return true;
  if (rule.protocol !== allow.protocol) return false;
  if (rule.ssh !== undefined && allow.ssh !== undefined) return sshRulesMeet(rule.ssh, allow.ssh);
  if (rule.kubernetes !== undefined && allow.kubernetes !== undefined) {
    return kubernetesRulesMeet(rule.kubernetes, allow.kubernetes);
  }
  if (rule.http !== undefined && allow.http !== undefined) return httpRulesMeet(rule.http, allow.http);
  if (rule.sql === undefined || allow.sql === undefined) return true;
  const kinds = rule.sql.kinds;
  if (kinds !== undefined && ![...(allow.sql.kinds ?? [])].some((kind) => kinds.has(kind))) return false;
  const overlap = (mine: readonly string[], theirs: readonly string[]): boolean =>
    mine.some((pattern) => theirs.some((other) => globsOverlap(pattern, other)));
  const { relations, functions } = rule.sql;
  if (relations === undefined && functions === undefined) return true;
  // Built-in functions need no pattern of their own, so a rule about functions may always meet one.
  return functions !== undefined || overlap(relations?.patterns ?? [], allow.sql.relations?.patterns ?? []);
}

function patterns(mask: MaskingRule, report: Report): void {
  for (const [index, { pattern }] of (mask.spec.content ?? []).entries()) {
    if (pattern === undefined) continue;
    const compiled = compilePattern(pattern);
    if (typeof compiled === 'string') {
      report('MaskingRule', mask, 'SPP011', { pattern, reason: compiled }, ['spec', 'content', index, 'pattern']);
    }
  }
}
