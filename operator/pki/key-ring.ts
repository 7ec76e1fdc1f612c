import { createPrivateKey, generateKeyPairSync, type KeyObject, sign, X509Certificate } from 'node:crypto';
import { authorityLine } from '../../certificate/openssh/known-hosts.ts';
import { publicKeyOf } from '../../certificate/openssh/public-key.ts';
import { issueCertificate } from '../../certificate/x509.ts';
import { CLOCK_SKEW_MS, type KeyMaterial, type Pair, renewalTime } from './material.ts';
import { rawPublicKey, trustedSigningKeys } from './signing-rotation.ts';

/** What a certificate is to be for. A peer is server and client; its common name says who it is. */
export interface LeafRequest {
  readonly commonName: string;
  /** DNS names and IP addresses. */
  readonly names: readonly string[];
  readonly use: 'server' | 'peer';
  /** Milliseconds; never longer than its authority lives. */
  readonly lifetimeMs: number;
}

/** The installation's keys, in memory and always the newest: what controllers and webhooks sign with. */
export interface KeyRing {
  /** Certificates, in PEM, of every authority to trust: the one that signs, the next, and former ones. */
  trust(): string;
  /** A fresh key with its certificate. */
  issue(request: LeafRequest): Pair;
  /** Ed25519 signature. */
  sign(data: Uint8Array): Buffer;
  /** The key that verifies what `sign` makes: 32 bytes, base64. */
  publicKey(): string;
  /** Those that proxies have to trust: also of keys that sign next, and that signed before. */
  publicKeys(): readonly string[];
  /** Ed25519 private key in PKCS #8 PEM, for who signs votes. */
  signingKey(): string;
  /** Signs SSH host certificates; undefined until the keys of an older version are renewed. */
  sshHostAuthority(): KeyObject | undefined;
  /** The line of known_hosts with which clients trust them; empty while there is no authority. */
  sshKnownHosts(): string;
  /** Called after the keys have changed. @returns takes it off */
  onChange(listener: () => void): () => void;
  /** Replaces the keys. */
  replace(material: KeyMaterial): void;
  readonly material: KeyMaterial;
}

export function createKeyRing(first: KeyMaterial, now: () => number): KeyRing {
  let material = first;
  const listeners = new Set<() => void>();
  return {
    get material() {
      return material;
    },
    trust: () => trustOf(material),
    issue: (request) => issueLeaf(material.signer, request, now()),
    sign: (data) => sign(null, data, material.signingKey),
    publicKey: () => rawPublicKey(material.signingKey),
    publicKeys: () => trustedSigningKeys(material),
    signingKey: () => material.signingKey,
    sshHostAuthority: () => sshHostAuthority(material),
    sshKnownHosts() {
      const authority = sshHostAuthority(material);
      // Which hosts a certificate is for it says itself.
      return authority === undefined ? '' : `${authorityLine(['*'], publicKeyOf(authority))}\n`;
    },
    onChange(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    replace(fresh) {
      if (JSON.stringify(fresh) === JSON.stringify(material)) return;
      material = fresh;
      for (const listener of [...listeners]) listener();
    },
  };
}

const sshHostAuthority = ({ sshHostAuthority: pem }: KeyMaterial): KeyObject | undefined =>
  pem === undefined ? undefined : createPrivateKey(pem);

const trustOf = ({ signer, next, former }: KeyMaterial): string =>
  [signer.certificate, ...(next === undefined ? [] : [next.certificate]), ...former].join('');

function issueLeaf(signer: Pair, { commonName, names, use, lifetimeMs }: LeafRequest, now: number): Pair {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const authority = new X509Certificate(signer.certificate);
  const certificate = issueCertificate({
    commonName,
    publicKey,
    notBefore: new Date(now - CLOCK_SKEW_MS),
    notAfter: new Date(Math.min(now + lifetimeMs, authority.validToDate.getTime())),
    use: { type: use, names },
    issuer: { commonName: authority.subject.replace(/^CN=/, ''), key: createPrivateKey(signer.key) },
  });
  return { certificate, key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() };
}

/**
 * Whether a certificate has to be made anew: it is of another authority than the one that signs now, two thirds of its life are
 * over, or it is about other names. `certificate` may be anything that somebody put there.
 */
export function isStale(
  certificate: string | undefined,
  ring: KeyRing,
  request: Omit<LeafRequest, 'lifetimeMs'>,
  now: number,
): boolean {
  if (certificate === undefined) return true;
  let parsed: X509Certificate;
  try {
    parsed = new X509Certificate(certificate);
  } catch {
    return true;
  }
  const signer = new X509Certificate(ring.material.signer.certificate);
  if (!parsed.checkIssued(signer) || !parsed.verify(signer.publicKey)) return true;
  if (parsed.subject !== `CN=${request.commonName}`) return true;
  if (renewalTime(certificate) <= now) return true;
  const has = (parsed.subjectAltName ?? '')
    .split(', ')
    .map((name) => name.replace(/^(DNS|IP Address):/, ''))
    .sort();
  return JSON.stringify(has) !== JSON.stringify([...request.names].map(asShown).sort());
}

/** Addresses are shown in OpenSSL's own spelling: compared by what they would become. */
const asShown = (name: string): string => (name.includes(':') ? openSslAddress(name) : name);

function openSslAddress(address: string): string {
  const [head = '', tail] = address.toLowerCase().split('::');
  const groups = (part: string): string[] => (part === '' ? [] : part.split(':'));
  const front = groups(head);
  const back = tail === undefined ? [] : groups(tail);
  const zeros = new Array<string>(8 - front.length - back.length).fill('0');
  return [...front, ...zeros, ...back].map((group) => Number.parseInt(group, 16).toString(16).toUpperCase()).join(':');
}
