/**
 * Resources of Kubernetes itself, for what authors get wrong: `GROUP: PLURAL[=SINGULAR_OR_SHORT,...]`, as `kubectl api-resources` has them.
 * Custom resources are not here, so nothing is said of names that are not.
 */
const BUILT_IN: Readonly<Record<string, string>> = {
  '': 'bindings configmaps=cm endpoints=ep events=ev limitranges=limits namespaces=ns nodes=no persistentvolumeclaims=pvc persistentvolumes=pv pods=po podtemplates replicationcontrollers=rc resourcequotas=quota secrets serviceaccounts=sa services=svc',
  apps: 'controllerrevisions daemonsets=ds deployments=deploy replicasets=rs statefulsets=sts',
  autoscaling: 'horizontalpodautoscalers=hpa',
  batch: 'cronjobs=cj jobs',
  policy: 'poddisruptionbudgets=pdb',
  'networking.k8s.io': 'ingresses=ing,ingress ingressclasses=ingressclass networkpolicies=netpol,networkpolicy',
  'rbac.authorization.k8s.io': 'clusterrolebindings clusterroles rolebindings roles',
  'storage.k8s.io': 'storageclasses=sc,storageclass volumeattachments csidrivers csinodes',
  'coordination.k8s.io': 'leases',
  'discovery.k8s.io': 'endpointslices',
  'certificates.k8s.io': 'certificatesigningrequests=csr',
  'apiextensions.k8s.io': 'customresourcedefinitions=crd,crds',
  'apiregistration.k8s.io': 'apiservices',
  'admissionregistration.k8s.io': 'mutatingwebhookconfigurations validatingwebhookconfigurations',
  'scheduling.k8s.io': 'priorityclasses=pc,priorityclass',
};

const groups = new Map<string, string>();
const plurals = new Map<string, string>();
for (const [group, list] of Object.entries(BUILT_IN)) {
  for (const entry of list.split(' ')) {
    const [plural = '', others = ''] = entry.split('=');
    groups.set(plural, group);
    plurals.set(plural.replace(/s$/, ''), plural);
    for (const other of others.split(',')) if (other !== '') plurals.set(other, plural);
  }
}

/** The plural that somebody means who writes a singular or a short name; undefined for what may be a plural. */
export function pluralOf(name: string): string | undefined {
  return groups.has(name) ? undefined : plurals.get(name);
}

/** The group of a built-in resource; `core` is the empty one. Undefined for others. */
export function groupOf(resource: string): string | undefined {
  return groups.get(resource);
}

/** Groups that hold none but built-in resources. */
export function isBuiltInGroup(group: string): boolean {
  return Object.hasOwn(BUILT_IN, group);
}
