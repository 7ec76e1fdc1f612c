import { NAMES } from '../../api/cluster.ts';
import { SECRETS, type Secret } from '../../kube/builtin.ts';
import { isAlreadyExists } from '../../kube/errors.ts';
import type { KubeClient } from '../../kube/types.ts';
import { labelsOf } from '../desired/labels.ts';
import { OperatorError } from '../errors.ts';
import { type KeyMaterial, newMaterial, readMaterial, renewed, writeMaterial } from './material.ts';

/** The Secret with the installation's keys. Whoever comes first makes it; nobody overwrites what another wrote meanwhile. */

const encode = (material: KeyMaterial): Record<string, string> =>
  Object.fromEntries(
    Object.entries(writeMaterial(material)).map(([name, text]) => [name, Buffer.from(text).toString('base64')]),
  );

/** @throws OperatorError SPO001 */
export function materialOf(secret: Secret): KeyMaterial {
  const { namespace, name } = secret.metadata;
  try {
    return readMaterial(
      Object.fromEntries(
        Object.entries(secret.data ?? {}).map(([key, value]) => [key, Buffer.from(value, 'base64').toString('utf8')]),
      ),
    );
  } catch (error) {
    throw new OperatorError('SPO001', [`${namespace}/${name}`, error instanceof Error ? error.message : ''], error);
  }
}

/** The keys, made when there are none. @throws OperatorError SPO001; KubeError */
export async function openKeys(
  client: KubeClient,
  namespace: string,
  { now, generation }: { readonly now: number; readonly generation: number },
  signal: AbortSignal,
): Promise<KeyMaterial> {
  const ref = { namespace, name: NAMES.keys };
  const found = await client.get(SECRETS, ref, { signal });
  if (found !== undefined) return materialOf(found);
  const material = newMaterial(now, generation);
  const secret: Secret = {
    apiVersion: 'v1',
    kind: 'Secret',
    type: 'Opaque',
    metadata: { ...ref, labels: labelsOf(NAMES.keys, 'operator') },
    data: encode(material),
  };
  try {
    await client.create(SECRETS, secret, { signal });
    return material;
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
    const theirs = await client.get(SECRETS, ref, { signal });
    if (theirs === undefined) throw error;
    return materialOf(theirs);
  }
}

/** Renews what has to be renewed, by compare-and-set. @throws KubeError SPB006 when somebody else was faster: look again */
export async function renewKeys(
  client: KubeClient,
  secret: Secret,
  { now, generation }: { readonly now: number; readonly generation: number },
  signal: AbortSignal,
): Promise<KeyMaterial> {
  const before = materialOf(secret);
  const after = renewed(before, now, generation);
  if (after !== before) await client.update(SECRETS, { ...secret, data: encode(after) }, { signal });
  return after;
}
