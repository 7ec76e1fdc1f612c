import type { ProxyReport } from '../../api/bundle-document.ts';
import type { CompiledConnection } from '../../policy/bundle.ts';
import type { AdmissionGate, VerifiedIdentity } from '../ports.ts';

/** Pods that a report names; it says that there are some, and which to look at first. */
const MAX_REPORTED = 16;
/** Pods that are remembered for one connection. */
const MAX_KEPT = 1024;

export interface EgressProbes {
  /** What whoever is no pod says, and about connections that the gate keeps it from, is nothing. */
  record(
    identity: VerifiedIdentity,
    probe: { readonly host: string; readonly port: number; readonly reachable: boolean },
    connections: readonly CompiledConnection[],
    at: Date,
  ): void;
  /** A pod is gone: it reaches nothing any more. */
  forget(uid: string): void;
  report(): ProxyReport['egress'];
}

/** What connectors found when they dialled targets past Sallyport, by connection. What a pod says of itself counts for itself alone. */
export function createEgressProbes({ refusal }: Pick<AdmissionGate, 'refusal'>): EgressProbes {
  const byConnection = new Map<string, { probed: string; readonly open: Map<string, string> }>();
  return {
    record(identity, { host, port, reachable }, connections, at) {
      const { pod } = identity.subject;
      if (pod === undefined) return;
      const { uid, namespace, name } = pod;
      const wanted = host.toLowerCase();
      for (const each of connections) {
        const { name: connection, target } = each;
        if (target.port !== port || target.host.toLowerCase() !== wanted) continue;
        if (refusal(each, identity) !== undefined) continue;
        const known = byConnection.get(connection) ?? { probed: '', open: new Map<string, string>() };
        byConnection.set(connection, known);
        known.probed = at.toISOString();
        if (!reachable) known.open.delete(uid);
        else if (known.open.size < MAX_KEPT) known.open.set(uid, `${namespace}/${name}`);
      }
    },
    forget(uid) {
      for (const { open } of byConnection.values()) open.delete(uid);
    },
    report() {
      return Object.fromEntries(
        [...byConnection].map(([connection, { probed, open }]) => [
          connection,
          { open: [...new Set(open.values())].slice(0, MAX_REPORTED), probed },
        ]),
      );
    },
  };
}
