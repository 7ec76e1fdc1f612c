import { X509Certificate } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { createKeyRing, isStale } from './key-ring.ts';
import {
  AUTHORITY_DAYS,
  newMaterial,
  nextChange,
  OVERLAP_MS,
  readMaterial,
  renewed,
  writeMaterial,
} from './material.ts';
import { FORMER_SIGNING_MS, SIGNING_OVERLAP_MS } from './signing-rotation.ts';

const START = Date.UTC(2026, 0, 1);
const DAY = 86_400_000;
const issuedBy = (leaf: string, trust: string): boolean =>
  (trust.match(/-----BEGIN[^-]+-----[^-]+-----END[^-]+-----\n/g) ?? []).some((pem) =>
    new X509Certificate(leaf).checkIssued(new X509Certificate(pem)),
  );
const request = { commonName: 'shop/sallyport-proxy', names: ['sallyport-proxy.shop.svc'], use: 'peer' } as const;

describe('the authority', () => {
  test('what is written is what is read', () => {
    const material = newMaterial(START);
    expect(readMaterial(writeMaterial(material))).toEqual(material);
    const both = renewed(material, START + AUTHORITY_DAYS * 0.7 * DAY);
    expect(readMaterial(writeMaterial(both))).toEqual(both);
  });

  test('does not change until two thirds of its life', () => {
    const material = newMaterial(START);
    expect(renewed(material, START + AUTHORITY_DAYS * 0.6 * DAY)).toBe(material);
    expect(nextChange(material)).toBeGreaterThan(START + AUTHORITY_DAYS * 0.66 * DAY);
    expect(nextChange(material)).toBeLessThan(START + AUTHORITY_DAYS * 0.67 * DAY);
  });

  test('the next one is trusted before it signs, and the old one after', () => {
    const first = newMaterial(START);
    const at = nextChange(first);
    const second = renewed(first, at);
    expect(second.signer).toEqual(first.signer);
    expect(second.next).toBeDefined();
    expect(renewed(second, at + OVERLAP_MS / 2)).toBe(second);
    const promoted = nextChange(second);
    expect(promoted - at).toBe(OVERLAP_MS);
    const third = renewed(second, promoted);
    expect(third.signer).toEqual(second.next);
    expect(third.former).toEqual([first.signer.certificate]);
    expect(renewed(third, START + (AUTHORITY_DAYS + 1) * DAY).former).toEqual([]);
  });

  test('every certificate that is in use is trusted by every copy that is a day old', () => {
    let material = newMaterial(START);
    let now = START;
    const ring = createKeyRing(material, () => now);
    let copy = ring.trust();
    for (; now < START + 3 * AUTHORITY_DAYS * DAY; now += DAY) {
      const old = copy;
      material = renewed(material, now);
      ring.replace(material);
      const { certificate } = ring.issue({ ...request, lifetimeMs: 90 * DAY });
      expect(issuedBy(certificate, old)).toBe(true);
      expect(new X509Certificate(certificate).validToDate.getTime()).toBeGreaterThan(now);
      copy = ring.trust();
    }
  });

  test('after a long absence an expired one is replaced at once', () => {
    const material = newMaterial(START);
    const late = START + (AUTHORITY_DAYS + 100) * DAY;
    const fresh = renewed(material, late);
    expect(fresh.signer).not.toEqual(material.signer);
    expect(fresh.former).toEqual([]);
    expect(fresh.signingKey).toBe(material.signingKey);
  });

  test('what is no set of keys is refused without saying what stands there', () => {
    const data = writeMaterial(newMaterial(START));
    const attempts: Record<string, string>[] = [
      {},
      { ...data, 'ca.key': 'SECRET-CANARY' },
      { ...data, 'ca.crt': '' },
      { ...data, 'signing.key': data['ca.key'] ?? '' },
      { ...data, 'ca.key': writeMaterial(newMaterial(START))['ca.key'] ?? '' },
    ];
    for (const attempt of attempts) {
      expect(() => readMaterial(attempt)).toThrow(/^(?!.*CANARY).+$/);
    }
  });
});

describe('the signing key', () => {
  const first = newMaterial(START);
  const trustedOf = (material: typeof first): readonly string[] => createKeyRing(material, () => START).publicKeys();

  test('stays for as long as nobody asks for another, and after an older number', () => {
    expect(renewed(first, START)).toBe(first);
    const third = newMaterial(START, 3);
    expect(renewed(third, START, 3)).toBe(third);
    expect(renewed(third, START, 2)).toBe(third);
  });

  test('is followed by one that was trusted for a day, and is trusted for as long as its votes count', () => {
    const asked = renewed(first, START, 2);
    expect(asked.signingKey).toBe(first.signingKey);
    expect(trustedOf(asked)).toHaveLength(2);
    expect(readMaterial(writeMaterial(asked))).toEqual(asked);
    // Asked for once more meanwhile: one after the other.
    expect(renewed(asked, START + DAY - 1, 3)).toBe(asked);
    expect(nextChange(asked)).toBe(START + SIGNING_OVERLAP_MS);

    const signs = renewed(asked, START + DAY, 2);
    expect(signs.signingKey).toBe(asked.signingRotation?.next?.key);
    expect(trustedOf(signs)).toEqual(trustedOf(asked));
    expect(readMaterial(writeMaterial(signs))).toEqual(signs);
    expect(nextChange(signs)).toBe(START + DAY + FORMER_SIGNING_MS);

    const alone = renewed(signs, START + DAY + FORMER_SIGNING_MS, 2);
    expect(trustedOf(alone)).toEqual(trustedOf(signs).slice(1));
    expect(renewed(alone, START + 100 * DAY, 2)).toBe(alone);
    expect(trustedOf(renewed(alone, START + 100 * DAY, 3))).toHaveLength(2);
  });

  test.each([
    ['is no JSON', { 'signing.json': '{' }],
    ['has no generation', { 'signing.json': '{"former":[]}' }],
    ['has no time for the next key', { 'signing.json': '{"generation":2,"former":[]}', 'next-signing.key': 'CANARY' }],
    ['trusts what is no key', { 'signing.json': '{"generation":2,"former":[{"publicKey":"CANARY","until":1}]}' }],
  ])('is refused where its state %s', (_what, change) => {
    expect(() => readMaterial({ ...writeMaterial(first), ...change })).toThrow(
      /^signing\.json is not what the operator writes$/,
    );
  });
});

describe('a certificate', () => {
  const ring = createKeyRing(newMaterial(START), () => START);
  const { certificate } = ring.issue({ ...request, lifetimeMs: 90 * DAY });

  test('is kept while it is good', () => {
    expect(isStale(certificate, ring, request, START + 59 * DAY)).toBe(false);
  });

  test.each([
    ['two thirds of its life are over', certificate, request, START + 61 * DAY],
    ['it lacks a name', certificate, { ...request, names: [...request.names, 'db.example'] }, START],
    ['it has a name too many', certificate, { ...request, names: [] }, START],
    ['it is of somebody else', certificate, { ...request, commonName: 'other/sallyport-proxy' }, START],
    ['it is no certificate', 'nonsense', request, START],
    ['there is none', undefined, request, START],
  ])('is made anew when %s', (_why, pem, wanted, now) => {
    expect(isStale(pem, ring, wanted, now)).toBe(true);
  });

  test('is made anew when another authority signs', () => {
    expect(
      isStale(
        certificate,
        createKeyRing(newMaterial(START), () => START),
        request,
        START,
      ),
    ).toBe(true);
  });

  test('may have addresses of both kinds as names', () => {
    const names = ['192.0.2.1', '2001:db8::1', 'db.example', '*.replicas.shop.svc'];
    const made = ring.issue({ ...request, names, lifetimeMs: DAY });
    expect(isStale(made.certificate, ring, { ...request, names }, START)).toBe(false);
  });
});
