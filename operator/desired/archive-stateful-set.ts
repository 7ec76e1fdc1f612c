import { createHash } from 'node:crypto';
import { ANNOTATIONS, LABELS, NAMES, PORTS } from '../../api/cluster.ts';
import type { AnyObject } from '../../kube/builtin.ts';
import { archiveConfiguration } from './archive-config-map.ts';
import { ARCHIVE_PATHS, type ArchiveInputs, archiveMetadata } from './archive-inputs.ts';
import { labelsOf, podLabels } from './labels.ts';
import { CONTAINER_SECURITY, KEY_MODE, NOT_OF_THE_NODE, POD_SECURITY } from './pod-security.ts';

/** One replica: it has the one volume. While it is away proxies keep what it has not acknowledged. */
export function archiveStatefulSet(inputs: ArchiveInputs): AnyObject {
  const { namespace, image, imagePullPolicy, volumeSize, storageClass } = inputs;
  const labels = labelsOf(NAMES.archive, 'archive');
  const probe = (path: string) => ({ httpGet: { path, port: 'metrics' } });
  return {
    apiVersion: 'apps/v1',
    kind: 'StatefulSet',
    metadata: archiveMetadata(namespace),
    spec: {
      replicas: 1,
      serviceName: NAMES.archive,
      revisionHistoryLimit: 2,
      selector: { matchLabels: podLabels(NAMES.archive, 'archive') },
      // The record outlives the installation: who removes it does so by hand.
      persistentVolumeClaimRetentionPolicy: { whenDeleted: 'Retain', whenScaled: 'Retain' },
      template: {
        metadata: {
          labels: { ...labels, [LABELS.inject]: 'false' },
          annotations: {
            'kubectl.kubernetes.io/default-container': 'archive',
            // It reads its configuration once: another one is another pod.
            [ANNOTATIONS.configurationHash]: createHash('sha256').update(archiveConfiguration(inputs)).digest('hex'),
          },
        },
        spec: {
          serviceAccountName: NAMES.archive,
          // It asks the API server who reads, and what they may.
          automountServiceAccountToken: true,
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
              args: ['archive', 'run', '--config', `${ARCHIVE_PATHS.configuration}/archive.yaml`],
              ports: [
                { name: 'archive', containerPort: PORTS.archive, protocol: 'TCP' },
                { name: 'reading', containerPort: PORTS.archiveReading, protocol: 'TCP' },
                { name: 'metrics', containerPort: PORTS.metrics, protocol: 'TCP' },
              ],
              startupProbe: { ...probe('/healthz'), periodSeconds: 1, failureThreshold: 120 },
              readinessProbe: { ...probe('/readyz'), periodSeconds: 2, failureThreshold: 2 },
              livenessProbe: { ...probe('/healthz'), periodSeconds: 10, failureThreshold: 3 },
              resources: { requests: { cpu: '50m', memory: '128Mi' }, limits: { memory: '768Mi' } },
              securityContext: CONTAINER_SECURITY,
              volumeMounts: [
                { name: 'record', mountPath: ARCHIVE_PATHS.volume },
                { name: 'configuration', mountPath: ARCHIVE_PATHS.configuration, readOnly: true },
                { name: 'tls', mountPath: ARCHIVE_PATHS.tls, readOnly: true },
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
