import { NAMES } from '../../api/cluster.ts';
import type { AccessConnection, AccessPolicy } from '../../api/resources.ts';
import { matchesAnySubject } from '../../policy/match-subject.ts';
import { selectsConnection } from '../../policy/select-connection.ts';
import type { Impersonation } from '../desired/impersonator-role.ts';
import { impersonatesHere } from '../targets/api-server.ts';

/** Whose service accounts are parts of Kubernetes: to act as one of them would be to act as the cluster. */
const NEVER = new Set(['kube-system', 'kube-public', 'kube-node-lease']);

export interface ImpersonationSources {
  /** Of agents. */
  readonly namespace: string;
  /** That pods of it may use. */
  readonly connections: readonly AccessConnection[];
  readonly policies: readonly AccessPolicy[];
  /** Names of the service accounts that are there. */
  readonly accounts: readonly string[];
  readonly guardrailNamespace: string;
}

/**
 * Whom proxies have to be able to act as in a namespace of agents: the accounts there that a policy with something to allow is about. Those
 * that `*` or `everyone` means are listed too, since a right cannot be said by a pattern; guardrails allow nothing. Undefined: nobody.
 */
export function impersonationIn(sources: ImpersonationSources): Impersonation | undefined {
  const { namespace, connections, policies, accounts, guardrailNamespace } = sources;
  if (NEVER.has(namespace) || namespace === guardrailNamespace) return undefined;
  const served = connections.filter(impersonatesHere);
  const granting = policies
    .filter(({ metadata, spec }) => metadata.namespace !== guardrailNamespace && spec.rules.some(isAllow))
    .filter((policy) => served.some((connection) => selects(policy, connection, guardrailNamespace)));
  const named = accounts.filter(
    (name) => name !== NAMES.proxy && granting.some((policy) => isAbout(policy, namespace, name)),
  );
  if (named.length === 0) return undefined;
  return {
    accounts: [...named].sort(),
    proxies: [...new Set(served.map(({ metadata }) => metadata.namespace))].sort(),
  };
}

const isAllow = ({ effect }: AccessPolicy['spec']['rules'][number]): boolean => effect === 'Allow';

function selects({ metadata, spec }: AccessPolicy, connection: AccessConnection, guardrailNamespace: string): boolean {
  const { namespace, name, labels = {} } = connection.metadata;
  return selectsConnection(spec.connections, metadata.namespace, { namespace, name, labels }, guardrailNamespace);
}

function isAbout({ metadata, spec }: AccessPolicy, namespace: string, name: string): boolean {
  const subject = {
    username: `system:serviceaccount:${namespace}:${name}`,
    serviceAccount: { namespace, name },
    groups: [],
    claims: {},
  };
  return (
    matchesAnySubject(spec.subjects, subject, metadata.namespace) &&
    !matchesAnySubject(spec.exceptSubjects, subject, metadata.namespace)
  );
}
