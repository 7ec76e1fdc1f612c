import { LABELS, NAMES, PORTS } from '../../api/cluster.ts';
import type { AnyObject, ConfigMap } from '../../kube/builtin.ts';
import { labelsOf, podLabels } from './labels.ts';
import { podsOfNamespaces, tcp } from './network-policy-parts.ts';
import { CONTAINER_SECURITY, KEY_MODE, NOT_OF_THE_NODE, POD_SECURITY } from './pod-security.ts';

/** What the archive of the installation is made of. */
export interface ArchiveInputs {
  /** The operator's. */
  readonly namespace: string;
  readonly image: string;
  readonly imagePullPolicy: 'Always' | 'IfNotPresent' | 'Never';
  /** Size of its volume, such as `20Gi`. Cannot be changed once the volume is there. */
  readonly volumeSize: string;
  /** Absent: the cluster's default class. */
  readonly storageClass?: string | undefined;
  readonly retentionDays: number;
}

const FOLDER = '/var/lib/sallyport-archive';
const CONFIGURATION = '/etc/sallyport/archive';
const TLS = '/var/run/sallyport/tls';
/** Room for the system and for what is written while old segments are removed. */
const MIN_FREE_BYTES = 256 * 1024 * 1024;

const metadata = (namespace: string) => ({
  name: NAMES.archive,
  namespace,
  labels: labelsOf(NAMES.archive, 'archive'),
});

export const archiveServiceAccount = ({ namespace }: ArchiveInputs): AnyObject => ({
  apiVersion: 'v1',
  kind: 'ServiceAccount',
  metadata: metadata(namespace),
  automountServiceAccountToken: false,
});

/** `SallyportConfiguration` of the archive. A proxy's certificate says its namespace, and it may write nothing else. */
export function archiveConfigMap({ namespace, retentionDays }: ArchiveInputs): ConfigMap {
  const configuration = {
    apiVersion: 'sallyport.dev/v1alpha1',
    kind: 'SallyportConfiguration',
    metrics: { address: `0.0.0.0:${PORTS.metrics}` },
    archiveServer: {
      address: `0.0.0.0:${PORTS.archive}`,
      directory: FOLDER,
      certificateFile: `${TLS}/tls.crt`,
      keyFile: `${TLS}/tls.key`,
      clientCaFile: `${TLS}/ca.crt`,
      namespacesFromNames: true,
      minFreeBytes: MIN_FREE_BYTES,
      retentionDays,
    },
  };
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: metadata(namespace),
    // JSON is YAML.
    data: { 'archive.yaml': `${JSON.stringify(configuration, null, 2)}\n` },
  };
}

export const archiveService = ({ namespace }: ArchiveInputs): AnyObject => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: metadata(namespace),
  spec: {
    type: 'ClusterIP',
    selector: podLabels(NAMES.archive, 'archive'),
    ports: [{ name: 'archive', port: PORTS.archive, targetPort: 'archive', protocol: 'TCP' }],
  },
});

/** Anybody may dial it who is a proxy, wherever; the certificate decides what it may write. It dials names, and sinks on 443. */
export const archiveNetworkPolicy = ({ namespace }: ArchiveInputs): AnyObject => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: metadata(namespace),
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

/** One replica: it has the one volume. While it is away proxies keep what it has not acknowledged. */
export function archiveStatefulSet(inputs: ArchiveInputs): AnyObject {
  const { namespace, image, imagePullPolicy, volumeSize, storageClass } = inputs;
  const labels = labelsOf(NAMES.archive, 'archive');
  const probe = (path: string) => ({ httpGet: { path, port: 'metrics' } });
  return {
    apiVersion: 'apps/v1',
    kind: 'StatefulSet',
    metadata: metadata(namespace),
    spec: {
      replicas: 1,
      serviceName: NAMES.archive,
      revisionHistoryLimit: 2,
      selector: { matchLabels: podLabels(NAMES.archive, 'archive') },
      // The record outlives the installation: who removes it does so by hand.
      persistentVolumeClaimRetentionPolicy: { whenDeleted: 'Retain', whenScaled: 'Retain' },
      template: {
        metadata: { labels, annotations: { 'kubectl.kubernetes.io/default-container': 'archive' } },
        spec: {
          serviceAccountName: NAMES.archive,
          automountServiceAccountToken: false,
          enableServiceLinks: false,
          terminationGracePeriodSeconds: 30,
          securityContext: { ...POD_SECURITY, fsGroupChangePolicy: 'OnRootMismatch' },
          ...NOT_OF_THE_NODE,
          initContainers: [],
          containers: [
            {
              name: 'archive',
              image,
              imagePullPolicy,
              args: ['archive', 'run', '--config', `${CONFIGURATION}/archive.yaml`],
              ports: [
                { name: 'archive', containerPort: PORTS.archive, protocol: 'TCP' },
                { name: 'metrics', containerPort: PORTS.metrics, protocol: 'TCP' },
              ],
              startupProbe: { ...probe('/healthz'), periodSeconds: 1, failureThreshold: 120 },
              readinessProbe: { ...probe('/readyz'), periodSeconds: 2, failureThreshold: 2 },
              livenessProbe: { ...probe('/healthz'), periodSeconds: 10, failureThreshold: 3 },
              resources: { requests: { cpu: '50m', memory: '128Mi' }, limits: { memory: '768Mi' } },
              securityContext: CONTAINER_SECURITY,
              volumeMounts: [
                { name: 'record', mountPath: FOLDER },
                { name: 'configuration', mountPath: CONFIGURATION, readOnly: true },
                { name: 'tls', mountPath: TLS, readOnly: true },
              ],
            },
          ],
          volumes: [
            { name: 'configuration', configMap: { name: NAMES.archive } },
            { name: 'tls', secret: { secretName: NAMES.archiveTls, defaultMode: KEY_MODE } },
          ],
        },
      },
      volumeClaimTemplates: [
        {
          apiVersion: 'v1',
          kind: 'PersistentVolumeClaim',
          metadata: { name: 'record' },
          spec: {
            accessModes: ['ReadWriteOnce'],
            ...(storageClass === undefined ? {} : { storageClassName: storageClass }),
            resources: { requests: { storage: volumeSize } },
          },
        },
      ],
    },
  };
}
