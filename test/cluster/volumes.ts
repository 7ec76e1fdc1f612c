/** Volumes without a provisioner: a few folders of the node, of the class that claims get when they name none. */
import { mkdir } from 'node:fs/promises';
import path from 'node:path';

const CLASS = 'standard';
const COUNT = 8;

/** Makes the folders below the cluster's; returns the manifests, as one List. */
export async function nodeVolumes(folder: string, node: string): Promise<string> {
  const volumes = [];
  for (let index = 1; index <= COUNT; index += 1) {
    const at = path.join(folder, 'volumes', String(index));
    await mkdir(at, { recursive: true });
    volumes.push({
      apiVersion: 'v1',
      kind: 'PersistentVolume',
      metadata: { name: `node-${index}` },
      spec: {
        capacity: { storage: '100Gi' },
        accessModes: ['ReadWriteOnce'],
        persistentVolumeReclaimPolicy: 'Retain',
        storageClassName: CLASS,
        // Unlike hostPath it gets the group that a pod asks for.
        local: { path: at },
        nodeAffinity: {
          required: {
            nodeSelectorTerms: [
              { matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values: [node] }] },
            ],
          },
        },
      },
    });
  }
  const storageClass = {
    apiVersion: 'storage.k8s.io/v1',
    kind: 'StorageClass',
    metadata: { name: CLASS, annotations: { 'storageclass.kubernetes.io/is-default-class': 'true' } },
    provisioner: 'kubernetes.io/no-provisioner',
    volumeBindingMode: 'WaitForFirstConsumer',
  };
  return JSON.stringify({ apiVersion: 'v1', kind: 'List', items: [storageClass, ...volumes] });
}
