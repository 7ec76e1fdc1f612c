import { PORTS } from '../../api/cluster.ts';
import type { ConfigMap } from '../../kube/builtin.ts';
import { ARCHIVE_PATHS, type ArchiveInputs, archiveMetadata } from './archive-inputs.ts';

/** Room for the system and for what is written while old segments are removed. */
const MIN_FREE_BYTES = 256 * 1024 * 1024;

/** `archive.yaml`. A proxy's certificate says its namespace, and it may write nothing else. JSON is YAML. */
export function archiveConfiguration({ retentionDays, quotaBytes }: ArchiveInputs): string {
  const configuration = {
    apiVersion: 'sallyport.dev/v1alpha1',
    kind: 'SallyportConfiguration',
    metrics: { address: `0.0.0.0:${PORTS.metrics}` },
    archiveServer: {
      address: `0.0.0.0:${PORTS.archive}`,
      readingAddress: `0.0.0.0:${PORTS.archiveReading}`,
      directory: ARCHIVE_PATHS.record,
      certificateFile: `${ARCHIVE_PATHS.tls}/tls.crt`,
      keyFile: `${ARCHIVE_PATHS.tls}/tls.key`,
      clientCaFile: `${ARCHIVE_PATHS.tls}/ca.crt`,
      namespacesFromNames: true,
      ...(quotaBytes === undefined ? {} : { quotaBytes }),
      minFreeBytes: MIN_FREE_BYTES,
      retentionDays,
    },
  };
  return `${JSON.stringify(configuration, null, 2)}\n`;
}

/** The archive's configuration, and beside it `ca.crt`: whose certificate the archive shows to people who read there. */
export function archiveConfigMap(inputs: ArchiveInputs, trust: string): ConfigMap {
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: archiveMetadata(inputs.namespace),
    data: { 'archive.yaml': archiveConfiguration(inputs), 'ca.crt': trust },
  };
}
