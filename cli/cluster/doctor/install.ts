import { X509Certificate } from 'node:crypto';
import { API_VERSION, DEFAULT_OPERATOR_NAMESPACE, GROUP, NAMES } from '../../../api/cluster.ts';
import type { AnyObject } from '../../../kube/builtin.ts';
import { impersonatesHere } from '../../../operator/targets/api-server.ts';
import type { NamespaceStatus } from '../status.ts';
import { schemaPaths } from './crd-paths.ts';
import type { Facts, NeededRight } from './facts.ts';
import { type Diagnosis, diagnoses } from './finding.ts';

/** Checks of what the chart installs. Pure: facts in, diagnoses out. */

const UPGRADE = 'Install the chart of this release again: helm upgrade --install sallyport … (docs/kubectl-plugin.md).';
const [, VERSION = ''] = API_VERSION.split('/');
/** ValidatingAdmissionPolicies are v1 since then, and native sidecars are on. */
const OLDEST_MINOR = 30;
const DAY_MS = 86_400_000;

/** The ValidatingAdmissionPolicies of the chart. */
export const FENCES = [
  'sallyport-agent-pods',
  'sallyport-approval-status',
  'sallyport-approvals',
  'sallyport-connection-secrets',
  'sallyport-granted-rights',
  'sallyport-masking-secrets',
  'sallyport-objects',
  'sallyport-proxy-pods',
  'sallyport-reports',
  'sallyport-service-accounts',
  'sallyport-sharing',
  'sallyport-status',
  'sallyport-tokens',
] as const;

type Json = Readonly<Record<string, unknown>>;
const record = (value: unknown): Json => (typeof value === 'object' && value !== null ? (value as Json) : {});
const list = (value: unknown): readonly Json[] => (Array.isArray(value) ? value.map(record) : []);

export function checkVersion({ serverVersion: { major, minor } }: Facts): Diagnosis[] {
  const { ok, error } = diagnoses('kubernetes');
  const name = `Kubernetes ${major}.${minor}`;
  if (major > 1 || minor >= OLDEST_MINOR) return [ok(name, 'new enough')];
  return [
    error(
      name,
      `older than 1.${OLDEST_MINOR}`,
      'Upgrade the cluster: native sidecars and admission policies are missing.',
    ),
  ];
}

/** @param own CRDs as this release has them, by name */
export function checkCrds({ crds }: Facts, own: ReadonlyMap<string, unknown>): Diagnosis[] {
  const { ok, error, warning, unknown } = diagnoses('crds');
  if (crds === undefined) return [unknown('CustomResourceDefinitions', 'get customresourcedefinitions')];
  return [...own].map(([name, expected]) => {
    const installed = crds.get(name);
    if (installed === null || installed === undefined) return error(name, 'it is not installed', UPGRADE);
    const conditions = list(record(installed['status'])['conditions']);
    if (!conditions.some(({ type, status }) => type === 'Established' && status === 'True'))
      return error(name, 'the API server does not serve it', 'See kubectl describe crd: its conditions say why.');
    const served = list(record(installed['spec'])['versions']).find((version) => version['name'] === VERSION);
    if (served?.['served'] !== true) return error(name, `it does not serve ${VERSION}`, UPGRADE);
    const [ours, theirs] = [schemaPaths(expected, VERSION), schemaPaths(installed, VERSION)];
    const lacking = [...ours].filter((path) => !theirs.has(path));
    if (lacking.length > 0)
      return error(name, `it is older than this release: it has no ${lacking.slice(0, 3).join(', ')}`, UPGRADE);
    const extra = [...theirs].filter((path) => !ours.has(path));
    if (extra.length > 0)
      return warning(
        name,
        `it is newer than this plugin: ${extra.slice(0, 3).join(', ')}`,
        'Use the plugin of the installed release.',
      );
    return ok(name, `${GROUP}/${VERSION}`);
  });
}

export function checkOperator({ operator, operatorNamespace, pluginVersion }: Facts): Diagnosis[] {
  const { ok, error, warning, unknown } = diagnoses('operator');
  const name = `Deployment ${operatorNamespace}/${NAMES.operator}`;
  if (operator === undefined) return [unknown(name, `get deployments in ${operatorNamespace}`)];
  if (operator === null) {
    const elsewhere =
      operatorNamespace === DEFAULT_OPERATOR_NAMESPACE ? ', or name its namespace with --operator-namespace' : '';
    return [error(name, 'it is not there', `Install the chart${elsewhere}.`)];
  }
  const { availableReplicas = 0 } = operator.status ?? {};
  if (availableReplicas === 0) {
    return [
      error(
        name,
        'no replica is available: policies in force stay in force, changes do not come, and pods that want a connector are refused',
        `See kubectl -n ${operatorNamespace} get pods, and the log of ${NAMES.operator}.`,
      ),
    ];
  }
  const image = /"image":"([^"]+)"/.exec(JSON.stringify(operator.spec ?? {}))?.[1] ?? '';
  const tag = /:([^:/@]+)(@|$)/.exec(image)?.[1]?.replace(/^v/, '');
  if (tag !== undefined && /^\d+\.\d+\.\d+/.test(tag) && tag !== pluginVersion)
    return [warning(name, `it is version ${tag}, and this plugin ${pluginVersion}`, 'Use the same release of both.')];
  return [ok(name, `${availableReplicas} available`)];
}

export function checkWebhook({ webhooks, webhookEndpoints, operatorNamespace, clocks }: Facts): Diagnosis[] {
  const { ok, error, warning, unknown } = diagnoses('webhook');
  const name = 'MutatingWebhookConfiguration sallyport';
  if (webhooks === undefined) return [unknown(name, 'get mutatingwebhookconfigurations')];
  if (webhooks === null) {
    return [error(name, 'it is not there: no pod gets a connector, and votes are not signed', UPGRADE)];
  }
  const found: Diagnosis[] = [];
  for (const webhook of list(webhooks['webhooks'])) {
    const label = `${name}, ${String(webhook['name'])}`;
    if (webhook['failurePolicy'] !== 'Fail')
      found.push(error(label, 'failurePolicy is not Fail: while the operator is down it is passed by', UPGRADE));
    found.push(...certificate(label, record(webhook['clientConfig'])['caBundle'], clocks.server ?? clocks.here));
  }
  if (webhookEndpoints === undefined)
    found.push(unknown(`Service ${operatorNamespace}/${NAMES.webhook}`, 'list endpointslices'));
  else if (!webhookEndpoints.some(hasReady)) {
    found.push(
      error(
        `Service ${operatorNamespace}/${NAMES.webhook}`,
        'no operator answers behind it: pods that want a connector, and votes, are refused',
        `See kubectl -n ${operatorNamespace} get pods, and that network policies let the API server in.`,
      ),
    );
  }
  return found.length === 0 ? [ok(name, 'it has its authority, and an operator answers')] : found;

  function certificate(label: string, bundle: unknown, now: number): Diagnosis[] {
    if (typeof bundle !== 'string' || bundle === '') {
      const message = 'it has no caBundle yet, so the API server cannot call it';
      return [error(label, message, 'The operator writes it: see its log, and its right to patch the configuration.')];
    }
    const pems = Buffer.from(bundle, 'base64')
      .toString('utf8')
      .split(/(?<=-----END CERTIFICATE-----)/);
    const ends = pems.flatMap((pem) => (pem.includes('BEGIN') ? [Date.parse(new X509Certificate(pem).validTo)] : []));
    const last = Math.max(...ends);
    const fix =
      'The operator renews it: see its log. Deleting the Secret sallyport-keys makes new keys for everything.';
    if (last <= now) return [error(label, 'its authority has expired', fix)];
    if (last <= now + DAY_MS) return [warning(label, 'its authority expires within a day', fix)];
    return [];
  }
}

const hasReady = (slice: AnyObject): boolean =>
  list(slice['endpoints']).some((endpoint) => record(endpoint['conditions'])['ready'] !== false);

export function checkFences({ fences, fenceBindings }: Facts): Diagnosis[] {
  const { ok, error, warning, unknown } = diagnoses('fences');
  if (fences === undefined || fenceBindings === undefined)
    return [unknown('ValidatingAdmissionPolicies', 'list validatingadmissionpolicies and their bindings')];
  const found = FENCES.flatMap((name) => {
    const label = `ValidatingAdmissionPolicy ${name}`;
    if (!fences.some(({ metadata }) => metadata.name === name)) {
      const message = 'it is not there: what it keeps out rests on rights and on the webhook alone';
      return [warning(label, message, 'Install the chart with fences.enabled=true.')];
    }
    const binding = fenceBindings.find(({ spec }) => record(spec)['policyName'] === name);
    const actions = record(binding?.['spec'])['validationActions'];
    if (binding === undefined || !Array.isArray(actions) || !actions.includes('Deny'))
      return [error(label, 'nothing binds it with Deny, so it keeps nothing out', UPGRADE)];
    return [];
  });
  return found.length === 0 ? [ok('ValidatingAdmissionPolicies', `all ${FENCES.length} are there and deny`)] : found;
}

/** A few rights that stand for each rule of the operator's roles. */
export function rightsOfOperator(served: readonly Pick<NamespaceStatus, 'namespace' | 'connections'>[]): NeededRight[] {
  const namespaces = served.map(({ namespace }) => namespace);
  const group = 'rbac.authorization.k8s.io';
  const everywhere = ['accessconnections', 'accesspolicies', 'maskingrules', 'approvalrequests'].map((resource) => ({
    verb: 'list',
    group: GROUP,
    resource,
  }));
  return [
    ...everywhere,
    { verb: 'watch', group: GROUP, resource: 'accessconnections' },
    { verb: 'patch', group: GROUP, resource: 'accessconnections', subresource: 'status' },
    ...namespaces.flatMap((namespace) => [
      { verb: 'patch', group: 'apps', resource: 'deployments', namespace },
      { verb: 'patch', group: '', resource: 'configmaps', namespace },
      { verb: 'patch', group: '', resource: 'services', namespace },
    ]),
    // What proxies get and the operator does not have: in the chart behind the value rbac.kubernetes.
    ...(served.some(({ connections }) => connections.some(impersonatesHere))
      ? [
          { verb: 'escalate', group, resource: 'roles', name: NAMES.impersonator },
          { verb: 'bind', group, resource: 'clusterroles', name: NAMES.impersonator },
        ]
      : []),
    ...(served.some(({ connections }) =>
      connections.some(({ spec }) => spec.credential?.serviceAccountToken !== undefined),
    )
      ? [{ verb: 'escalate', group, resource: 'roles', name: NAMES.tokenRequester }]
      : []),
  ];
}

export function checkRights({ missingRights, operatorNamespace }: Facts): Diagnosis[] {
  const { ok, error, unknown } = diagnoses('rights');
  const name = `ServiceAccount ${operatorNamespace}/${NAMES.operator}`;
  if (missingRights === undefined) return [unknown(name, 'create subjectaccessreviews')];
  if (missingRights.length === 0) return [ok(name, 'it has its rights')];
  const words = missingRights.map(
    ({ verb, resource, subresource, name: object, namespace }) =>
      `${verb} ${resource}${subresource === undefined ? '' : `/${subresource}`}${object === undefined ? '' : ` ${object}`}${namespace === undefined ? '' : ` in ${namespace}`}`,
  );
  const fix = missingRights.some(({ verb }) => verb === 'escalate') ? `${UPGRADE} With rbac.kubernetes=true.` : UPGRADE;
  return [error(name, `it may not ${words.join('; ')}`, fix)];
}
