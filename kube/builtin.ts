import { type KubeObject, type ResourceType, resourceType } from './types.ts';

/**
 * Built-in types by name. Their objects are typed as far as most readers look; who needs more gives a type of its own:
 * `resourceType<MyDeployment>('apps', 'v1', 'deployments', 'Deployment')`.
 */

/** An object with parts that this file does not describe. */
export interface AnyObject extends KubeObject {
  readonly [field: string]: unknown;
}

export interface Condition {
  readonly type: string;
  readonly status: 'True' | 'False' | 'Unknown';
  readonly reason?: string;
  readonly message?: string;
  readonly lastTransitionTime?: string;
  readonly observedGeneration?: number;
}

export interface Namespace extends KubeObject {
  readonly status?: { readonly phase?: 'Active' | 'Terminating' };
}

export interface ConfigMap extends KubeObject {
  readonly data?: Readonly<Record<string, string>>;
  /** Base64. */
  readonly binaryData?: Readonly<Record<string, string>>;
  readonly immutable?: boolean;
}

export interface Secret extends KubeObject {
  readonly type?: string;
  /** Base64. */
  readonly data?: Readonly<Record<string, string>>;
  readonly stringData?: Readonly<Record<string, string>>;
  readonly immutable?: boolean;
}

export interface Pod extends KubeObject {
  readonly spec?: {
    readonly nodeName?: string;
    readonly serviceAccountName?: string;
    readonly containers?: readonly AnyPart[];
    readonly initContainers?: readonly AnyPart[];
    readonly [field: string]: unknown;
  };
  readonly status?: {
    readonly phase?: 'Pending' | 'Running' | 'Succeeded' | 'Failed' | 'Unknown';
    readonly podIP?: string;
    readonly podIPs?: readonly { readonly ip: string }[];
    readonly conditions?: readonly Condition[];
    readonly [field: string]: unknown;
  };
}

export interface AnyPart {
  readonly name: string;
  readonly [field: string]: unknown;
}

export interface Deployment extends KubeObject {
  readonly spec?: { readonly replicas?: number; readonly [field: string]: unknown };
  readonly status?: {
    readonly observedGeneration?: number;
    readonly replicas?: number;
    readonly updatedReplicas?: number;
    readonly readyReplicas?: number;
    readonly availableReplicas?: number;
    readonly conditions?: readonly Condition[];
  };
}

export interface Lease extends KubeObject {
  readonly spec?: {
    readonly holderIdentity?: string | null;
    readonly leaseDurationSeconds?: number | null;
    /** MicroTime: `2026-01-02T03:04:05.000000Z`. */
    readonly acquireTime?: string | null;
    readonly renewTime?: string | null;
    readonly leaseTransitions?: number | null;
  };
}

export interface ObjectReference {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly namespace?: string;
  readonly name?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
}

/** events.k8s.io/v1. */
export interface KubeEvent extends KubeObject {
  readonly eventTime: string;
  readonly reportingController: string;
  readonly reportingInstance: string;
  readonly action: string;
  readonly reason: string;
  readonly type: 'Normal' | 'Warning';
  readonly note?: string;
  readonly regarding?: ObjectReference;
  readonly related?: ObjectReference;
  readonly series?: { readonly count: number; readonly lastObservedTime: string };
}

export interface TokenReview extends KubeObject {
  readonly spec: { readonly token: string; readonly audiences?: readonly string[] };
  readonly status?: {
    readonly authenticated?: boolean;
    readonly error?: string;
    readonly audiences?: readonly string[];
    readonly user?: {
      readonly username?: string;
      readonly uid?: string;
      readonly groups?: readonly string[];
      readonly extra?: Readonly<Record<string, readonly string[]>>;
    };
  };
}

export interface SubjectAccessReview extends KubeObject {
  readonly spec: {
    readonly user?: string;
    readonly uid?: string;
    readonly groups?: readonly string[];
    readonly extra?: Readonly<Record<string, readonly string[]>>;
    readonly resourceAttributes?: {
      readonly namespace?: string;
      readonly verb?: string;
      readonly group?: string;
      readonly version?: string;
      readonly resource?: string;
      readonly subresource?: string;
      readonly name?: string;
    };
    readonly nonResourceAttributes?: { readonly path?: string; readonly verb?: string };
  };
  readonly status?: { readonly allowed: boolean; readonly denied?: boolean; readonly reason?: string };
}

const core = <T extends KubeObject>(plural: string, kind: string): ResourceType<T> =>
  resourceType<T>('', 'v1', plural, kind);

export const NAMESPACES = resourceType<Namespace>('', 'v1', 'namespaces', 'Namespace', 'cluster');
export const PODS = core<Pod>('pods', 'Pod');
export const CONFIG_MAPS = core<ConfigMap>('configmaps', 'ConfigMap');
export const SECRETS = core<Secret>('secrets', 'Secret');
export const SERVICES = core<AnyObject>('services', 'Service');
export const SERVICE_ACCOUNTS = core<AnyObject>('serviceaccounts', 'ServiceAccount');
export const DEPLOYMENTS = resourceType<Deployment>('apps', 'v1', 'deployments', 'Deployment');
export const STATEFUL_SETS = resourceType<AnyObject>('apps', 'v1', 'statefulsets', 'StatefulSet');
export const REPLICA_SETS = resourceType<AnyObject>('apps', 'v1', 'replicasets', 'ReplicaSet');
export const LEASES = resourceType<Lease>('coordination.k8s.io', 'v1', 'leases', 'Lease');
export const EVENTS = resourceType<KubeEvent>('events.k8s.io', 'v1', 'events', 'Event');
export const ROLES = resourceType<AnyObject>('rbac.authorization.k8s.io', 'v1', 'roles', 'Role');
export const ROLE_BINDINGS = resourceType<AnyObject>('rbac.authorization.k8s.io', 'v1', 'rolebindings', 'RoleBinding');
export const CLUSTER_ROLES = resourceType<AnyObject>(
  'rbac.authorization.k8s.io',
  'v1',
  'clusterroles',
  'ClusterRole',
  'cluster',
);
export const CLUSTER_ROLE_BINDINGS = resourceType<AnyObject>(
  'rbac.authorization.k8s.io',
  'v1',
  'clusterrolebindings',
  'ClusterRoleBinding',
  'cluster',
);
export const NETWORK_POLICIES = resourceType<AnyObject>('networking.k8s.io', 'v1', 'networkpolicies', 'NetworkPolicy');
export const POD_DISRUPTION_BUDGETS = resourceType<AnyObject>(
  'policy',
  'v1',
  'poddisruptionbudgets',
  'PodDisruptionBudget',
);
export const ENDPOINT_SLICES = resourceType<AnyObject>('discovery.k8s.io', 'v1', 'endpointslices', 'EndpointSlice');
export const CUSTOM_RESOURCE_DEFINITIONS = resourceType<AnyObject>(
  'apiextensions.k8s.io',
  'v1',
  'customresourcedefinitions',
  'CustomResourceDefinition',
  'cluster',
);
export const MUTATING_WEBHOOK_CONFIGURATIONS = resourceType<AnyObject>(
  'admissionregistration.k8s.io',
  'v1',
  'mutatingwebhookconfigurations',
  'MutatingWebhookConfiguration',
  'cluster',
);
export const VALIDATING_WEBHOOK_CONFIGURATIONS = resourceType<AnyObject>(
  'admissionregistration.k8s.io',
  'v1',
  'validatingwebhookconfigurations',
  'ValidatingWebhookConfiguration',
  'cluster',
);
/** Created, never stored: the answer's status says who it is. `metadata.name` is empty. */
export const TOKEN_REVIEWS = resourceType<TokenReview>(
  'authentication.k8s.io',
  'v1',
  'tokenreviews',
  'TokenReview',
  'cluster',
);
export const SUBJECT_ACCESS_REVIEWS = resourceType<SubjectAccessReview>(
  'authorization.k8s.io',
  'v1',
  'subjectaccessreviews',
  'SubjectAccessReview',
  'cluster',
);
