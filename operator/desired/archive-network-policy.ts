import { LABELS, NAMES, PORTS } from '../../api/cluster.ts';
import type { AnyObject } from '../../kube/builtin.ts';
import { type ArchiveInputs, archiveMetadata } from './archive-inputs.ts';
import { podLabels } from './labels.ts';
import { podsOfNamespaces, tcp } from './network-policy-parts.ts';

/**
 * Anybody may dial it who is a proxy, wherever; the certificate decides what it may write. People come by a port-forward, which the kubelet
 * opens inside the pod, so no pod may dial the port where they read.
 */
export const archiveNetworkPolicy = ({ namespace }: ArchiveInputs): AnyObject => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: archiveMetadata(namespace),
  spec: {
    podSelector: { matchLabels: podLabels(NAMES.archive, 'archive') },
    policyTypes: ['Ingress'],
    ingress: [
      {
        from: [{ namespaceSelector: {}, podSelector: { matchLabels: podLabels(NAMES.proxy, 'proxy') } }],
        ports: tcp(PORTS.archive),
      },
      {
        from: [...podsOfNamespaces([namespace]), { namespaceSelector: { matchLabels: { [LABELS.scrape]: 'true' } } }],
        ports: tcp(PORTS.metrics),
      },
    ],
  },
});
