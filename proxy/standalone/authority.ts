import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  randomUUID,
  X509Certificate,
} from 'node:crypto';
import { join } from 'node:path';
import { ApiError } from '../../api/errors.ts';
import { formatPrivateKey, parsePrivateKey } from '../../certificate/openssh/private-key.ts';
import { formatPublicKey, publicKeyOf } from '../../certificate/openssh/public-key.ts';
import { issueCertificate } from '../../certificate/x509.ts';
import { createPrivate, privateFolder, readPrivate } from '../identity/state-files.ts';

const DAY_MS = 86_400_000;
/** Whoever renews it has to tell every server: rarely, and with the old one still trusted beside it. */
const DAYS = 3650;

/**
 * Certificate, in PEM, of the authority that signs client certificates, in STATE/secrets/NAMESPACE/NAME: `tls.key` and `tls.crt`, made
 * when there is none. The key stays there.
 * @throws ApiError SPA011 when the folder cannot be used, or what is there is no authority with its key
 */
export async function openAuthority(state: string, namespace: string, name: string, now: number): Promise<string> {
  const folder = join(state, 'secrets', namespace, name);
  const [keyPath, certificatePath] = [join(folder, 'tls.key'), join(folder, 'tls.crt')];
  try {
    await privateFolder(folder);
    // The key first: of two that make it at once both go on with the same, and one that crashed goes on where it was.
    if ((await readPrivate(keyPath)) === undefined) {
      const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      await createPrivate(keyPath, privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), randomUUID());
    }
    const key = createPrivateKey((await readPrivate(keyPath)) ?? '');
    if ((await readPrivate(certificatePath)) === undefined) {
      const commonName = `Sallyport clients ${namespace}/${name}`.slice(0, 64);
      const made = issueCertificate({
        commonName,
        publicKey: createPublicKey(key),
        notBefore: new Date(now - DAY_MS),
        notAfter: new Date(now + DAYS * DAY_MS),
        use: { type: 'authority' },
        issuer: { commonName, key },
      });
      await createPrivate(certificatePath, made, randomUUID());
    }
    const certificate = (await readPrivate(certificatePath)) ?? '';
    if (!new X509Certificate(certificate).checkPrivateKey(key)) throw new Error('tls.key is not that of tls.crt');
    return certificate;
  } catch (error) {
    // OpenSSL's messages name no file and may quote what they read.
    const why =
      error instanceof Error && !('opensslErrorStack' in error) ? error.message : 'tls.key or tls.crt is not PEM';
    throw new ApiError('SPA011', [folder, why], error);
  }
}

/**
 * Public key, as in the file that TrustedUserCAKeys names, of the authority that signs SSH user certificates, in
 * STATE/secrets/NAMESPACE/NAME: `ssh-privatekey`, made when there is none. The key stays there.
 * @throws ApiError SPA011
 */
export async function openSshAuthority(state: string, namespace: string, name: string): Promise<string> {
  const folder = join(state, 'secrets', namespace, name);
  const path = join(folder, 'ssh-privatekey');
  try {
    await privateFolder(folder);
    if ((await readPrivate(path)) === undefined) {
      const { privateKey } = generateKeyPairSync('ed25519');
      await createPrivate(
        path,
        formatPrivateKey(privateKey, `sallyport ${namespace}/${name}`, randomBytes(4).readUInt32BE()),
        randomUUID(),
      );
    }
    const key = publicKeyOf(parsePrivateKey((await readPrivate(path)) ?? ''));
    return formatPublicKey(key, `sallyport ${namespace}/${name}`);
  } catch (error) {
    throw new ApiError('SPA011', [folder, error instanceof Error ? error.message : String(error)], error);
  }
}
