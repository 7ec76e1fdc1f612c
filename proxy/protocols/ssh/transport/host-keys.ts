import { type KeyObject, sign } from 'node:crypto';
import { publicKeyOf } from '../../../../certificate/openssh/public-key.ts';
import { certificateAlgorithm, hostAlgorithms, privateKeyOf } from './algorithms.ts';
import type { HostKey } from './port.ts';
import type { Ssh2HostKey, Ssh2Negotiated } from './ssh2.ts';

const HASHES: Readonly<Record<string, string>> = {
  'rsa-sha2-256': 'sha256',
  'rsa-sha2-512': 'sha512',
  'ecdsa-sha2-nistp256': 'sha256',
  'ecdsa-sha2-nistp384': 'sha384',
  'ecdsa-sha2-nistp521': 'sha512',
};

/** In DER, which ssh2 turns into what SSH has. */
const signed = (key: KeyObject, algorithm: string, data: Buffer): Buffer => sign(HASHES[algorithm] ?? null, data, key);

/** One entry for each algorithm: certificates first, because a client that trusts an authority prefers them. */
export function serverKeys(
  hostKeys: readonly HostKey[],
  negotiated: () => Ssh2Negotiated,
): { readonly names: string[]; readonly keys: Record<string, Ssh2HostKey> } {
  const keys: Record<string, Ssh2HostKey> = {};
  const entries = hostKeys.map(({ privateKey, certificate }) => {
    const key = privateKeyOf(privateKey);
    return { privateKey: key, certificate, publicKey: publicKeyOf(key) };
  });
  for (const { privateKey, certificate, publicKey } of entries) {
    if (certificate === undefined) continue;
    for (const algorithm of hostAlgorithms(publicKey.type)) {
      keys[certificateAlgorithm(algorithm)] ??= {
        type: publicKey.type,
        getPublicSSH: () => certificate,
        sign(data) {
          // The signature goes by the name of the key's algorithm; ssh2 writes whatever was negotiated, and reads it after this call.
          negotiated().serverHostKey = algorithm;
          return signed(privateKey, algorithm, data);
        },
      };
    }
  }
  for (const { privateKey, publicKey } of entries) {
    for (const algorithm of hostAlgorithms(publicKey.type)) {
      keys[algorithm] ??= {
        type: publicKey.type,
        getPublicSSH: () => publicKey.blob,
        sign: (data) => signed(privateKey, algorithm, data),
      };
    }
  }
  return { names: Object.keys(keys), keys };
}
