import { randomBytes } from 'node:crypto';
import { link, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Configuration } from '../../api/configuration.ts';
import type { Loaded } from '../../api/load.ts';
import { credentialsOf, fileOrUndefined, isSafeReference, usableTokenKey } from '../credentials/stored.ts';
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
    if (!isSafeReference(namespace, name, key)) return undefined;
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
    return usableTokenKey(known ?? (await readFile(path)), path);
  }

  return credentialsOf({
    value,
    ownTokenKey(namespace) {
      let key = making.get(namespace);
      if (key === undefined) {
        key = madeKey(namespace);
        making.set(namespace, key);
        // A disk that was full a moment ago may have room for the next session.
        key.catch(() => making.delete(namespace));
      }
      return key;
    },
  });
}
