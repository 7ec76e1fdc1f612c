import { createPrivateKey, generateKeyPairSync, type KeyObject, randomUUID, X509Certificate } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join } from 'node:path';
import tls from 'node:tls';
import { issueCertificate } from '../../certificate/x509.ts';
import { identityError } from './errors.ts';
import { createPrivate, privateFolder, readPrivate, replacePrivate } from './state-files.ts';

/** The certificate that the gateway shows to its clients. */
export interface ServerCertificate {
  /** For new connections; renewed or re-read by `refresh`. */
  context(): tls.SecureContext;
  /** PEM file for clients' `sslrootcert`; undefined when the certificate was given and its authority is not ours to know. */
  readonly caFile: string | undefined;
  /** End of the certificate's life. */
  expiresAt(): Date;
  /**
   * Renews a certificate of ours that nears its end or lacks a name, and re-reads files that changed. Call it every minute or so.
   * What went wrong is thrown, and the last good certificate stays in use. @throws IdentityError SPI030
   */
  refresh(): Promise<void>;
}

const DAY_MS = 86_400_000;
const CA_DAYS = 3650;
const CERTIFICATE_DAYS = 90;
/** A third of its life before the end, so that a weekend without restarts does no harm. */
const RENEW_BEFORE_MS = 30 * DAY_MS;
const OWN_NAMES = ['localhost', '127.0.0.1', '::1'];
const CA_NAME = 'Sallyport local authority';

interface Pair {
  readonly certificate: string;
  readonly key: string;
}

function isDnsName(name: string): boolean {
  return (
    name.length <= 253 &&
    /^(\*\.)?([a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?$/i.test(name)
  );
}

/** @throws Error when the two do not belong together or the time is over */
function contextOf(
  pair: Pair,
  now: number,
  minVersion: tls.SecureVersion = 'TLSv1.2',
): { context: tls.SecureContext; expiresAt: Date } {
  const certificate = new X509Certificate(pair.certificate);
  if (!certificate.checkPrivateKey(createPrivateKey(pair.key)))
    throw new Error('the key is not that of the certificate');
  if (certificate.validToDate.getTime() <= now)
    throw new Error(`the certificate expired at ${certificate.validToDate.toISOString()}`);
  return {
    context: tls.createSecureContext({ cert: pair.certificate, key: pair.key, minVersion }),
    expiresAt: certificate.validToDate,
  };
}

function asRefusal(path: string, error: unknown): Error {
  // OpenSSL's messages name no file and tell a reader nothing.
  const why =
    error instanceof Error && !('opensslErrorStack' in error)
      ? error.message
      : 'certificate and key are not both in PEM';
  return identityError('SPI030', [path, why], error);
}

/** A certificate from files that somebody else keeps up to date, such as a mounted Secret. @throws IdentityError SPI030 */
export async function configuredCertificate(
  files: { readonly certificateFile: string; readonly keyFile: string },
  now: () => number,
  minVersion: tls.SecureVersion = 'TLSv1.2',
): Promise<ServerCertificate> {
  const fingerprint = async (): Promise<string> => {
    const stats = await Promise.all([stat(files.certificateFile), stat(files.keyFile)]);
    return stats.map((one) => `${one.ino}:${one.mtimeMs}:${one.size}`).join(' ');
  };
  const load = async (): Promise<{ context: tls.SecureContext; expiresAt: Date; seen: string }> => {
    try {
      const seen = await fingerprint();
      const [certificate, key] = await Promise.all([
        readFile(files.certificateFile, 'utf8'),
        readFile(files.keyFile, 'utf8'),
      ]);
      return { ...contextOf({ certificate, key }, now(), minVersion), seen };
    } catch (error) {
      throw asRefusal(files.certificateFile, error);
    }
  };
  let current = await load();
  return {
    context: () => current.context,
    caFile: undefined,
    expiresAt: () => current.expiresAt,
    async refresh() {
      let changed = true;
      try {
        changed = (await fingerprint()) !== current.seen;
      } catch (error) {
        throw asRefusal(files.certificateFile, error);
      }
      if (changed) current = await load();
    },
  };
}

const p256 = (): { publicKey: KeyObject; privateKey: KeyObject } => generateKeyPairSync('ec', { namedCurve: 'P-256' });
const pem = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }).toString();

async function authority(folder: string, now: number): Promise<{ certificate: string; key: KeyObject }> {
  const path = join(folder, 'ca.pem');
  let both = await readPrivate(path);
  if (both === undefined) {
    const { publicKey, privateKey } = p256();
    const certificate = issueCertificate({
      commonName: CA_NAME,
      publicKey,
      notBefore: new Date(now - DAY_MS),
      notAfter: new Date(now + CA_DAYS * DAY_MS),
      use: { type: 'authority' },
      issuer: { commonName: CA_NAME, key: privateKey },
    });
    // One file for both, so that no crash between two writes leaves a certificate with somebody else's key.
    await createPrivate(path, pem(privateKey) + certificate, randomUUID());
    both = (await readPrivate(path)) ?? '';
  }
  const certificate = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n?/.exec(both)?.[0];
  if (certificate === undefined) throw new Error('ca.pem holds no certificate');
  return { certificate, key: createPrivateKey(both) };
}

/**
 * A certificate of an authority made for this state folder, in STATE/tls: `ca.pem` (key and certificate, 0600), `ca.crt` for
 * clients, `server.pem`. For this machine's own names and those given, such as the targets' host names.
 * @throws IdentityError SPI030
 */
export async function selfMadeCertificate(
  stateFolder: string,
  names: () => readonly string[],
  now: () => number,
): Promise<ServerCertificate> {
  const folder = join(stateFolder, 'tls');
  const caFile = join(folder, 'ca.crt');
  const serverPath = join(folder, 'server.pem');

  const wanted = (): string[] => [
    ...new Set(
      [...OWN_NAMES, ...names().map((name) => name.toLowerCase())].filter(
        (name) => isIP(name) !== 0 || isDnsName(name),
      ),
    ),
  ];

  function isGood(text: string, ca: X509Certificate): boolean {
    try {
      const certificate = new X509Certificate(text);
      return (
        certificate.verify(ca.publicKey) &&
        certificate.checkPrivateKey(createPrivateKey(text)) &&
        certificate.validToDate.getTime() - now() > RENEW_BEFORE_MS &&
        wanted().every(
          (name) => (isIP(name) !== 0 ? certificate.checkIP(name) : certificate.checkHost(name)) !== undefined,
        )
      );
    } catch {
      // A file that cannot be read as a certificate is one to make anew.
      return false;
    }
  }

  async function load(): Promise<{ context: tls.SecureContext; expiresAt: Date }> {
    try {
      await privateFolder(folder);
      const ca = await authority(folder, now());
      const caCertificate = new X509Certificate(ca.certificate);
      if (caCertificate.validToDate.getTime() - now() < CERTIFICATE_DAYS * DAY_MS) {
        throw new Error('the authority in ca.pem nears its end');
      }
      if ((await readPrivate(caFile)) !== ca.certificate) await replacePrivate(caFile, ca.certificate, randomUUID());
      let text = await readPrivate(serverPath);
      if (text === undefined || !isGood(text, caCertificate)) {
        const { publicKey, privateKey } = p256();
        const certificate = issueCertificate({
          commonName: 'sallyport',
          publicKey,
          notBefore: new Date(now() - DAY_MS),
          notAfter: new Date(now() + CERTIFICATE_DAYS * DAY_MS),
          use: { type: 'server', names: wanted() },
          issuer: { commonName: CA_NAME, key: ca.key },
        });
        text = pem(privateKey) + certificate;
        await replacePrivate(serverPath, text, randomUUID());
      }
      return contextOf({ certificate: text, key: text }, now());
    } catch (error) {
      throw asRefusal(folder, error);
    }
  }

  let current = await load();
  let made = wanted().join(' ');
  return {
    context: () => current.context,
    caFile,
    expiresAt: () => current.expiresAt,
    async refresh() {
      const now_ = wanted().join(' ');
      if (current.expiresAt.getTime() - now() > RENEW_BEFORE_MS && now_ === made) return;
      current = await load();
      made = now_;
    },
  };
}
