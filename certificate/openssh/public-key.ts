import { createHash, createPublicKey, type JsonWebKeyInput, type KeyObject } from 'node:crypto';
import { OpenSshError } from './errors.ts';
import { mpint, sshReader, string, unsigned } from './wire.ts';

/** Key types that are understood; DSA is too weak, and security keys (sk-) prove a touch that nobody here would check. */
export type KeyType = 'ssh-ed25519' | 'ssh-rsa' | 'ecdsa-sha2-nistp256' | 'ecdsa-sha2-nistp384' | 'ecdsa-sha2-nistp521';

export interface SshPublicKey {
  readonly type: KeyType;
  /** As it goes over the wire (RFC 4253, section 6.6); equal for equal keys. */
  readonly blob: Buffer;
  readonly key: KeyObject;
}

/** RFC 5656, section 10.1, and the names that OpenSSL and JWK have for the curves. */
const CURVES = {
  'ecdsa-sha2-nistp256': { name: 'nistp256', openssl: 'prime256v1', jwk: 'P-256', bytes: 32 },
  'ecdsa-sha2-nistp384': { name: 'nistp384', openssl: 'secp384r1', jwk: 'P-384', bytes: 48 },
  'ecdsa-sha2-nistp521': { name: 'nistp521', openssl: 'secp521r1', jwk: 'P-521', bytes: 66 },
} as const;

/** As sshd's RequiredRSASize, which is 1024 there: less than 2048 bits can be broken. */
const MIN_RSA_BITS = 2048;
/** More costs a signature check of seconds. */
const MAX_RSA_BITS = 16_384;

const base64url = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64url');

function imported(jwk: JsonWebKeyInput['key']): KeyObject {
  try {
    return createPublicKey({ key: jwk, format: 'jwk' });
  } catch {
    // A point that is not on the curve, or not of full length.
    throw new OpenSshError('its numbers make no key');
  }
}

/** The fields of a key behind its type, which stand in a certificate too. @throws OpenSshError */
export function readKeyFields(type: string, reader: ReturnType<typeof sshReader>): SshPublicKey {
  switch (type) {
    case 'ssh-ed25519': {
      const point = reader.string();
      if (point.length !== 32) throw new OpenSshError('its numbers make no key');
      const key = imported({ kty: 'OKP', crv: 'Ed25519', x: base64url(point) });
      return { type, blob: Buffer.concat([string(type), string(point)]), key };
    }
    case 'ssh-rsa': {
      const exponent = unsigned(reader.string());
      const modulus = unsigned(reader.string());
      const bits = modulus.length * 8 - Math.clz32(modulus[0] ?? 0) + 24;
      if (bits < MIN_RSA_BITS) throw new OpenSshError(`an RSA key needs ${MIN_RSA_BITS} bits, and it has ${bits}`);
      if (bits > MAX_RSA_BITS || exponent.length > 4) throw new OpenSshError('its RSA key is too large');
      const key = imported({ kty: 'RSA', n: base64url(modulus), e: base64url(exponent) });
      return { type, blob: Buffer.concat([string(type), mpint(exponent), mpint(modulus)]), key };
    }
    case 'ecdsa-sha2-nistp256':
    case 'ecdsa-sha2-nistp384':
    case 'ecdsa-sha2-nistp521': {
      const curve = CURVES[type];
      if (reader.text() !== curve.name) throw new OpenSshError('its curve is not that of its type');
      const point = reader.string();
      if (point.length !== 1 + 2 * curve.bytes || point[0] !== 4) throw new OpenSshError('its numbers make no key');
      const x = base64url(point.subarray(1, 1 + curve.bytes));
      const y = base64url(point.subarray(1 + curve.bytes));
      const key = imported({ kty: 'EC', crv: curve.jwk, x, y });
      return { type, blob: Buffer.concat([string(type), string(curve.name), string(point)]), key };
    }
    default:
      throw new OpenSshError('its key type is not one of ssh-ed25519, ssh-rsa and ecdsa-sha2-nistp256, -384 and -521');
  }
}

/** @throws OpenSshError */
export function parsePublicKeyBlob(blob: Buffer): SshPublicKey {
  const reader = sshReader(blob);
  const key = readKeyFields(reader.text(), reader);
  reader.end();
  return key;
}

/** The public key of a key that OpenSSL has, private or public. @throws OpenSshError for a type that SSH is not spoken with here */
export function publicKeyOf(key: KeyObject): SshPublicKey {
  const publicKey = key.type === 'private' ? createPublicKey(key) : key;
  const bytes = (value: string | undefined): Buffer => Buffer.from(value ?? '', 'base64url');
  switch (publicKey.asymmetricKeyType) {
    case 'ed25519': {
      const { x } = publicKey.export({ format: 'jwk' });
      return parsePublicKeyBlob(Buffer.concat([string('ssh-ed25519'), string(bytes(x))]));
    }
    case 'rsa': {
      const { e, n } = publicKey.export({ format: 'jwk' });
      return parsePublicKeyBlob(Buffer.concat([string('ssh-rsa'), mpint(bytes(e)), mpint(bytes(n))]));
    }
    case 'ec': {
      const named = publicKey.asymmetricKeyDetails?.namedCurve;
      for (const [type, curve] of Object.entries(CURVES)) {
        if (curve.openssl !== named) continue;
        const { x, y } = publicKey.export({ format: 'jwk' });
        const point = Buffer.concat([Buffer.from([4]), bytes(x), bytes(y)]);
        return parsePublicKeyBlob(Buffer.concat([string(type), string(curve.name), string(point)]));
      }
      throw new OpenSshError('its curve is not one of P-256, P-384 and P-521');
    }
    default:
      throw new OpenSshError('its key type is not one of Ed25519, RSA and ECDSA');
  }
}

/** A line as in authorized_keys without options: `TYPE BASE64[ COMMENT]`. @throws OpenSshError */
export function parsePublicKeyLine(line: string): SshPublicKey & { readonly comment: string } {
  const match = /^([a-z0-9@.-]{1,64}) ([A-Za-z0-9+/]{1,22000}={0,2})(?: +(.*?))?\s*$/.exec(line);
  if (match === null) throw new OpenSshError('it is not written as TYPE BASE64 COMMENT');
  const [, type = '', base64 = '', comment = ''] = match;
  const key = parsePublicKeyBlob(Buffer.from(base64, 'base64'));
  if (key.type !== type) throw new OpenSshError('the type in front is not that of the key');
  return { ...key, comment };
}

export const formatPublicKey = ({ type, blob }: Pick<SshPublicKey, 'type' | 'blob'>, comment = ''): string =>
  `${type} ${blob.toString('base64')}${comment === '' ? '' : ` ${comment}`}`;

/** As ssh-keygen -l prints it: `SHA256:` and base64 without padding. */
export const fingerprint = (blob: Uint8Array): string =>
  `SHA256:${createHash('sha256').update(blob).digest('base64').replace(/=+$/, '')}`;
