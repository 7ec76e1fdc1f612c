import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { Configuration } from '../../api/configuration.ts';
import { RecorderError } from '../../record/errors.ts';
import { encodeVerifier, type NoteSigner, noteSigner } from '../../record/note.ts';
import { createPrivate, privateFolder, readPrivate, replacePrivate } from '../identity/state-files.ts';

/** STATE/record-key: `key.pem` signs (Ed25519 in PKCS #8, mode 0600); `public` names it and those before it, a line each, the newest last. */
const folderOf = (state: string): string => join(state, 'record-key');

/** Where checkpoints are anchored. */
export function anchorsFolder(state: string, { record }: Pick<Configuration, 'record'>): string {
  return record.anchors ?? join(state, 'anchors');
}

/** The key that signs the record, made at first use. @throws RecorderError SPR020 */
export function recordKey(state: string): Promise<NoteSigner> {
  return usable(state, async () => {
    const path = join(folderOf(state), 'key.pem');
    await privateFolder(folderOf(state));
    if ((await readPrivate(path)) === undefined) await createPrivate(path, newKey(), randomUUID());
    return enrolled(state);
  });
}

/**
 * Makes a new key and forgets the old one: whoever has got hold of that can no longer sign what a gateway that starts from now on writes. What it
 * signed stays verifiable, since its public half is kept. @throws RecorderError SPR020
 */
export function rotateRecordKey(state: string): Promise<NoteSigner> {
  return usable(state, async () => {
    await privateFolder(folderOf(state));
    await replacePrivate(join(folderOf(state), 'key.pem'), newKey(), randomUUID());
    return enrolled(state);
  });
}

/** Public keys in one line each, the one in force last; none where no gateway has run. @throws RecorderError SPR020 */
export function recordPublicKeys(state: string): Promise<readonly string[]> {
  return usable(state, async () => lines(await readPrivate(join(folderOf(state), 'public'))));
}

async function enrolled(state: string): Promise<NoteSigner> {
  const signer = noteSigner((await readPrivate(join(folderOf(state), 'key.pem'))) ?? '');
  const key = encodeVerifier(signer);
  const path = join(folderOf(state), 'public');
  const known = lines(await readPrivate(path));
  if (known.at(-1) !== key) await replacePrivate(path, `${[...known, key].join('\n')}\n`, randomUUID());
  return signer;
}

function newKey(): string {
  return generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}

function lines(text: string | undefined): readonly string[] {
  return text === undefined ? [] : text.split('\n').filter((line) => line !== '');
}

async function usable<T>(state: string, action: () => Promise<T>): Promise<T> {
  const path = folderOf(state);
  try {
    return await action();
  } catch (error) {
    // The decoder's message never holds key material, but its wording is of no use to the reader.
    const plain = error instanceof Error && !('opensslErrorStack' in error) && error.message !== '';
    throw new RecorderError('SPR020', {
      path,
      detail: plain ? error.message : 'it is not a private key',
      cause: error,
    });
  }
}
