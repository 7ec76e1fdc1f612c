import type { AdmissionGate, GateRefusal } from '../ports.ts';
import type { ClusterBundleSource } from './bundle-source.ts';
import { ClusterError } from './errors.ts';

const refusal = (error: ClusterError): GateRefusal => ({
  code: error.code,
  message: error.message,
  hint: error.hint,
});

/**
 * What a cluster adds to policy: `allowedNamespaces` of the connection, which the operator has resolved to names, and the end of all
 * decisions on a bundle that is too old to be believed.
 */
export function createClusterGate(bundles: ClusterBundleSource): AdmissionGate {
  return {
    refusal(connection, { subject }) {
      // Whoever comes with a token of an outside issuer is in no namespace: policies alone are about them. A key that stands for a
      // service account is of its namespace, wherever it is used.
      const from = subject.pod?.namespace ?? subject.serviceAccount?.namespace;
      if (from === undefined) return undefined;
      const allowed = bundles.document?.allowedNamespaces ?? {};
      const names = Object.hasOwn(allowed, connection.name) ? (allowed[connection.name] ?? []) : [];
      if (names.includes('*') || names.includes(from)) return undefined;
      const { namespace, name } = connection;
      return refusal(new ClusterError('SPX011', [from, `${namespace}/${name}`]));
    },
    suspension({ maxPolicyStalenessMs }) {
      if (bundles.age() <= maxPolicyStalenessMs) return undefined;
      return refusal(new ClusterError('SPX010', [maxPolicyStalenessMs / 1000]));
    },
  };
}
