import { X509Certificate } from 'node:crypto';
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { issueClientCertificate, readAuthority } from '../protocols/postgres/credentials/certificates.ts';
import { openAuthority } from './authority.ts';
import { installationId } from './installation.ts';

let state: string;
beforeEach(async () => {
  state = await mkdtemp(join(tmpdir(), 'sallyport-authority-'));
});
afterEach(() => rm(state, { recursive: true, force: true }));

const NOW = Date.UTC(2026, 0, 1);
const place = (file: string): string => join(state, 'secrets', 'shop', 'ca', file);

test('an authority is made once, its key is private, and what it signs is for the role and for minutes', async () => {
  const [certificate, again] = await Promise.all([
    openAuthority(state, 'shop', 'ca', NOW),
    openAuthority(state, 'shop', 'ca', NOW),
  ]);
  expect(again).toBe(certificate);
  expect((await stat(place('tls.key'))).mode & 0o777).toBe(0o600);
  const key = await readFile(place('tls.key'), 'utf8');
  const authority = readAuthority('shop/db', { certificate, key });
  const { credential, expiresAt } = issueClientCertificate(
    'shop/db',
    authority,
    { caSecretRef: { name: 'ca' }, role: 'app', ttlMs: 120_000 },
    NOW,
  );
  const leaf = new X509Certificate(credential.certificate);
  expect(leaf.subject).toBe('CN=app');
  expect(leaf.ca).toBe(false);
  expect(leaf.keyUsage).toEqual(['1.3.6.1.5.5.7.3.2']);
  expect(leaf.verify(new X509Certificate(certificate).publicKey)).toBe(true);
  expect(leaf.validToDate).toEqual(new Date(NOW + 120_000));
  expect(expiresAt).toEqual(leaf.validToDate);
  const years = 11 * 365 * 86_400_000;
  expect(() =>
    issueClientCertificate(
      'shop/db',
      authority,
      { caSecretRef: { name: 'ca' }, role: 'app', ttlMs: 120_000 },
      NOW + years,
    ),
  ).toThrow('it ends before what it would sign');
});

test('what cannot sign is refused, without what it holds', async () => {
  const certificate = await openAuthority(state, 'shop', 'ca', NOW);
  const key = await readFile(place('tls.key'), 'utf8');
  await openAuthority(state, 'shop', 'other', NOW);
  const other = await readFile(join(state, 'secrets', 'shop', 'other', 'tls.key'), 'utf8');
  for (const [pem, why] of [
    [{ certificate, key: other }, 'tls.key is not that of tls.crt'],
    [{ certificate, key: 'no key' }, 'is not PEM'],
    [{ certificate: 'nothing', key }, 'is not PEM'],
  ] as const) {
    expect(() => readAuthority('shop/db', pem)).toThrow(
      expect.objectContaining({ code: 'SPK007', message: expect.stringContaining(why) }),
    );
  }
  await chmod(place('tls.key'), 0o644);
  await expect(openAuthority(state, 'shop', 'ca', NOW)).rejects.toMatchObject({
    code: 'SPA011',
    message: expect.stringContaining('others may open'),
  });
});

test('an installation keeps its name, also when workers start together', async () => {
  const names = await Promise.all(Array.from({ length: 5 }, () => installationId(state)));
  expect(new Set(names).size).toBe(1);
  expect(await installationId(state)).toBe(names[0]);
  await writeFile(join(state, 'installation'), 'something else');
  await expect(installationId(state)).rejects.toMatchObject({ code: 'SPA011' });
});
