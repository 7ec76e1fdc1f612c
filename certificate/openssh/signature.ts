import { type KeyObject, sign, verify } from 'node:crypto';
import { OpenSshError } from './errors.ts';
import { type KeyType, publicKeyOf, type SshPublicKey } from './public-key.ts';
import { mpint, sshReader, string, unsigned } from './wire.ts';

/**
 * Signature algorithms (RFC 8709, RFC 8332, RFC 5656). `ssh-rsa`, which is RSA with SHA-1, is not one of them: neither made nor
 * accepted.
 */
export type SignatureAlgorithm = 'rsa-sha2-256' | 'rsa-sha2-512' | Exclude<KeyType, 'ssh-rsa'>;

const HASHES = {
  'rsa-sha2-256': 'sha256',
  'rsa-sha2-512': 'sha512',
  'ssh-ed25519': null,
  'ecdsa-sha2-nistp256': 'sha256',
  'ecdsa-sha2-nistp384': 'sha384',
  'ecdsa-sha2-nistp521': 'sha512',
} as const;

/** Algorithms that a key of the type signs with, best first. */
export const signatureAlgorithms = (type: KeyType): readonly SignatureAlgorithm[] =>
  type === 'ssh-rsa' ? ['rsa-sha2-512', 'rsa-sha2-256'] : [type];

function isAlgorithm(name: string): name is SignatureAlgorithm {
  return Object.hasOwn(HASHES, name);
}

/**
 * The signature blob, as it goes over the wire.
 * @param algorithm default: the best for the key
 * @throws OpenSshError for an algorithm that the key has not
 */
export function signSsh(key: KeyObject, data: Uint8Array, algorithm?: SignatureAlgorithm): Buffer {
  const { type } = publicKeyOf(key);
  const possible = signatureAlgorithms(type);
  const chosen = algorithm ?? possible[0];
  if (chosen === undefined || !possible.includes(chosen))
    throw new OpenSshError('its key does not sign with the algorithm');
  // Fixed-length r and s, rather than DER: IEEE P1363.
  const raw = sign(HASHES[chosen], data, { key, dsaEncoding: 'ieee-p1363' });
  if (!chosen.startsWith('ecdsa-')) return Buffer.concat([string(chosen), string(raw)]);
  const half = raw.length / 2;
  const pair = Buffer.concat([mpint(raw.subarray(0, half)), mpint(raw.subarray(half))]);
  return Buffer.concat([string(chosen), string(pair)]);
}

/**
 * Whether `signature` is one of `key` over `data`. False also for what is malformed, and for algorithms that are not accepted.
 * @param expected the algorithm that has to have been used; undefined: any of the key
 */
export function verifySsh(
  { type, key }: SshPublicKey,
  data: Uint8Array,
  signature: Buffer,
  expected?: SignatureAlgorithm,
): boolean {
  try {
    const reader = sshReader(signature);
    const algorithm = reader.text();
    const raw = reader.string();
    reader.end();
    if (!isAlgorithm(algorithm) || !signatureAlgorithms(type).includes(algorithm)) return false;
    if (expected !== undefined && algorithm !== expected) return false;
    const bytes = algorithm.startsWith('ecdsa-') ? joined(raw, key) : raw;
    return verify(HASHES[algorithm], data, { key, dsaEncoding: 'ieee-p1363' }, bytes);
  } catch {
    // What cannot be read proves nothing.
    return false;
  }
}

/** r and s at full length, behind each other. */
function joined(raw: Buffer, key: KeyObject): Buffer {
  const reader = sshReader(raw);
  const bytes = { prime256v1: 32, secp384r1: 48, secp521r1: 66 }[key.asymmetricKeyDetails?.namedCurve ?? ''] ?? 0;
  const numbers = [unsigned(reader.string()), unsigned(reader.string())];
  reader.end();
  return Buffer.concat(
    numbers.map((number) => {
      if (number.length > bytes) throw new OpenSshError('a number in it is too large');
      return Buffer.concat([Buffer.alloc(bytes - number.length), number]);
    }),
  );
}
