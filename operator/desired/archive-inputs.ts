import { NAMES } from '../../api/cluster.ts';
import { labelsOf } from './labels.ts';

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
  /** Bytes that the proxies of one namespace may fill. Absent: no bound but the volume. */
  readonly quotaBytes?: number | undefined;
}

/** Where things are in its container. */
export const ARCHIVE_PATHS = {
  volume: '/var/lib/sallyport-archive',
  /** A folder in the volume, because the volume's own belongs to root and to a group that may write to it. */
  record: '/var/lib/sallyport-archive/state',
  configuration: '/etc/sallyport/archive',
  tls: '/var/run/sallyport/tls',
} as const;

export const archiveMetadata = (namespace: string) => ({
  name: NAMES.archive,
  namespace,
  labels: labelsOf(NAMES.archive, 'archive'),
});
