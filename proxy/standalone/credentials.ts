import { randomBytes, X509Certificate } from 'node:crypto';
import { link, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Configuration } from '../../api/configuration.ts';
import { ApiError } from '../../api/errors.ts';
import type { Loaded } from '../../api/load.ts';
import type { CredentialSource } from '../ports.ts';

export interface StandaloneCredentialOptions {
  readonly loaded: () => Loaded;
  readonly configuration: Configuration;
  /** STATE. */
  readonly state: string;
  /** For credentials that the configuration takes from the environment. */
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** Length of a key that is made here, in bytes: that of HMAC-SHA256's output. */
const TOKEN_KEY_BYTES = 32;
/** A shorter key can be guessed, and who guesses it can undo tokens by trying values. */
const MIN_TOKEN_KEY_BYTES = 16;
const SAFE_NAME = /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/;
const SAFE_KEY = /^(?!\.{1,2}$)[-._a-zA-Z0-9]+$/;

async function fileOrUndefined(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new ApiError('SPA001', [path, message], error);
  }
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

/**
 * What a reference means standalone: the configuration's folder or environment when it names the Secret; else a Secret or ConfigMap
 * in the resource folder; else a file STATE/secrets/NAMESPACE/NAME/KEY. Every look reads again, so a rotated credential is used by
 * the next session.
 */
export function createStandaloneCredentials(options: StandaloneCredentialOptions): CredentialSource {
  const { configuration, environment, state } = options;
  const making = new Map<string, Promise<Uint8Array>>();

  async function value(
    kind: 'Secret' | 'ConfigMap',
    namespace: string,
    name: string,
    key: string,
  ): Promise<Buffer | undefined> {
    if (!SAFE_NAME.test(namespace) || !SAFE_NAME.test(name) || !SAFE_KEY.test(key)) return undefined;
    const configured = kind === 'Secret' ? configuration.credentials.get(`${namespace}/${name}`) : undefined;
    if (configured !== undefined) {
      if ('directory' in configured) return fileOrUndefined(join(configured.directory, key));
      const variable = Object.hasOwn(configured.environment, key) ? configured.environment[key] : undefined;
      const found = variable === undefined ? undefined : environment[variable];
      return found === undefined ? undefined : Buffer.from(found);
    }
    const object = options
      .loaded()
      .keyValues.find((each) => each.kind === kind && each.namespace === namespace && each.name === name);
    return object?.values.get(key) ?? fileOrUndefined(join(state, 'secrets', namespace, name, key));
  }

  async function madeKey(namespace: string): Promise<Uint8Array> {
    const folder = join(state, 'token-keys');
    const path = join(folder, namespace);
    const known = await fileOrUndefined(path);
    if (known === undefined) {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      // Written whole under another name first: workers that start together must neither read half a key nor make two.
      const own = join(folder, `.${namespace}.${randomBytes(4).toString('hex')}`);
      await writeFile(own, randomBytes(TOKEN_KEY_BYTES), { mode: 0o600, flag: 'wx' });
      try {
        await link(own, path);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      } finally {
        await rm(own);
      }
    }
    return usable(known ?? (await readFile(path)), path);
  }

  function usable(key: Buffer, from: string): Buffer {
    if (key.length < MIN_TOKEN_KEY_BYTES) throw new ApiError('SPA017', [from, String(MIN_TOKEN_KEY_BYTES)]);
    return key;
  }

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
        return usable(found, `${where}/${name}`);
      }
      if (!SAFE_NAME.test(namespace)) throw new ApiError('SPA007', [namespace, 'token key']);
      let key = making.get(namespace);
      if (key === undefined) {
        key = madeKey(namespace);
        making.set(namespace, key);
        // A disk that was full a moment ago may have room for the next session.
        key.catch(() => making.delete(namespace));
      }
      return key;
    },
  };
}
