import { NAMES } from '../../api/cluster.ts';
import type { AnyObject } from '../../kube/builtin.ts';
import { labelsOf, podLabels } from './labels.ts';
import type { ProxyInputs } from './proxy-inputs.ts';

/** Nodes are drained one replica at a time. With a single replica a drain is not blocked for ever. */
export function proxyDisruptionBudget({ namespace, owners }: ProxyInputs): AnyObject {
  return {
    apiVersion: 'policy/v1',
    kind: 'PodDisruptionBudget',
    metadata: {
      name: NAMES.proxy,
      namespace,
      labels: labelsOf(NAMES.proxy, 'proxy', namespace),
      ownerReferences: owners,
    },
    spec: { maxUnavailable: 1, selector: { matchLabels: podLabels(NAMES.proxy, 'proxy') } },
  };
}
