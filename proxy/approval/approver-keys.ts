import type { KeyObject } from 'node:crypto';
import { randomUUID } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { createApproverKey, parsePrivateKey } from '../../approval/keys.ts';
import { createPrivate, privateFolder, readPrivate } from '../identity/state-files.ts';
import { ApprovalError, causeOf, hasCode } from './errors.ts';

/** Private keys of approvers, in a folder of the voter's own: never in a state folder, never in a configuration. */

const EXTENSION = '.key';
/** As the configuration takes them, without what would be a path. */
const NAME = /^[A-Za-z0-9]([-A-Za-z0-9._@]*[A-Za-z0-9])?$/;

const pathOf = (folder: string, name: string): string => {
  if (!NAME.test(name) || name.length > 200) throw new ApprovalError('SPV033', [JSON.stringify(name)]);
  return join(folder, `${name}${EXTENSION}`);
};

/** @returns where the key is, and its public half in base64. @throws ApprovalError SPV028, SPV031, SPV033 */
export async function makeApproverKey(
  folder: string,
  name: string,
): Promise<{ readonly path: string; readonly publicKey: string }> {
  const path = pathOf(folder, name);
  const { privateKey, publicKey } = createApproverKey();
  let made: boolean;
  try {
    await privateFolder(folder);
    made = await createPrivate(path, privateKey, randomUUID());
  } catch (error) {
    throw new ApprovalError('SPV028', [name, causeOf(error)], error);
  }
  if (!made) throw new ApprovalError('SPV031', [name]);
  return { path, publicKey };
}

/** @throws ApprovalError SPV028, SPV029, SPV033 */
export async function readApproverKey(folder: string, name: string): Promise<KeyObject> {
  const path = pathOf(folder, name);
  let pem: string | undefined;
  try {
    pem = await readPrivate(path);
  } catch (error) {
    throw new ApprovalError('SPV028', [name, causeOf(error)], error);
  }
  if (pem === undefined) throw new ApprovalError('SPV029', [path]);
  try {
    return parsePrivateKey(pem);
  } catch (error) {
    // The parser's message may show a piece of the key.
    throw new ApprovalError('SPV028', [name, 'it holds no Ed25519 private key in PEM'], error);
  }
}

/** The one approver who has a key here. @throws ApprovalError SPV029, SPV030 */
export async function onlyApprover(folder: string): Promise<string> {
  const files = await readdir(folder).catch((error: unknown) => {
    if (hasCode(error, 'ENOENT')) return [];
    throw error;
  });
  const names = files.filter((file) => file.endsWith(EXTENSION)).map((file) => file.slice(0, -EXTENSION.length));
  const [first, second] = names.sort();
  if (first === undefined) throw new ApprovalError('SPV029', [folder]);
  if (second !== undefined) throw new ApprovalError('SPV030', [names.join(', ')]);
  return first;
}
