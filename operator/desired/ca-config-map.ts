import { NAMES, SSH_HOST } from '../../api/cluster.ts';
import type { ConfigMap } from '../../kube/builtin.ts';
import type { AgentsInputs } from './agents-inputs.ts';
import { labelsOf } from './labels.ts';

/** The authorities whose certificates are proxies, for connectors and for agents that verify; and that of their SSH host certificates. */
export function caConfigMap({ namespace, trust, sshKnownHosts }: AgentsInputs): ConfigMap {
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: NAMES.ca, namespace, labels: labelsOf(NAMES.ca, 'agents') },
    data: { 'ca.crt': trust, ...(sshKnownHosts === '' ? {} : { [SSH_HOST.knownHosts]: sshKnownHosts }) },
  };
}
