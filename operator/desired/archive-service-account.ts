import type { AnyObject } from '../../kube/builtin.ts';
import { type ArchiveInputs, archiveMetadata } from './archive-inputs.ts';

export const archiveServiceAccount = ({ namespace }: ArchiveInputs): AnyObject => ({
  apiVersion: 'v1',
  kind: 'ServiceAccount',
  metadata: archiveMetadata(namespace),
  automountServiceAccountToken: false,
});
