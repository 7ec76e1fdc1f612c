/**
 * What can be wrong with policies that the schema lets pass: reported, never refused, because the rest of the policies has to stay in
 * force. `{…}` is filled in by `problemMessage`. Codes are stable; a retired one is not used again.
 */
export const POLICY_PROBLEMS = {
  SPP001: {
    severity: 'warning',
    message: 'names the AccessConnection {connection}, which does not exist in namespace {namespace}',
    advice: 'correct the name, or create the connection',
  },
  SPP002: {
    severity: 'warning',
    message: 'selects no AccessConnection',
    advice: 'compare connections with the names and labels of the AccessConnections of namespace {namespace}',
  },
  SPP003: {
    severity: 'warning',
    message: 'is about nobody: exceptSubjects takes out every entry of subjects',
    advice: 'remove the entry from exceptSubjects, or the policy',
  },
  SPP004: {
    severity: 'warning',
    message: 'rule {rule} can never match: {reason}',
    advice: 'correct the rule, or remove it',
  },
  SPP005: {
    severity: 'warning',
    message: 'rule {rule} requires approval of what no Allow rule grants, so it has no effect',
    advice: 'RequireApproval never grants; to grant after approval write effect Allow with approval',
  },
  SPP006: {
    severity: 'warning',
    message: 'rule {rule} is an Allow in the guardrail namespace {namespace} and is ignored',
    advice: 'move it into the namespace of the connection: guardrails only narrow',
  },
  SPP007: {
    severity: 'warning',
    message: 'selects connections by name in the guardrail namespace {namespace}, where names mean nothing',
    advice: 'use all or selector',
  },
  SPP008: {
    severity: 'warning',
    message: 'has the same host, port and database as {connection}, which serves what is dialled by host',
    advice: 'remove one of the two, or reach this one by its name',
  },
  SPP009: {
    severity: 'error',
    message: 'rule {rule}: the condition is not usable: {reason}',
    advice: 'correct it; until then the rule {consequence}',
  },
  SPP010: {
    severity: 'error',
    message: 'is the largest object of a bundle that has {size} bytes, more than the limit of {limit}',
    advice: 'merge rules, or split connections over several proxies',
  },
  SPP011: {
    severity: 'error',
    message: 'content pattern {pattern} is no RE2 regular expression: {reason}',
    advice: 'correct the pattern; RE2 knows no look-around and no back-references',
  },
  SPP012: {
    severity: 'error',
    message: 'is defined more than once',
    advice: 'keep one of the definitions; until then all of their rules count',
  },
  SPP013: {
    severity: 'warning',
    message: 'rule {rule}: "{entry}" can never match: {reason}',
    advice: 'correct the entry, or remove it',
  },
  SPP014: {
    severity: 'warning',
    message: 'rule {rule} lets {user} log in, but certificates of {connection} are signed for other principals',
    advice: 'add it to credential.sshCertificate.principals of the connection, or take it out of loginUsers',
  },
  SPP015: {
    severity: 'warning',
    message: 'rule {rule} is about commands or files, but {other} gives a shell, in which neither is controlled',
    advice: 'leave Shell out there, or write Shell in this rule too',
  },
  SPP016: {
    severity: 'warning',
    message: 'rule {rule}: "{entry}" means {means}: {reason}',
    advice: 'write ** as a segment of its own, such as /v1/**, or a single *',
  },
  SPP017: {
    severity: 'warning',
    message: 'rule {rule} hits every request that has no {path}: reading it fails there, and what fails hits',
    advice: 'name in {list} only those that have one, or ask first with has({path})',
  },
  SPP018: {
    severity: 'warning',
    message: 'it is about objects of Kubernetes, and none of the connections that it selects speaks Kubernetes',
    advice: 'correct connections, or name what is masked there: columns, fields, content',
  },
} as const satisfies Readonly<Record<string, { severity: 'warning' | 'error'; message: string; advice: string }>>;

export type PolicyProblemCode = keyof typeof POLICY_PROBLEMS;

/** What happened to the object, and what to do about it. */
export function problemText(
  code: PolicyProblemCode,
  values: Readonly<Record<string, string | number>>,
): { readonly severity: 'error' | 'warning'; readonly message: string; readonly fix: string } {
  const fill = (text: string): string => text.replace(/\{(\w+)\}/g, (_, name: string) => String(values[name] ?? ''));
  const { severity, message, advice } = POLICY_PROBLEMS[code];
  return { severity, message: fill(message), fix: fill(advice) };
}
