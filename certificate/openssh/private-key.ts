import { createPrivateKey, type JsonWebKeyInput, type KeyObject } from 'node:crypto';
import { OpenSshError } from './errors.ts';
import { publicKeyOf, type SshPublicKey } from './public-key.ts';
import { mpint, type SshReader, sshReader, string, uint32, unsigned } from './wire.ts';

/** Private keys as ssh-keygen writes them (PROTOCOL.key), and in the PEM forms that OpenSSL reads. None is ever part of an error. */

const MAGIC = Buffer.from('openssh-key-v1\0', 'latin1');
const ARMOUR = /^-----BEGIN OPENSSH PRIVATE KEY-----\s+([A-Za-z0-9+/=\s]+)-----END OPENSSH PRIVATE KEY-----\s*$/;
const LOCKED = 'it has a passphrase: take it out with ssh-keygen -p, and keep the file secret instead';

const base64url = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64url');

/**
 * @param text OpenSSH, PKCS #8, PKCS #1 or SEC1, without a passphrase
 * @throws OpenSshError
 */
export function parsePrivateKey(text: string): KeyObject {
  const armoured = ARMOUR.exec(text.trimStart());
  if (armoured === null) return fromPem(text);
  const bytes = Buffer.from(armoured[1] ?? '', 'base64');
  try {
    return fromOpenSsh(bytes);
  } finally {
    bytes.fill(0);
  }
}

function fromPem(text: string): KeyObject {
  if (/ENCRYPTED/.test(text)) throw new OpenSshError(LOCKED);
  if (!text.includes('PRIVATE KEY-----')) throw new OpenSshError('it is not a private key');
  let key: KeyObject;
  try {
    key = createPrivateKey(text);
  } catch {
    // OpenSSL's text may quote what it was given.
    throw new OpenSshError('it is not a private key that can be read');
  }
  // Refuses types and sizes that SSH is not spoken with here.
  publicKeyOf(key);
  return key;
}

function fromOpenSsh(bytes: Buffer): KeyObject {
  if (!bytes.subarray(0, MAGIC.length).equals(MAGIC)) throw new OpenSshError('it is not a private key of OpenSSH');
  const outer = sshReader(bytes.subarray(MAGIC.length));
  const cipher = outer.text();
  outer.text();
  outer.string();
  if (cipher !== 'none') throw new OpenSshError(LOCKED);
  if (outer.uint32() !== 1) throw new OpenSshError('it holds more than one key');
  const declared = outer.string();
  const reader = sshReader(outer.string());
  outer.end();
  const check = reader.uint32();
  if (reader.uint32() !== check) throw new OpenSshError('it is damaged');
  const key = privateFields(reader);
  reader.string();
  const padding = reader.rest();
  if (padding.length > 255 || padding.some((byte, index) => byte !== index + 1))
    throw new OpenSshError('it is damaged');
  if (!publicKeyOf(key).blob.equals(declared))
    throw new OpenSshError('its private part is not that of its public part');
  return key;
}

function privateFields(reader: SshReader): KeyObject {
  const type = reader.text();
  switch (type) {
    case 'ssh-ed25519': {
      const x = reader.string();
      const both = reader.string();
      if (both.length !== 64 || !both.subarray(32).equals(x)) throw new OpenSshError('it is damaged');
      return imported({ kty: 'OKP', crv: 'Ed25519', x: base64url(x), d: base64url(both.subarray(0, 32)) });
    }
    case 'ssh-rsa': {
      const [n, e, d, qi, p, q] = [1, 2, 3, 4, 5, 6].map(() => unsigned(reader.string()));
      if (n === undefined || e === undefined || d === undefined) throw new OpenSshError('it is damaged');
      if (qi === undefined || p === undefined || q === undefined) throw new OpenSshError('it is damaged');
      const rsa = { n, e, d, qi, p, q, dp: remainder(d, p), dq: remainder(d, q) };
      const members = Object.entries(rsa).map(([name, value]) => [name, base64url(value)]);
      return imported({ kty: 'RSA', ...Object.fromEntries(members) });
    }
    case 'ecdsa-sha2-nistp256':
    case 'ecdsa-sha2-nistp384':
    case 'ecdsa-sha2-nistp521': {
      const crv = { nistp256: 'P-256', nistp384: 'P-384', nistp521: 'P-521' }[reader.text()];
      const point = reader.string();
      const bytes = (point.length - 1) / 2;
      const d = unsigned(reader.string());
      if (crv === undefined || point[0] !== 4 || d.length > bytes) throw new OpenSshError('it is damaged');
      const [x, y] = [point.subarray(1, 1 + bytes), point.subarray(1 + bytes)];
      const padded = Buffer.concat([Buffer.alloc(bytes - d.length), d]);
      return imported({ kty: 'EC', crv, x: base64url(x), y: base64url(y), d: base64url(padded) });
    }
    default:
      throw new OpenSshError('its key type is not one of Ed25519, RSA and ECDSA');
  }
}

/** `d mod (prime - 1)`: what PKCS #1 keeps and OpenSSH leaves out. */
function remainder(d: Buffer, prime: Buffer): Buffer {
  const number = (bytes: Buffer): bigint => BigInt(`0x${bytes.toString('hex')}`);
  const modulus = number(prime) - 1n;
  if (modulus < 1n) throw new OpenSshError('it is damaged');
  const hex = (number(d) % modulus).toString(16);
  return Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex');
}

function imported(jwk: JsonWebKeyInput['key']): KeyObject {
  try {
    return createPrivateKey({ key: jwk, format: 'jwk' });
  } catch {
    throw new OpenSshError('its numbers make no key');
  }
}

/**
 * The key as ssh-keygen writes it, without a passphrase.
 * @param check random; it is written twice, and tells a wrong passphrase from a right one where there is one
 */
export function formatPrivateKey(key: KeyObject, comment: string, check: number): string {
  const pair = publicKeyOf(key);
  const fields = Buffer.concat([uint32(check), uint32(check), secretFields(key, pair), string(comment)]);
  // Padded to 8 bytes, the block of no cipher, with 1, 2, 3, …
  const padding = Buffer.from(Array.from({ length: (8 - (fields.length % 8)) % 8 }, (_each, index) => index + 1));
  const body = Buffer.concat([
    MAGIC,
    string('none'),
    string('none'),
    string(''),
    uint32(1),
    string(pair.blob),
    string(Buffer.concat([fields, padding])),
  ]);
  const lines = body.toString('base64').match(/.{1,70}/g) ?? [];
  return `-----BEGIN OPENSSH PRIVATE KEY-----\n${lines.join('\n')}\n-----END OPENSSH PRIVATE KEY-----\n`;
}

function secretFields(key: KeyObject, pair: SshPublicKey): Buffer {
  const jwk = key.export({ format: 'jwk' });
  const bytes = (value: string | undefined): Buffer => Buffer.from(value ?? '', 'base64url');
  switch (pair.type) {
    case 'ssh-ed25519':
      return Buffer.concat([pair.blob, string(Buffer.concat([bytes(jwk.d), bytes(jwk.x)]))]);
    case 'ssh-rsa':
      return Buffer.concat([
        string(pair.type),
        ...[jwk.n, jwk.e, jwk.d, jwk.qi, jwk.p, jwk.q].map((n) => mpint(bytes(n))),
      ]);
    case 'ecdsa-sha2-nistp256':
    case 'ecdsa-sha2-nistp384':
    case 'ecdsa-sha2-nistp521':
      return Buffer.concat([pair.blob, mpint(bytes(jwk.d))]);
    default:
      return pair.type satisfies never;
  }
}
