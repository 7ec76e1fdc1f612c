import { NAMES } from '../../api/cluster.ts';
import type { AnyObject } from '../../kube/builtin.ts';
import { labelsOf } from './labels.ts';
import type { ProxyInputs } from './proxy-inputs.ts';

/** Whom the proxy is. The token is mounted by the proxy's own pod alone, not by whoever names this account. */
export function proxyServiceAccount({ namespace, owners }: ProxyInputs): AnyObject {
  return {
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: {
      name: NAMES.proxy,
      namespace,
      labels: labelsOf(NAMES.proxy, 'proxy', namespace),
      ownerReferences: owners,
    },
    automountServiceAccountToken: false,
  };
}
