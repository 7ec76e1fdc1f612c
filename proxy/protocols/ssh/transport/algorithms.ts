/** What is spoken, and the names of keys and certificates. */
import { KeyObject } from 'node:crypto';
import { parsePrivateKey } from '../../../../certificate/openssh/private-key.ts';
import { parsePublicKeyBlob, readKeyFields, type SshPublicKey } from '../../../../certificate/openssh/public-key.ts';
import { sshReader } from '../../../../certificate/openssh/wire.ts';

/** No SHA-1, no CBC, no group of 1024 bits. Group exchange is for the client's leg only: ssh2 lacks the server's part. */
export const KEY_EXCHANGES = [
  'curve25519-sha256',
  'curve25519-sha256@libssh.org',
  'ecdh-sha2-nistp256',
  'ecdh-sha2-nistp384',
  'ecdh-sha2-nistp521',
  'diffie-hellman-group16-sha512',
  'diffie-hellman-group18-sha512',
  'diffie-hellman-group14-sha256',
];
export const CIPHERS = ['aes128-gcm@openssh.com', 'aes256-gcm@openssh.com', 'aes128-ctr', 'aes192-ctr', 'aes256-ctr'];
export const GCM = CIPHERS.filter((name) => name.includes('gcm'));
/** In pure JavaScript with a WebAssembly part it costs ten times as much, and clients would choose it: only for targets that have nothing else. */
export const CHACHA = 'chacha20-poly1305@openssh.com';
export const MACS = [
  'hmac-sha2-256-etm@openssh.com',
  'hmac-sha2-512-etm@openssh.com',
  'hmac-sha2-256',
  'hmac-sha2-512',
];

export const CERTIFICATE = '-cert-v01@openssh.com';

/** Key algorithm of a certificate's algorithm, or the name itself. */
export const plainAlgorithm = (name: string): string =>
  name.endsWith(CERTIFICATE) ? name.slice(0, -CERTIFICATE.length) : name;

export const certificateAlgorithm = (name: string): string => `${name}${CERTIFICATE}`;

/** The public key of a key blob, or the one that a certificate is for (PROTOCOL.certkeys). @throws OpenSshError */
export function subjectKey(blob: Buffer): SshPublicKey {
  const reader = sshReader(blob);
  const type = reader.text();
  if (!type.endsWith(CERTIFICATE)) return parsePublicKeyBlob(blob);
  // A nonce stands between type and key.
  reader.string();
  return readKeyFields(plainAlgorithm(type), reader);
}

/** @throws OpenSshError for a text that is no key */
export const privateKeyOf = (key: KeyObject | Buffer | string): KeyObject =>
  key instanceof KeyObject ? key : parsePrivateKey(key.toString());

/** Signatures that host keys of the type make. */
export const hostAlgorithms = (type: string): string[] =>
  type === 'ssh-rsa' ? ['rsa-sha2-512', 'rsa-sha2-256'] : [type];
