import { execFile } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import tls from 'node:tls';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { configuredCertificate, selfMadeCertificate } from './server-certificate.ts';

const run = promisify(execFile);
const DAY = 86_400_000;
let state = '';
beforeEach(async () => {
  state = await mkdtemp(join(tmpdir(), 'sallyport-tls-'));
});
afterEach(() => rm(state, { recursive: true }));

const leaf = async (): Promise<X509Certificate> =>
  new X509Certificate(await readFile(join(state, 'tls', 'server.pem')));

/** Connects as a client that trusts `ca` and checks `servername`; resolves with what came of it. */
function handshake(context: tls.SecureContext, ca: string, servername: string): Promise<string> {
  return new Promise((resolve) => {
    const server = tls.createServer({
      SNICallback: (_name, done) => done(null, context),
      secureContext: context,
    } as tls.TlsOptions);
    server.on('tlsClientError', () => {});
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      const client = tls.connect({ port, host: '127.0.0.1', ca, servername });
      const done = (result: string): void => {
        client.destroy();
        server.close(() => resolve(result));
      };
      client.on('secureConnect', () => done('verified'));
      client.on('error', (error) => done(error.message));
    });
  });
}

test('a certificate of our own verifies for all its names, in OpenSSL too', async () => {
  const certificate = await selfMadeCertificate(
    state,
    () => ['db.shop.svc', '2001:db8::7', '10.1.2.3', 'not a name'],
    Date.now,
  );
  const made = await leaf();
  for (const name of ['localhost', 'db.shop.svc']) expect(made.checkHost(name)).toBe(name);
  for (const address of ['127.0.0.1', '::1', '2001:db8::7', '10.1.2.3']) expect(made.checkIP(address)).toBeDefined();
  expect(made.checkHost('other.shop.svc')).toBeUndefined();
  expect(made.ca).toBe(false);
  const { caFile } = certificate;
  if (caFile === undefined) throw new Error('no authority file');
  const { stdout } = await run('openssl', [
    'verify',
    '-x509_strict',
    '-purpose',
    'sslserver',
    '-CAfile',
    caFile,
    join(state, 'tls', 'server.pem'),
  ]);
  expect(stdout).toContain(': OK');
  const ca = await readFile(caFile, 'utf8');
  expect(new X509Certificate(ca).ca).toBe(true);
  expect(await handshake(certificate.context(), ca, 'localhost')).toBe('verified');
  expect(await handshake(certificate.context(), ca, 'elsewhere.example')).toContain('does not match');
});

test('files are for their owner alone, and refused when they are not', async () => {
  await selfMadeCertificate(state, () => [], Date.now);
  for (const file of ['ca.pem', 'server.pem']) {
    expect((await stat(join(state, 'tls', file))).mode & 0o777).toBe(0o600);
  }
  await chmod(join(state, 'tls', 'ca.pem'), 0o644);
  await expect(selfMadeCertificate(state, () => [], Date.now)).rejects.toMatchObject({ code: 'SPI030' });
});

test('the authority stays over restarts; the certificate stays until it nears its end or lacks a name', async () => {
  let now = Date.now();
  let names = ['a.example'];
  const open = () =>
    selfMadeCertificate(
      state,
      () => names,
      () => now,
    );
  const first = await open();
  const ca = await readFile(first.caFile ?? '', 'utf8');
  const serial = (await leaf()).serialNumber;
  await open();
  expect((await leaf()).serialNumber).toBe(serial);
  now += 61 * DAY;
  const context = first.context();
  await first.refresh();
  expect(first.context()).not.toBe(context);
  expect((await leaf()).serialNumber).not.toBe(serial);
  expect(first.expiresAt().getTime()).toBeGreaterThan(now + 80 * DAY);
  names = ['a.example', 'b.example'];
  await first.refresh();
  expect((await leaf()).checkHost('b.example')).toBe('b.example');
  expect(await readFile(first.caFile ?? '', 'utf8')).toBe(ca);
});

test('a damaged server file is made anew; a damaged authority is an error', async () => {
  await selfMadeCertificate(state, () => [], Date.now);
  await writeFile(join(state, 'tls', 'server.pem'), 'rubbish');
  await selfMadeCertificate(state, () => [], Date.now);
  expect((await leaf()).checkHost('localhost')).toBe('localhost');
  await writeFile(join(state, 'tls', 'ca.pem'), 'rubbish');
  await expect(selfMadeCertificate(state, () => [], Date.now)).rejects.toMatchObject({ code: 'SPI030' });
});

test('configured files are read again when they change, and a bad change keeps the last good certificate', async () => {
  const one = join(state, 'one');
  const two = join(state, 'two');
  await selfMadeCertificate(one, () => [], Date.now);
  await selfMadeCertificate(two, () => [], Date.now);
  const [pemOne, pemTwo] = await Promise.all(
    [one, two].map((folder) => readFile(join(folder, 'tls', 'server.pem'), 'utf8')),
  );
  const files = { certificateFile: join(state, 'tls.crt'), keyFile: join(state, 'tls.key') };
  await expect(configuredCertificate(files, Date.now)).rejects.toMatchObject({ code: 'SPI030' });
  await Promise.all([writeFile(files.certificateFile, pemOne ?? ''), writeFile(files.keyFile, pemOne ?? '')]);
  const certificate = await configuredCertificate(files, Date.now);
  const context = certificate.context();
  await certificate.refresh();
  expect(certificate.context()).toBe(context);
  await writeFile(files.certificateFile, `${pemTwo}\n`);
  await expect(certificate.refresh()).rejects.toMatchObject({
    code: 'SPI030',
    message: expect.stringContaining('not that of the certificate'),
  });
  expect(certificate.context()).toBe(context);
  await writeFile(files.keyFile, `${pemTwo}\n`);
  await certificate.refresh();
  expect(certificate.context()).not.toBe(context);
  await expect(configuredCertificate(files, () => Date.now() + 100 * DAY)).rejects.toMatchObject({ code: 'SPI030' });
});
