import type { Registry } from 'prom-client';
import type { AccessConnection } from '../api/resources.ts';
import type { KubeClient, KubeObject, Log, ObjectMeta, Reflector } from '../kube/types.ts';
import type { KeyRing } from './pki/key-ring.ts';

/** What every part of the operator may use; made once, in serve.ts. Webhooks run on every replica, controllers on the leader alone. */
export interface OperatorContext {
  readonly client: KubeClient;
  /** Where the operator is installed; policies here are guardrails. */
  readonly namespace: string;
  readonly version: string;
  /** Image of proxy and archive. */
  readonly image: string;
  /** Image of the injected connector. */
  readonly connectorImage: string;
  readonly keys: KeyRing;
  /** All AccessConnections of the cluster; synced before webhooks are served. */
  readonly connections: Reflector<Stored<AccessConnection>>;
  /** All Namespaces; synced before webhooks are served. */
  readonly namespaces: Reflector<Namespace>;
  readonly registry: Registry;
  readonly log: Log;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** An object of ours as the API server has it. */
export type Stored<T extends { metadata: object }> = Omit<T, 'metadata'> &
  KubeObject & { readonly metadata: ObjectMeta & { readonly namespace: string } };

export interface Namespace extends KubeObject {
  readonly status?: { readonly phase?: string };
}
