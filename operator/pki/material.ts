import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  X509Certificate,
} from 'node:crypto';
import { issueCertificate } from '../../certificate/x509.ts';
import { nextRotation, readRotation, rotated, type SigningKeys, writeRotation } from './signing-rotation.ts';

/**
 * What the Secret `sallyport-keys` holds, and when it changes. Pure but for randomness: who stores it is elsewhere.
 *
 * An authority is renewed in two steps, so that nobody ever sees a certificate of one that it does not trust yet: at two thirds of
 * its life the next one is made and *trusted*; a day later, when every mounted copy has it, it *signs*. The old one stays trusted
 * until its end.
 */

export interface Pair {
  /** PEM. */
  readonly certificate: string;
  readonly key: string;
}

export interface KeyMaterial extends SigningKeys {
  readonly signer: Pair;
  /** Trusted already, signs later. */
  readonly next: Pair | undefined;
  /** Certificates of authorities that do not sign any more, but whose certificates may still be in use. */
  readonly former: readonly string[];
  /** Ed25519, PKCS #8 in PEM: signs bundles and votes. */
  readonly signingKey: string;
  /**
   * Ed25519, PKCS #8 in PEM: signs SSH host certificates. Never replaced by itself: what agents' pods trust is mounted when they start.
   * Undefined where an older version made the keys, until they are renewed.
   */
  readonly sshHostAuthority: string | undefined;
}

export const AUTHORITY_DAYS = 730;
/** From being trusted to signing. */
export const OVERLAP_MS = 86_400_000;
const DAY_MS = 86_400_000;
/** A machine whose clock is behind by less than this takes a new certificate at once. */
export const CLOCK_SKEW_MS = 3_600_000;

export function newAuthority(now: number): Pair {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  // Two authorities of one name could be confused in a trust bundle.
  const commonName = `Sallyport ${randomBytes(4).toString('hex')}`;
  const certificate = issueCertificate({
    commonName,
    publicKey: createPublicKey(privateKey),
    notBefore: new Date(now - CLOCK_SKEW_MS),
    notAfter: new Date(now + AUTHORITY_DAYS * DAY_MS),
    use: { type: 'authority' },
    issuer: { commonName, key: privateKey },
  });
  return { certificate, key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() };
}

const newEd25519 = (): string =>
  generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();

/** @param generation of its signing key */
export function newMaterial(now: number, generation = 1): KeyMaterial {
  return {
    signer: newAuthority(now),
    next: undefined,
    former: [],
    signingKey: newEd25519(),
    ...(generation === 1 ? {} : { signingRotation: { generation, next: undefined, former: [] } }),
    sshHostAuthority: newEd25519(),
  };
}

const validity = (pem: string): { readonly from: number; readonly to: number } => {
  const certificate = new X509Certificate(pem);
  return { from: certificate.validFromDate.getTime(), to: certificate.validToDate.getTime() };
};

/** When two thirds of the certificate's life are over. */
export function renewalTime(pem: string): number {
  const { from, to } = validity(pem);
  return from + ((to - from) * 2) / 3;
}

/**
 * The material as it should be now; the same object when nothing has to change.
 * @param generation of the signing key that is wanted; a lower one than there was is none
 */
export function renewed(material: KeyMaterial, now: number, generation = 1): KeyMaterial {
  return renewedAuthority(rotated(material, now, generation, newEd25519), now);
}

function renewedAuthority(material: KeyMaterial, now: number): KeyMaterial {
  if (material.sshHostAuthority === undefined)
    return renewedAuthority({ ...material, sshHostAuthority: newEd25519() }, now);
  const former = material.former.filter((pem) => validity(pem).to > now);
  const expired = validity(material.signer.certificate).to <= now;
  const { next } = material;
  if (next !== undefined && (expired || validity(next.certificate).from + CLOCK_SKEW_MS + OVERLAP_MS <= now)) {
    const still = expired ? [] : [material.signer.certificate];
    return renewedAuthority({ ...material, signer: next, next: undefined, former: [...still, ...former] }, now);
  }
  // The operator was away for longer than the overlap: better a new authority that connectors trust a minute later than none.
  if (expired) return { ...material, signer: newAuthority(now), next: undefined, former };
  if (next === undefined && renewalTime(material.signer.certificate) <= now) {
    return { ...material, next: newAuthority(now), former };
  }
  return former.length === material.former.length ? material : { ...material, former };
}

/** When to look again, as milliseconds since the epoch. */
export function nextChange(material: KeyMaterial): number {
  const { next, former, signer } = material;
  const promotion =
    next === undefined ? renewalTime(signer.certificate) : validity(next.certificate).from + CLOCK_SKEW_MS + OVERLAP_MS;
  return Math.min(promotion, nextRotation(material), ...former.map((pem) => validity(pem).to));
}

const PEM = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n?/g;

/** `data` of the Secret, not yet in base64. */
export function writeMaterial(material: KeyMaterial): Record<string, string> {
  const { signer, next, former, signingKey, sshHostAuthority } = material;
  return {
    'ca.crt': [signer.certificate, ...(next === undefined ? [] : [next.certificate]), ...former].join(''),
    'ca.key': signer.key,
    ...(next === undefined ? {} : { 'next.key': next.key }),
    'signing.key': signingKey,
    ...writeRotation(material),
    ...(sshHostAuthority === undefined ? {} : { 'ssh-host-ca.key': sshHostAuthority }),
  };
}

/** The other way round. @throws Error that says what is wrong, without what stands there */
export function readMaterial(data: Readonly<Record<string, string | undefined>>): KeyMaterial {
  const certificates = data['ca.crt']?.match(PEM) ?? [];
  const owner = (name: string): Pair | undefined => {
    const key = data[name];
    if (key === undefined) return undefined;
    const parsed = parseKey(key, name);
    const certificate = certificates.find((pem) => new X509Certificate(pem).checkPrivateKey(parsed));
    if (certificate === undefined) throw new Error(`ca.crt has no certificate for ${name}`);
    return { certificate, key };
  };
  const signer = owner('ca.key');
  if (signer === undefined) throw new Error('ca.key is missing');
  const next = owner('next.key');
  const signingKey = data['signing.key'];
  if (signingKey === undefined) throw new Error('signing.key is missing');
  const sshHostAuthority = data['ssh-host-ca.key'];
  const ed25519 = { 'signing.key': signingKey, 'ssh-host-ca.key': sshHostAuthority };
  for (const [name, key] of Object.entries(ed25519))
    if (key !== undefined && parseKey(key, name).asymmetricKeyType !== 'ed25519')
      throw new Error(`${name} is not Ed25519`);
  const signingRotation = readRotation(data, (pem, name) => parseKey(pem, name).asymmetricKeyType === 'ed25519');
  const former = certificates.filter((pem) => pem !== signer.certificate && pem !== next?.certificate);
  return {
    ...{ signer, next, former, signingKey, sshHostAuthority },
    ...(signingRotation === undefined ? {} : { signingRotation }),
  };
}

function parseKey(pem: string, name: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch {
    // OpenSSL's message may quote what it read.
    throw new Error(`${name} is no private key in PEM`);
  }
}
