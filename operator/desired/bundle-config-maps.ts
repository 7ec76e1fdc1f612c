import { ANNOTATIONS, NAMES } from '../../api/cluster.ts';
import type { ConfigMap } from '../../kube/builtin.ts';
import type { OwnerReference } from '../../kube/types.ts';
import type { PackedBundle } from '../bundle/pack.ts';
import { labelsOf } from './labels.ts';

export const bundleMapName = (index: number): string => (index === 0 ? NAMES.bundle : `${NAMES.bundle}-${index}`);

/**
 * The ConfigMaps of a bundle. The first comes last: it says how many there are and carries the signature, so that who reads while
 * they are written finds no valid one instead of half a one.
 */
export function bundleConfigMaps(
  namespace: string,
  owners: readonly OwnerReference[],
  bundle: PackedBundle,
): ConfigMap[] {
  const maps = bundle.pieces.map(
    (piece, index): ConfigMap => ({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: {
        name: bundleMapName(index),
        namespace,
        labels: labelsOf(NAMES.bundle, 'proxy', namespace),
        annotations: { [ANNOTATIONS.bundleHash]: bundle.hash },
        ownerReferences: owners,
      },
      binaryData: { bundle: piece.toString('base64') },
      ...(index === 0
        ? {
            data: {
              pieces: String(bundle.pieces.length),
              signature: bundle.signature,
              hash: bundle.hash,
              sequence: String(bundle.sequence),
              content: bundle.content,
            },
          }
        : {}),
    }),
  );
  return maps.reverse();
}
