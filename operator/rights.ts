import { GROUP, NAMES } from '../api/cluster.ts';
import { PROXY_RULES } from './desired/role.ts';
import { WEBHOOK_CONFIGURATION } from './webhook/paths.ts';

/** A rule of RBAC, and what it is for. The chart's Roles are made of these. */
export interface Right {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
  readonly why: string;
}

const RBAC = 'rbac.authorization.k8s.io';
/** Server-side apply is a patch, and a create where there is nothing; what somebody added is taken back by an update. */
const APPLY = ['create', 'patch', 'update', 'delete'] as const;
const COPY = ['get', 'list', 'watch'] as const;

const OWN: readonly Right[] = [
  {
    apiGroups: [GROUP],
    resources: ['accessconnections', 'accesspolicies', 'maskingrules'],
    verbs: COPY,
    why: 'what the bundles are made of',
  },
  {
    apiGroups: [GROUP],
    resources: ['accessconnections/status', 'accesspolicies/status', 'maskingrules/status'],
    verbs: ['patch'],
    why: 'conditions',
  },
  { apiGroups: [GROUP], resources: ['approvalrequests'], verbs: ['list', 'delete'], why: 'ended requests are removed' },
  {
    apiGroups: ['authorization.k8s.io'],
    resources: ['subjectaccessreviews'],
    verbs: ['create'],
    why: 'whether who votes may approve',
  },
  {
    apiGroups: [''],
    resources: ['namespaces', 'pods'],
    verbs: COPY,
    why: 'selectors of namespaces, and which pods have a connector',
  },
  {
    apiGroups: ['discovery.k8s.io'],
    resources: ['endpointslices'],
    verbs: COPY,
    why: 'addresses of the API server and of targets, for NetworkPolicies',
  },
  {
    apiGroups: [''],
    resources: ['configmaps', 'services', 'serviceaccounts'],
    verbs: [...COPY, ...APPLY],
    why: 'objects of the proxies and of the archive',
  },
  {
    apiGroups: ['apps'],
    resources: ['deployments', 'statefulsets'],
    verbs: [...COPY, ...APPLY],
    why: 'proxies and archive',
  },
  { apiGroups: ['policy'], resources: ['poddisruptionbudgets'], verbs: [...COPY, ...APPLY], why: 'proxies' },
  {
    apiGroups: ['networking.k8s.io'],
    resources: ['networkpolicies'],
    verbs: [...COPY, ...APPLY],
    why: 'proxies, archive, and namespaces of agents',
  },
  {
    apiGroups: [RBAC],
    resources: ['roles', 'rolebindings', 'clusterrolebindings'],
    verbs: [...COPY, ...APPLY],
    why: "the proxies' rights; the API server lets nobody grant more than they have",
  },
  {
    apiGroups: [RBAC],
    resources: ['clusterroles'],
    resourceNames: [NAMES.podReader, NAMES.tokenReviewer],
    verbs: ['bind'],
    why: 'proxies see pods of agents and ask whose a token is',
  },
  {
    apiGroups: [''],
    resources: ['secrets'],
    resourceNames: [NAMES.proxyTls, NAMES.tokenKey],
    verbs: [...COPY, 'patch', 'update', 'delete'],
    why: 'the two Secrets that it makes for proxies; lists and watches by name',
  },
  {
    apiGroups: [''],
    resources: ['secrets'],
    verbs: ['create'],
    why: 'making them: a create cannot be limited to names',
  },
  {
    apiGroups: ['admissionregistration.k8s.io'],
    resources: ['mutatingwebhookconfigurations', 'validatingwebhookconfigurations'],
    resourceNames: [WEBHOOK_CONFIGURATION],
    verbs: [...COPY, 'patch'],
    why: 'caBundle of the two configurations of the installation; lists and watches by name',
  },
];

type Rule = Pick<Right, 'apiGroups' | 'resources' | 'resourceNames' | 'verbs'>;

const holds = (right: Rule, rule: Rule): boolean =>
  right.resourceNames === undefined &&
  (['apiGroups', 'resources', 'verbs'] as const).every((part) =>
    rule[part].every((each) => right[part].includes(each)),
  );

/** In every namespace. What proxies are granted is among it, as far as it is more than the operator's own: Events and Leases serve both. */
export const CLUSTER_RIGHTS: readonly Right[] = [
  ...OWN,
  ...PROXY_RULES.filter((rule) => !OWN.some((right) => holds(right, rule))).map((rule) => ({
    ...rule,
    why: 'granted to proxies: who grants has to have it',
  })),
];

/** In the operator's own namespace. Its leader election lives there too, with the rights on Leases that it has everywhere. */
export const NAMESPACE_RIGHTS: readonly Right[] = [
  {
    apiGroups: [''],
    resources: ['secrets'],
    resourceNames: [NAMES.keys],
    verbs: [...COPY, 'update'],
    why: 'the keys of the installation',
  },
  {
    apiGroups: [''],
    resources: ['secrets'],
    resourceNames: [NAMES.archiveTls],
    verbs: [...COPY, 'patch', 'update'],
    why: "the archive's certificate",
  },
];
