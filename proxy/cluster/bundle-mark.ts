import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { readPrivate, replacePrivate } from '../identity/state-files.ts';
import type { BundleMark } from './bundle-source.ts';
import { ClusterError } from './errors.ts';

const fileOf = (state: string): string => join(state, 'bundle-mark.json');

/**
 * The newest bundle that a process of this pod has had in force: a container that starts anew does not go back behind it.
 * @throws ClusterError SPX022 when what is there is not what was written
 */
export async function readBundleMark(state: string): Promise<BundleMark | undefined> {
  const path = fileOf(state);
  try {
    const text = await readPrivate(path);
    if (text === undefined) return undefined;
    const { sequence, hash } = JSON.parse(text) as Partial<BundleMark>;
    if (!Number.isSafeInteger(sequence) || sequence === undefined || typeof hash !== 'string')
      throw new Error('a member is missing');
    return { sequence, hash };
  } catch (error) {
    throw new ClusterError('SPX022', [path, error instanceof Error ? error.message : String(error)], error);
  }
}

export async function writeBundleMark(state: string, mark: BundleMark): Promise<void> {
  await replacePrivate(fileOf(state), `${JSON.stringify(mark)}\n`, randomUUID());
}
