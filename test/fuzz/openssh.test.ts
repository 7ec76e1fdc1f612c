import { generateKeyPairSync, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { issueSshCertificate, parseCertificate } from '../../certificate/openssh/certificate.ts';
import { OpenSshError } from '../../certificate/openssh/errors.ts';
import { parseHostKeyPin } from '../../certificate/openssh/known-hosts.ts';
import { formatPrivateKey, parsePrivateKey } from '../../certificate/openssh/private-key.ts';
import { formatPublicKey, parsePublicKeyBlob, publicKeyOf } from '../../certificate/openssh/public-key.ts';
import { signSsh, verifySsh } from '../../certificate/openssh/signature.ts';
import { certificateProblem } from '../../certificate/openssh/verify.ts';

const ed25519 = generateKeyPairSync('ed25519').privateKey;
const ecdsa = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
const NOW = Date.parse('2030-01-01T00:00:00Z');

const certificate = issueSshCertificate({
  use: 'user',
  publicKey: ed25519,
  nonce: randomBytes(32),
  serial: 1n,
  keyId: 'agent session 1',
  principals: ['deploy', 'ops'],
  validAfter: NOW - 60_000,
  validBefore: NOW + 60_000,
  criticalOptions: new Map([['source-address', '192.0.2.0/24']]),
  extensions: new Map([['permit-pty', '']]),
  authority: ecdsa,
});
const authorities = [publicKeyOf(ecdsa)];

/** What it makes of the bytes; undefined: refused, in the one way that callers expect. */
function read<T>(parse: (bytes: Buffer) => T, bytes: Buffer): T | undefined {
  try {
    return parse(bytes);
  } catch (error) {
    if (error instanceof OpenSshError) return undefined;
    throw error;
  }
}

/** Bytes of something that is in order, with some of them changed, taken out or put in. */
const damaged = (whole: Buffer) =>
  fc
    .array(fc.tuple(fc.nat(whole.length), fc.integer({ min: 0, max: 255 }), fc.constantFrom('set', 'drop', 'add')), {
      minLength: 1,
      maxLength: 4,
    })
    .map((changes) => {
      const bytes = [...whole];
      for (const [at, value, kind] of changes)
        bytes.splice(at, kind === 'add' ? 0 : 1, ...(kind === 'drop' ? [] : [value]));
      return Buffer.from(bytes);
    });

describe.each<[string, (bytes: Buffer) => unknown, Buffer]>([
  ['certificate', parseCertificate, certificate],
  ['public key', parsePublicKeyBlob, publicKeyOf(rsa).blob],
  ['private key', (bytes) => parsePrivateKey(bytes.toString('latin1')), Buffer.from(formatPrivateKey(ecdsa, 'c', 7))],
  ['pin', (bytes) => parseHostKeyPin(bytes.toString('latin1')), Buffer.from(formatPublicKey(publicKeyOf(ed25519)))],
])('%s', (_name, parse, whole) => {
  test('arbitrary and damaged bytes are read or refused', () => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 300 }).map(Buffer.from), damaged(whole)), (bytes) => {
        read(parse, bytes);
      }),
      { numRuns: 2000 },
    );
    expect(read(parse, whole)).toBeDefined();
  });
});

test('a certificate that was changed in any way is believed no more', () => {
  const expected = { use: 'user', authorities, principals: ['ops'], peer: '192.0.2.1', now: NOW } as const;
  expect(certificateProblem(parseCertificate(certificate), expected)).toBeUndefined();
  fc.assert(
    fc.property(damaged(certificate), (bytes) => {
      if (bytes.equals(certificate)) return;
      const found = read(parseCertificate, bytes);
      // ECDSA has two signatures for one text, of which a change makes none.
      if (found !== undefined) expect(certificateProblem(found, expected)).toBeDefined();
    }),
    { numRuns: 2000 },
  );
});

test('a signature that was changed proves nothing', () => {
  const data = Buffer.from('data');
  for (const key of [ed25519, ecdsa, rsa]) {
    const signature = signSsh(key, data);
    const publicKey = publicKeyOf(key);
    expect(verifySsh(publicKey, data, signature)).toBe(true);
    fc.assert(
      fc.property(damaged(signature), (bytes) => {
        if (!bytes.equals(signature)) expect(verifySsh(publicKey, data, bytes)).toBe(false);
      }),
      { numRuns: 500 },
    );
  }
});
