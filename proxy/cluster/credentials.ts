import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ApiError } from '../../api/errors.ts';
import { credentialsOf, fileOrUndefined, isSafeReference, usableTokenKey } from '../credentials/stored.ts';
import type { CredentialSource } from '../ports.ts';

export interface MountedCredentialOptions {
  /** Own namespace. Volumes are of the pod's namespace alone, so references into others find nothing. */
  readonly namespace: string;
  /** Folder of projected volumes: `secrets/NAME/KEY` and `configmaps/NAME/KEY`. */
  readonly directory: string;
  /** File with the key for tokenize where a rule names none. */
  readonly tokenKeyFile: string;
}

/** Secrets and ConfigMaps as the kubelet mounts them: the proxy needs no right to read any. */
export function createMountedCredentials(options: MountedCredentialOptions): CredentialSource {
  const folders = { Secret: 'secrets', ConfigMap: 'configmaps' } as const;
  return credentialsOf({
    async value(kind, namespace, name, key) {
      if (namespace !== options.namespace || !isSafeReference(namespace, name, key)) return undefined;
      return fileOrUndefined(join(options.directory, folders[kind], name, key));
    },
    async ownTokenKey() {
      const path = options.tokenKeyFile;
      let key: Buffer;
      try {
        key = await readFile(path);
      } catch (error) {
        throw new ApiError('SPA001', [path, error instanceof Error ? error.message : String(error)], error);
      }
      return usableTokenKey(key, path);
    },
  });
}
