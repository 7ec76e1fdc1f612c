import { type KeyObject, X509Certificate } from 'node:crypto';
import { statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { ApiError } from '../../api/errors.ts';
import { OpenSshError } from '../../certificate/openssh/errors.ts';
import { parsePrivateKey } from '../../certificate/openssh/private-key.ts';
import type { CompiledConnection } from '../../policy/bundle.ts';
import type { CredentialSource } from '../ports.ts';
import { kubeconfigCredential } from './kubeconfig.ts';
import { storedHttp } from './stored-http.ts';

/** Where values of Secrets and ConfigMaps come from. */
export interface StoredValues {
  /** Undefined: there is none. Names are checked before they become a path. @throws ApiError SPA001 */
  value(kind: 'Secret' | 'ConfigMap', namespace: string, name: string, key: string): Promise<Buffer | undefined>;
  /** Key for tokenize where a rule names none. */
  ownTokenKey(namespace: string): Promise<Uint8Array>;
}

/** A shorter key can be guessed, and who guesses it can undo tokens by trying values. */
const MIN_TOKEN_KEY_BYTES = 16;
const SAFE_NAME = /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/;
const SAFE_KEY = /^(?!\.{1,2}$)[-._a-zA-Z0-9]+$/;

/** Whether the names may become parts of a path. */
export function isSafeReference(namespace: string, name: string, key: string): boolean {
  return SAFE_NAME.test(namespace) && SAFE_NAME.test(name) && SAFE_KEY.test(key);
}

/** @throws ApiError SPA001 when it is there and cannot be read */
export async function fileOrUndefined(path: string): Promise<Buffer | undefined> {
  try {
    // Most looks are for keys that a Secret has not: a call into the kernel tells, in place of a thread and an error with its stack.
    if (statSync(path, { throwIfNoEntry: false }) === undefined) return undefined;
    return await readFile(path);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new ApiError('SPA001', [path, message], error);
  }
}

/** @throws ApiError SPA017 for a key that is too short */
export function usableTokenKey(key: Buffer, from: string): Buffer {
  if (key.length < MIN_TOKEN_KEY_BYTES) throw new ApiError('SPA017', [from, String(MIN_TOKEN_KEY_BYTES)]);
  return key;
}

/** A file ends with a line feed that was not meant, when a person wrote it. */
const trimmed = (value: Buffer): string => value.toString('utf8').replace(/\r?\n$/, '');

/** Who a client certificate is for: PostgreSQL's `cert` method compares the role with its common name. */
function commonName(certificate: Buffer): string | undefined {
  let subject: string;
  try {
    ({ subject } = new X509Certificate(certificate));
  } catch {
    // What is not a certificate has no name; signing in with it will say what is wrong with it.
    return undefined;
  }
  return /^CN=(.+)$/m.exec(subject)?.[1];
}

/** Key of a Secret, as kubernetes.io/ssh-auth has it. */
const SSH_PRIVATE_KEY = 'ssh-privatekey';

/** @throws ApiError SPA021, which tells nothing of the key */
function sshKey(label: string, text: Buffer): KeyObject {
  try {
    return parsePrivateKey(text.toString('latin1'));
  } catch (error) {
    if (error instanceof OpenSshError) throw new ApiError('SPA021', [label, SSH_PRIVATE_KEY, error.message]);
    throw error;
  }
}

/** Credentials out of stored values. Every look reads again, so a rotated credential is used by the next session. */
export function credentialsOf({ value, ownTokenKey }: StoredValues): CredentialSource {
  return {
    async postgres(connection, secret) {
      const { namespace, credential } = connection;
      const name = secret ?? credential.secretRef?.name;
      if (name === undefined) throw new ApiError('SPA018', [`${namespace}/${connection.name}`]);
      const label = `${namespace}/${name}`;
      const [certificate, key, username, password] = await Promise.all(
        ['tls.crt', 'tls.key', 'username', 'password'].map((each) => value('Secret', namespace, name, each)),
      );
      if (certificate !== undefined) {
        if (key === undefined) throw new ApiError('SPA007', [label, 'tls.key']);
        const role = username === undefined ? commonName(certificate) : trimmed(username);
        if (role === undefined) throw new ApiError('SPA007', [label, 'username']);
        return {
          type: 'certificate',
          username: role,
          certificate: certificate.toString('utf8'),
          key: key.toString('utf8'),
        };
      }
      if (username === undefined && password === undefined) throw new ApiError('SPA008', [label]);
      if (username === undefined) throw new ApiError('SPA007', [label, 'username']);
      if (password === undefined) throw new ApiError('SPA007', [label, 'password']);
      return { type: 'password', username: trimmed(username), password: trimmed(password) };
    },

    async signingAuthority({ namespace }, secret) {
      const label = `${namespace}/${secret}`;
      const [certificate, key] = await Promise.all(
        ['tls.crt', 'tls.key'].map((each) => value('Secret', namespace, secret, each)),
      );
      if (certificate === undefined && key === undefined) throw new ApiError('SPA008', [label]);
      if (certificate === undefined) throw new ApiError('SPA007', [label, 'tls.crt']);
      if (key === undefined) throw new ApiError('SPA007', [label, 'tls.key']);
      return { certificate: certificate.toString('utf8'), key: key.toString('utf8') };
    },

    async ssh({ namespace, name: connection, credential }) {
      const name = credential.secretRef?.name;
      if (name === undefined) throw new ApiError('SPA018', [`${namespace}/${connection}`]);
      const label = `${namespace}/${name}`;
      const [username, key, password] = await Promise.all(
        ['username', SSH_PRIVATE_KEY, 'password'].map((each) => value('Secret', namespace, name, each)),
      );
      const login = { username: username === undefined ? undefined : trimmed(username) };
      if (key !== undefined) return { type: 'key', ...login, privateKey: sshKey(label, key) };
      if (password !== undefined) return { type: 'password', ...login, password: trimmed(password) };
      if (username === undefined) throw new ApiError('SPA008', [label]);
      throw new ApiError('SPA007', [label, `${SSH_PRIVATE_KEY} or password`]);
    },

    http: (connection) => storedHttp(connection, value),

    async sshAuthority({ namespace }, secret) {
      const label = `${namespace}/${secret}`;
      const key = await value('Secret', namespace, secret, SSH_PRIVATE_KEY);
      if (key === undefined) throw new ApiError('SPA007', [label, SSH_PRIVATE_KEY]);
      return sshKey(label, key);
    },

    async kubernetes(connection, secret) {
      const { namespace } = connection;
      const label = `${namespace}/${secret}`;
      const [kubeconfig, token, certificate, key] = await Promise.all(
        ['kubeconfig', 'token', 'tls.crt', 'tls.key'].map((each) => value('Secret', namespace, secret, each)),
      );
      if (kubeconfig !== undefined) return kubeconfigCredential(label, kubeconfig, connection.target);
      if (token !== undefined) return { token: trimmed(token) };
      if (certificate === undefined) throw new ApiError(key === undefined ? 'SPA008' : 'SPA007', [label, 'tls.crt']);
      if (key === undefined) throw new ApiError('SPA007', [label, 'tls.key']);
      return { clientCertificate: { certificate: certificate.toString('utf8'), key: key.toString('utf8') } };
    },

    async certificateAuthorities(connection) {
      const reference = connection.target.tls.caRef;
      if (reference === undefined) return undefined;
      const { kind, name, key } = reference;
      const found = await value(kind, connection.namespace, name, key);
      const label = `${connection.namespace}/${name}`;
      if (found === undefined) throw new ApiError(kind === 'Secret' ? 'SPA007' : 'SPA009', [label, key]);
      return found.toString('utf8');
    },

    async tokenKey(namespace, reference) {
      if (reference !== undefined) {
        const { namespace: where, name, key } = reference;
        const found = await value('Secret', where, name, key);
        if (found === undefined) throw new ApiError('SPA007', [`${where}/${name}`, key]);
        return usableTokenKey(found, `${where}/${name}`);
      }
      if (!SAFE_NAME.test(namespace)) throw new ApiError('SPA007', [namespace, 'token key']);
      return ownTokenKey(namespace);
    },
  };
}

/** Reads what the connection signs in with, to find out whether it is there. @throws as the methods of `CredentialSource` */
export async function readCredential(connection: CompiledConnection, credentials: CredentialSource): Promise<void> {
  const { postgresRole, clientCertificate, sshCertificate } = connection.credential;
  switch (connection.protocol) {
    case 'Postgres':
      if (clientCertificate !== undefined)
        await credentials.signingAuthority(connection, clientCertificate.caSecretRef.name);
      else await credentials.postgres(connection, postgresRole?.adminSecretRef.name);
      await credentials.certificateAuthorities(connection);
      return;
    case 'SSH':
      if (sshCertificate === undefined) await credentials.ssh(connection);
      else await credentials.sshAuthority(connection, sshCertificate.caSecretRef.name);
      return;
    case 'Kubernetes': {
      const { secretRef, impersonate } = connection.credential;
      const secret = secretRef?.name ?? impersonate?.secretRef?.name;
      if (secret !== undefined) await credentials.kubernetes(connection, secret);
      await credentials.certificateAuthorities(connection);
      return;
    }
    case 'HTTP':
      await credentials.http(connection);
      await credentials.certificateAuthorities(connection);
      return;
    default:
      connection.protocol satisfies never;
  }
}
