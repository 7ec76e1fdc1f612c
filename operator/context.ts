import type { Registry } from 'prom-client';
import type { AccessConnection, AccessPolicy, MaskingRule } from '../api/resources.ts';
import type { Lease, Namespace } from '../kube/builtin.ts';
import type { EventRecorder } from '../kube/event-recorder.ts';
import type { KubeMetrics } from '../kube/metrics.ts';
import type { KubeClient, KubeObject, Log, ObjectMeta, Reflector } from '../kube/types.ts';
import type { Applier } from './apply/applier.ts';
import type { ProxyConfiguration } from './desired/proxy-configuration.ts';
import type { KeyRing } from './pki/key-ring.ts';

export type { Namespace } from '../kube/builtin.ts';

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
  /** All AccessConnections of the cluster; synced before webhooks are ready. */
  readonly connections: Reflector<Stored<AccessConnection>>;
  /** All Namespaces; synced before webhooks are ready. */
  readonly namespaces: Reflector<Namespace>;
  readonly registry: Registry;
  readonly log: Log;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** An object of ours as the API server has it. */
export type Stored<T extends { metadata: object }> = Omit<T, 'metadata'> &
  KubeObject & { readonly metadata: T['metadata'] & ObjectMeta & { readonly namespace: string } };

/** What controllers use besides. */
export interface ControllerContext extends OperatorContext {
  readonly policies: Reflector<Stored<AccessPolicy>>;
  readonly maskingRules: Reflector<Stored<MaskingRule>>;
  readonly pods: Reflector<AgentPod>;
  /** All of them: their names alone. */
  readonly serviceAccounts: Reflector<KubeObject>;
  /** Of proxies. */
  readonly leases: Reflector<Lease>;
  /** The API server's own, in `default`. */
  readonly apiServerSlices: Reflector<EndpointSlice>;
  readonly applier: Applier;
  readonly failures: Failures;
  readonly targets: Targets;
  readonly metrics: KubeMetrics;
  readonly events: EventRecorder;
  readonly settings: Settings;
}

/** What the installation decides. */
export interface Settings {
  readonly imagePullPolicy: 'Always' | 'IfNotPresent' | 'Never';
  readonly proxyReplicas: number;
  readonly proxyArguments: readonly string[];
  /** Absent: proxies have no configuration but their arguments. */
  readonly proxyConfiguration?: ProxyConfiguration | undefined;
  readonly archiveVolumeSize: string;
  readonly archiveStorageClass: string | undefined;
  readonly archiveRetentionDays: number;
  /** Bytes that the proxies of one namespace may fill; undefined: as many as there are. */
  readonly archiveQuotaBytes: number | undefined;
  /** Days that ended ApprovalRequests are kept. */
  readonly requestDays: number;
  /** A larger number than before has bundles and votes signed by another key. */
  readonly signingKeyGeneration: number;
}

/** What could not be applied, by the namespace of the connections that it is for. */
export interface Failures {
  /** Everything that one source knows of takes the place of what it knew. @param source such as `agents/bots` */
  set(source: string, found: ReadonlyMap<string, readonly string[]>): void;
  get(namespace: string): readonly string[];
  onChange(listener: (namespace: string) => void): () => void;
}

/** Addresses of targets that are known by name alone. */
export interface Targets {
  /** CIDR ranges, as they were last resolved; undefined: not yet, or the name does not resolve. */
  ranges(host: string, connectionNamespace: string): readonly string[] | undefined;
  onChange(listener: () => void): () => void;
  run(signal: AbortSignal): Promise<void>;
}

/** As much of a pod as is kept. */
export interface AgentPod extends KubeObject {
  /** Runs no more, and does not come back. */
  readonly finished?: boolean;
}

export interface EndpointSlice extends KubeObject {
  readonly addressType?: string;
  readonly endpoints?: readonly { readonly addresses: readonly string[] }[];
  readonly ports?: readonly { readonly port?: number; readonly name?: string }[];
}
