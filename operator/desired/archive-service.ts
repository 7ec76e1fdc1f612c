import { NAMES, PORTS } from '../../api/cluster.ts';
import type { AnyObject } from '../../kube/builtin.ts';
import { type ArchiveInputs, archiveMetadata } from './archive-inputs.ts';
import { podLabels } from './labels.ts';

export const archiveService = ({ namespace }: ArchiveInputs): AnyObject => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: archiveMetadata(namespace),
  spec: {
    type: 'ClusterIP',
    selector: podLabels(NAMES.archive, 'archive'),
    ports: [
      { name: 'archive', port: PORTS.archive, targetPort: 'archive', protocol: 'TCP' },
      { name: 'reading', port: PORTS.archiveReading, targetPort: 'reading', protocol: 'TCP' },
    ],
  },
});
