/** One certificate authority for all parts of a cluster and its users. */
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface Subject {
  /** The user name, for the API server. */
  readonly name: string;
  readonly groups?: readonly string[];
  /** Subject alternative names as OpenSSL writes them: a server's. */
  readonly hosts?: readonly string[];
}

export interface KeyPair {
  readonly certificate: string;
  readonly key: string;
}

export interface ClusterPki {
  readonly ca: KeyPair;
  /** Signs service account tokens. */
  readonly tokens: { readonly key: string; readonly publicKey: string };
  /** Files `FILE.crt` and `FILE.key` beside the authority's. */
  issue(file: string, subject: Subject): Promise<KeyPair>;
}

const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '30'];
/** Everything is said on the command line; the system's defaults would make leaves authorities. */
const CONFIGURATION = '[req]\ndistinguished_name=subject\nprompt=no\n[subject]\n';

/** OpenSSL's `-subj`: slash begins the next field, plus another value of the same. */
const escaped = (value: string): string => value.replaceAll(/[\\/+=]/g, '\\$&');

function distinguishedName({ name, groups = [] }: Subject): string {
  return [...groups.map((group) => `/O=${escaped(group)}`), `/CN=${escaped(name)}`].join('');
}

/** Makes authority and token key in the folder, which must exist. */
export async function createPki(folder: string): Promise<ClusterPki> {
  const pair = (file: string): KeyPair => ({
    certificate: path.join(folder, `${file}.crt`),
    key: path.join(folder, `${file}.key`),
  });
  const ca = pair('ca');
  const tokens = { key: path.join(folder, 'tokens.key'), publicKey: path.join(folder, 'tokens.pub') };
  const config = path.join(folder, 'openssl.cnf');
  await writeFile(config, CONFIGURATION);
  const request = (into: KeyPair, subject: string, extensions: readonly string[]): readonly string[] => [
    ...['req', '-x509', '-config', config, ...KEY, '-subj', subject, '-keyout', into.key, '-out', into.certificate],
    ...extensions.flatMap((extension) => ['-addext', extension]),
  ];
  await Promise.all([
    run('openssl', [
      ...request(ca, '/CN=sallyport-test-cluster', [
        'basicConstraints=critical,CA:TRUE',
        'keyUsage=critical,keyCertSign,cRLSign',
        'subjectKeyIdentifier=hash',
      ]),
    ]),
    run('openssl', ['genrsa', '-out', tokens.key, '2048']).then(() =>
      run('openssl', ['rsa', '-in', tokens.key, '-pubout', '-out', tokens.publicKey]),
    ),
  ]);
  return {
    ca,
    tokens,
    async issue(file, subject) {
      const into = pair(file);
      const extensions = [
        'basicConstraints=critical,CA:FALSE',
        'extendedKeyUsage=clientAuth,serverAuth',
        ...(subject.hosts === undefined ? [] : [`subjectAltName=${subject.hosts.join(',')}`]),
      ];
      await run('openssl', [
        ...request(into, distinguishedName(subject), extensions),
        ...['-CA', ca.certificate, '-CAkey', ca.key],
      ]);
      return into;
    },
  };
}

/** Writes a kubeconfig of one user. It holds what it needs, so it can be copied anywhere. */
export async function writeKubeconfig(file: string, server: string, ca: string, user: KeyPair): Promise<string> {
  const data = async (source: string): Promise<string> => (await readFile(source)).toString('base64');
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'cluster', cluster: { server, 'certificate-authority-data': await data(ca) } }],
    users: [
      {
        name: 'user',
        user: { 'client-certificate-data': await data(user.certificate), 'client-key-data': await data(user.key) },
      },
    ],
    contexts: [{ name: 'context', context: { cluster: 'cluster', user: 'user' } }],
    'current-context': 'context',
  };
  await writeFile(file, `${JSON.stringify(config, null, 2)}\n`, { mode: 0o600 });
  return file;
}
