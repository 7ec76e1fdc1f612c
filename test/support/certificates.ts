import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface IssuedCertificate {
  readonly certificatePath: string;
  readonly keyPath: string;
  /** PEM. */
  readonly certificate: string;
  /** PEM, PKCS #8. */
  readonly key: string;
}

export interface CertificateAuthority {
  readonly caPath: string;
  /** PEM. */
  readonly ca: string;
  /**
   * Makes a leaf certificate. `names` are subject alternative names as OpenSSL writes them, such as `DNS:localhost`; none gives a
   * client certificate. `days` may be negative for one that has expired.
   */
  issue(commonName: string, names?: readonly string[], days?: number): Promise<IssuedCertificate>;
}

const EC_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];

/** A certificate authority whose files live in `folder`, which must exist. */
export async function createAuthority(folder: string, name = 'test authority'): Promise<CertificateAuthority> {
  const slug = name.replaceAll(/[^a-z0-9]+/gi, '-');
  const caPath = path.join(folder, `${slug}.crt`);
  const caKeyPath = path.join(folder, `${slug}.key`);
  await run('openssl', [
    'req',
    '-x509',
    ...EC_KEY,
    '-days',
    '2',
    '-subj',
    `/CN=${name}`,
    '-addext',
    'basicConstraints=critical,CA:TRUE',
    '-addext',
    'keyUsage=critical,keyCertSign,cRLSign',
    '-keyout',
    caKeyPath,
    '-out',
    caPath,
  ]);
  let issued = 0;
  return {
    caPath,
    ca: await readFile(caPath, 'utf8'),
    async issue(commonName, names = [], days = 2) {
      issued += 1;
      const base = path.join(folder, `${slug}-${issued}`);
      const [keyPath, requestPath, certificatePath] = [`${base}.key`, `${base}.csr`, `${base}.crt`];
      const extensions = `${base}.ext`;
      await writeFile(
        extensions,
        names.length === 0
          ? 'extendedKeyUsage=clientAuth\n'
          : `subjectAltName=${names.join(',')}\nextendedKeyUsage=serverAuth\n`,
      );
      await run('openssl', ['req', ...EC_KEY, '-subj', `/CN=${commonName}`, '-keyout', keyPath, '-out', requestPath]);
      await run('openssl', [
        'x509',
        '-req',
        '-in',
        requestPath,
        '-CA',
        caPath,
        '-CAkey',
        caKeyPath,
        '-CAcreateserial',
        '-days',
        String(days),
        '-extfile',
        extensions,
        '-out',
        certificatePath,
      ]);
      return {
        certificatePath,
        keyPath,
        certificate: await readFile(certificatePath, 'utf8'),
        key: await readFile(keyPath, 'utf8'),
      };
    },
  };
}
