import { createPrivateKey, generateKeyPairSync, type KeyObject, X509Certificate } from 'node:crypto';
import { issueCertificate } from '../../../../certificate/x509.ts';
import type { ClientCertificate } from '../../../../policy/bundle.ts';
import type { PostgresCredential } from '../../../ports.ts';
import { CredentialError } from './errors.ts';

/** Clocks of proxy and target may differ by this much, in milliseconds. */
const CLOCK_SKEW_MS = 60_000;

export interface SigningAuthority {
  readonly commonName: string;
  readonly key: KeyObject;
  readonly certificate: X509Certificate;
}

/** @param label `NAMESPACE/NAME` of the connection. @throws CredentialError SPK007 */
export function readAuthority(
  label: string,
  pem: { readonly certificate: string; readonly key: string },
): SigningAuthority {
  const refuse = (why: string, cause?: unknown): CredentialError => new CredentialError('SPK007', [label, why], cause);
  let certificate: X509Certificate;
  let key: KeyObject;
  try {
    certificate = new X509Certificate(pem.certificate);
    key = createPrivateKey(pem.key);
  } catch (error) {
    // OpenSSL's text may quote what it was given.
    throw refuse('tls.crt or tls.key is not PEM', new Error(error instanceof Error ? error.name : 'unreadable'));
  }
  if (!certificate.checkPrivateKey(key)) throw refuse('tls.key is not that of tls.crt');
  if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') throw refuse('its key is not one of P-256');
  if (!certificate.ca) throw refuse('tls.crt is not that of an authority');
  const commonName = /^CN=(.+)$/.exec(certificate.subject)?.[1];
  if (commonName === undefined) throw refuse('its name is more than a common name');
  return { commonName, key, certificate };
}

/** A certificate for a key that is made here and never leaves memory. @throws CredentialError SPK007 when the authority has ended */
export function issueClientCertificate(
  label: string,
  authority: SigningAuthority,
  { role, ttlMs }: ClientCertificate,
  now: number,
): { readonly credential: PostgresCredential & { readonly type: 'certificate' }; readonly expiresAt: Date } {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  // A certificate has whole seconds.
  const expiresAt = new Date(Math.floor((now + ttlMs) / 1000) * 1000);
  if (authority.certificate.validToDate < expiresAt)
    throw new CredentialError('SPK007', [label, 'it ends before what it would sign']);
  const certificate = issueCertificate({
    commonName: role,
    publicKey,
    notBefore: new Date(now - CLOCK_SKEW_MS),
    notAfter: expiresAt,
    use: { type: 'client' },
    issuer: { commonName: authority.commonName, key: authority.key },
  });
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  return { credential: { type: 'certificate', username: role, certificate, key }, expiresAt };
}
