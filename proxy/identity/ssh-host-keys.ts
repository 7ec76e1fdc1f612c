import { generateKeyPairSync, randomBytes, randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ApiError } from '../../api/errors.ts';
import { formatPrivateKey, parsePrivateKey } from '../../certificate/openssh/private-key.ts';
import { publicKeyOf } from '../../certificate/openssh/public-key.ts';
import type { SshHostKey } from '../ports.ts';
import { createPrivate, privateFolder, readPrivate } from './state-files.ts';

/** Names of the files as sshd has them; a certificate stands beside its key. */
const TYPES = ['ed25519', 'ecdsa', 'rsa'] as const;
const fileOf = (type: string): string => `ssh_host_${type}_key`;

async function optional(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/**
 * The host keys in a folder: `ssh_host_ed25519_key` and its like, each with `…-cert.pub` beside it where there is a host certificate.
 * Read again at each call, so that a certificate can be renewed. @throws ApiError SPA011 when there is none, or one cannot be read
 */
export async function readHostKeys(folder: string): Promise<readonly SshHostKey[]> {
  const keys: SshHostKey[] = [];
  try {
    for (const type of TYPES) {
      const path = join(folder, fileOf(type));
      const text = await optional(path);
      if (text === undefined) continue;
      const privateKey = parsePrivateKey(text);
      const line = await optional(`${path}-cert.pub`);
      const certificate = line?.split(' ')[1];
      keys.push(
        certificate === undefined ? { privateKey } : { privateKey, certificate: Buffer.from(certificate, 'base64') },
      );
    }
  } catch (error) {
    // What is in a key is never in a message.
    throw new ApiError('SPA011', [folder, error instanceof Error ? error.message : 'it cannot be read'], error);
  }
  if (keys.length === 0) throw new ApiError('SPA011', [folder, 'there is no SSH host key in it']);
  return keys;
}

/** Folder of the host keys of a gateway on one machine. */
export const hostKeyFolder = (state: string): string => join(state, 'ssh');

/**
 * Makes an Ed25519 host key in STATE/ssh, once, so that clients see the same host after a restart and from every worker. Its public
 * line is in `ssh_host_ed25519_key.pub`. @throws ApiError SPA011
 */
export async function makeHostKey(state: string): Promise<void> {
  const folder = hostKeyFolder(state);
  const path = join(folder, fileOf('ed25519'));
  try {
    await privateFolder(folder);
    if ((await readPrivate(path)) === undefined) {
      const { privateKey } = generateKeyPairSync('ed25519');
      await createPrivate(path, formatPrivateKey(privateKey, '', randomBytes(4).readUInt32BE()), randomUUID());
    }
    const { type, blob } = publicKeyOf(parsePrivateKey((await readPrivate(path)) ?? ''));
    const line = `${type} ${blob.toString('base64')}\n`;
    if ((await readPrivate(`${path}.pub`)) === undefined) await createPrivate(`${path}.pub`, line, randomUUID());
  } catch (error) {
    throw new ApiError('SPA011', [folder, error instanceof Error ? error.message : 'it cannot be used'], error);
  }
}
