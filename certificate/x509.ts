import { createHash, createPublicKey, type KeyObject, randomBytes, sign } from 'node:crypto';
import { isIP } from 'node:net';
import {
  bitString,
  boolean,
  explicit,
  implicit,
  objectIdentifier,
  octetString,
  sequence,
  set,
  time,
  unsignedInteger,
  utf8String,
} from './der.ts';

/** X.509 version 3 certificates (RFC 5280) with P-256 keys and ECDSA over SHA-256: an authority, and servers and clients below it. */

const ECDSA_WITH_SHA256 = sequence(objectIdentifier('1.2.840.10045.4.3.2'));
const COMMON_NAME = '2.5.4.3';
const SUBJECT_KEY_ID = '2.5.29.14';
const KEY_USAGE = '2.5.29.15';
const SUBJECT_ALT_NAME = '2.5.29.17';
const BASIC_CONSTRAINTS = '2.5.29.19';
const AUTHORITY_KEY_ID = '2.5.29.35';
const EXTENDED_KEY_USAGE = '2.5.29.37';
const SERVER_AUTH = '1.3.6.1.5.5.7.3.1';
const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';

/** What the certificate is good for. A server's names are DNS names and IP addresses; a client is its common name; a peer is both. */
export type CertificateUse =
  | { readonly type: 'authority' }
  | { readonly type: 'server' | 'peer'; readonly names: readonly string[] }
  | { readonly type: 'client' };

export interface CertificateRequest {
  readonly commonName: string;
  /** P-256. */
  readonly publicKey: KeyObject;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly use: CertificateUse;
  /** Common name and private key of the authority; its own for one that signs itself. */
  readonly issuer: { readonly commonName: string; readonly key: KeyObject };
}

const nameOf = (commonName: string): Buffer =>
  sequence(set(sequence(objectIdentifier(COMMON_NAME), utf8String(commonName))));

const extension = (id: string, critical: boolean, value: Uint8Array): Buffer =>
  sequence(objectIdentifier(id), ...(critical ? [boolean(true)] : []), octetString(value));

/** RFC 5280, section 4.2.1.2, method 1: SHA-1 of the public key's bits; an identifier, not a protection. */
function keyId(spki: Buffer): Buffer {
  // A P-256 SubjectPublicKeyInfo ends with the 65 bytes of the uncompressed point.
  return createHash('sha1').update(spki.subarray(-65)).digest();
}

function addressBytes(address: string): Buffer {
  if (isIP(address) === 4) return Buffer.from(address.split('.').map(Number));
  const [head = '', tail] = address.toLowerCase().split('::');
  const groups = (part: string): number[] =>
    part === ''
      ? []
      : part.split(':').flatMap((group) => {
          if (group.includes('.')) return group.split('.').map(Number);
          const value = Number.parseInt(group, 16);
          return [value >> 8, value & 0xff];
        });
  const front = groups(head);
  const back = tail === undefined ? [] : groups(tail);
  return Buffer.from([...front, ...new Array<number>(16 - front.length - back.length).fill(0), ...back]);
}

const generalName = (name: string): Buffer =>
  isIP(name) === 0 ? implicit(2, Buffer.from(name, 'latin1')) : implicit(7, addressBytes(name));

function extensionsOf(use: CertificateUse): readonly Buffer[] {
  switch (use.type) {
    case 'authority':
      return [];
    case 'server':
      return [
        extension(EXTENDED_KEY_USAGE, false, sequence(objectIdentifier(SERVER_AUTH))),
        extension(SUBJECT_ALT_NAME, false, sequence(...use.names.map(generalName))),
      ];
    case 'peer':
      return [
        extension(EXTENDED_KEY_USAGE, false, sequence(objectIdentifier(SERVER_AUTH), objectIdentifier(CLIENT_AUTH))),
        extension(SUBJECT_ALT_NAME, false, sequence(...use.names.map(generalName))),
      ];
    case 'client':
      return [extension(EXTENDED_KEY_USAGE, false, sequence(objectIdentifier(CLIENT_AUTH)))];
    default:
      return use satisfies never;
  }
}

/** The certificate in PEM. */
export function issueCertificate(request: CertificateRequest): string {
  const spki = request.publicKey.export({ type: 'spki', format: 'der' });
  const issuerSpki = createPublicKey(request.issuer.key).export({ type: 'spki', format: 'der' });
  const authority = request.use.type === 'authority';
  const extensions = [
    extension(
      BASIC_CONSTRAINTS,
      true,
      authority ? sequence(boolean(true), unsignedInteger(Buffer.from([0]))) : sequence(),
    ),
    // digitalSignature is bit 0; keyCertSign and cRLSign are bits 5 and 6.
    extension(KEY_USAGE, true, authority ? bitString(Buffer.from([0x06]), 1) : bitString(Buffer.from([0x80]), 7)),
    extension(SUBJECT_KEY_ID, false, octetString(keyId(spki))),
    extension(AUTHORITY_KEY_ID, false, sequence(implicit(0, keyId(issuerSpki)))),
    ...extensionsOf(request.use),
  ];
  const serial = randomBytes(16);
  // Positive, and never shortened by a leading zero.
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40;
  const toBeSigned = sequence(
    explicit(0, unsignedInteger(Buffer.from([2]))),
    unsignedInteger(serial),
    ECDSA_WITH_SHA256,
    nameOf(request.issuer.commonName),
    sequence(time(request.notBefore), time(request.notAfter)),
    nameOf(request.commonName),
    spki,
    explicit(3, sequence(...extensions)),
  );
  const signature = sign('sha256', toBeSigned, { key: request.issuer.key, dsaEncoding: 'der' });
  const der = sequence(toBeSigned, ECDSA_WITH_SHA256, bitString(signature));
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}
