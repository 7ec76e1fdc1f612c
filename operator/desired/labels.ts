import { LABELS, MANAGED_BY } from '../../api/cluster.ts';

export type Component = 'proxy' | 'archive' | 'agents' | 'operator';

/** On every object of ours. `served` is the namespace of the connections that it is there for; absent: of the installation. */
export function labelsOf(name: string, component: Component, served?: string): Record<string, string> {
  return {
    [LABELS.name]: name,
    [LABELS.component]: component,
    [LABELS.partOf]: MANAGED_BY,
    [LABELS.managedBy]: MANAGED_BY,
    ...(served === undefined ? {} : { [LABELS.servedNamespace]: served }),
  };
}

/** What selects the pods of a component within its namespace. Never changes: a Deployment's selector cannot. */
export function podLabels(name: string, component: Component): Record<string, string> {
  return { [LABELS.name]: name, [LABELS.component]: component };
}

/** Of what the operator keeps a copy of: its own objects. */
export const OURS = `${LABELS.managedBy}=${MANAGED_BY}`;
