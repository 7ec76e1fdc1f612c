import type { AccessConnection, Resources } from '../../api/resources.ts';
import type { PolicyScope } from '../bundle.ts';
import type { KubernetesCommand } from '../command.ts';
import { type KubernetesMeaning, type KubernetesRequest, kubernetesCommand } from '../kubernetes/commands.ts';
import type { KubernetesSpec } from '../kubernetes/match.ts';
import type { RuleSpec } from '../rule.ts';
import { connection, policy, scopeOf } from './build.ts';

/** Short ways to write rules and requests of the Kubernetes API in tests of the engine. */

export function kubernetesConnection(name = 'cluster', spec: Partial<AccessConnection['spec']> = {}): AccessConnection {
  const { spec: base, ...rest } = connection(name);
  return {
    ...rest,
    spec: {
      ...base,
      protocol: 'Kubernetes',
      target: { host: `${name}.example.com`, port: 443 },
      credential: { impersonate: {} },
      ...spec,
    },
  };
}

/** The scope of everybody on one Kubernetes connection. */
export function kubernetesScope(rules: readonly RuleSpec[], resources: Partial<Resources> = {}): PolicyScope {
  return scopeOf(
    { connections: [kubernetesConnection()], policies: [policy('p', rules)], ...resources },
    undefined,
    'cluster',
  );
}

export const allowKubernetes = (kubernetes: KubernetesSpec, rest: Partial<RuleSpec> = {}): RuleSpec => ({
  name: 'allow',
  effect: 'Allow',
  kubernetes: { namespaces: ['*'], ...kubernetes },
  ...rest,
});

/** A request such as `request('get', 'shop/pods/web-1/log')` or `request('list', 'nodes', { namespace: '' })`; groups are known. */
export function request(verb: string, target: string, rest: Partial<KubernetesRequest> = {}): KubernetesRequest {
  const [namespace = '', resource = '', name = '', subresource = ''] = target.split('/');
  return {
    text: `${verb} ${target}`,
    verb,
    group: GROUPS[resource] ?? '',
    version: 'v1',
    resource,
    subresource,
    namespace,
    name,
    ...rest,
  };
}

const GROUPS: Readonly<Record<string, string>> = {
  deployments: 'apps',
  statefulsets: 'apps',
  horizontalpodautoscalers: 'autoscaling',
  rolebindings: 'rbac.authorization.k8s.io',
  clusterroles: 'rbac.authorization.k8s.io',
  selfsubjectaccessreviews: 'authorization.k8s.io',
  certificatesigningrequests: 'certificates.k8s.io',
  validatingwebhookconfigurations: 'admissionregistration.k8s.io',
  customresourcedefinitions: 'apiextensions.k8s.io',
  apiservices: 'apiregistration.k8s.io',
  accesspolicies: 'sallyport.dev',
};

/** The command of such a request. */
export function asked(
  verb: string,
  target: string,
  meaning: Partial<KubernetesMeaning> = {},
  rest: Partial<KubernetesRequest> = {},
): KubernetesCommand {
  return kubernetesCommand(request(verb, target, rest), { effects: [], ...meaning });
}

export function execOf(argv: readonly string[], target = 'shop/pods/web-1/exec'): KubernetesCommand {
  return asked('create', target, {}, { argv });
}

export function url(path: string, verb = 'get'): KubernetesCommand {
  return asked(verb, '', {}, { path });
}
