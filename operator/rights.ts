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
const COPY = ['list', 'watch'] as const;

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
    apiGroups: ['coordination.k8s.io'],
    resources: ['leases'],
    verbs: ['get', ...COPY, 'create', 'update'],
    why: 'which of its replicas leads, and what replicas of the proxies report',
  },
  { apiGroups: ['events.k8s.io'], resources: ['events'], verbs: ['create', 'patch'], why: 'telling people' },
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
  { apiGroups: ['apps'], resources: ['deployments'], verbs: [...COPY, ...APPLY], why: 'proxies' },
  {
    apiGroups: ['apps'],
    resources: ['statefulsets'],
    verbs: [...COPY, 'create', 'patch', 'update'],
    why: 'the archive, which it never removes',
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

/** The verbs of a rule that none of these rights gives already. Rules of RBAC add up, so that is what is left to be granted. */
const missingVerbs = (rights: readonly Rule[], rule: Rule): readonly string[] =>
  rule.verbs.filter(
    (verb) =>
      !rights.some(
        (right) =>
          right.resourceNames === undefined &&
          right.verbs.includes(verb) &&
          (['apiGroups', 'resources'] as const).every((part) => rule[part].every((each) => right[part].includes(each))),
      ),
  );

/** In every namespace. What proxies are granted is among it, as far as it is more than the operator's own: Events and Leases serve both. */
export const CLUSTER_RIGHTS: readonly Right[] = [
  ...OWN,
  ...PROXY_RULES.map((rule) => ({
    ...rule,
    verbs: missingVerbs(OWN, rule),
    why: 'granted to proxies: who grants has to have it',
  })).filter(({ verbs }) => verbs.length > 0),
];

/**
 * What Kubernetes and HTTP connections need, where the chart's value `rbac.kubernetes` says so. Proxies get rights that the operator does not
 * have: acting as a service account, and tokens of one. To have them itself it would need them for every account of the cluster. `escalate` lets it
 * write just the Roles of these two names (server-side apply names the object in its URL, so the rule can), and a fence of the chart says what may
 * be in them.
 */
export const KUBERNETES_RIGHTS: readonly Right[] = [
  {
    apiGroups: [RBAC],
    resources: ['roles'],
    resourceNames: [NAMES.impersonator, NAMES.tokenRequester],
    verbs: ['escalate', 'bind'],
    why: 'proxies act as the service accounts that policies name, and ask for tokens of those that connections name',
  },
  {
    apiGroups: [RBAC],
    resources: ['clusterroles'],
    resourceNames: [NAMES.impersonator],
    verbs: ['bind'],
    why: 'proxies say which session it is for whom they act',
  },
];

/** In the operator's own namespace. Its leader election lives there too, with the rights on Leases that it has everywhere. */
export const NAMESPACE_RIGHTS: readonly Right[] = [
  {
    apiGroups: [''],
    resources: ['secrets'],
    resourceNames: [NAMES.keys],
    verbs: ['get', ...COPY, 'update'],
    why: 'the keys of the installation',
  },
  {
    apiGroups: ['apps'],
    resources: ['deployments'],
    resourceNames: [NAMES.operator],
    verbs: ['get'],
    why: 'its own Deployment, which owns the objects of the archive',
  },
  {
    apiGroups: [''],
    resources: ['secrets'],
    resourceNames: [NAMES.archiveTls],
    verbs: [...COPY, 'patch', 'update'],
    why: "the archive's certificate",
  },
];
