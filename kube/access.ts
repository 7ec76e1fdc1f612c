import { readFile } from 'node:fs/promises';
import { KubeError } from './errors.ts';

/**
 * Where the API server is and how to sign in to it. In a pod that is the mounted service account (kubernetes.io/docs, "Accessing the
 * Kubernetes API from a Pod"); elsewhere a kubeconfig (kubeconfig.ts). Token and authority are read again while the process runs:
 * the kubelet writes a new token at four fifths of its life.
 */

export interface TlsMaterial {
  /** PEM of whom to trust; absent: the roots that Node knows. */
  readonly ca?: string | undefined;
  /** PEM of the client's certificate and key. */
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  /** Verified instead of the host in the address. */
  readonly serverName?: string | undefined;
  /** Only by `insecure-skip-tls-verify` of a kubeconfig. */
  readonly insecure?: boolean | undefined;
}

export interface Credential {
  /** `Authorization` and `Impersonate-…`. */
  readonly headers: Readonly<Record<string, string | readonly string[]>>;
  readonly tls: TlsMaterial;
}

export interface ClusterAccess {
  /** May have a path that all others go below. */
  readonly server: URL;
  /** Of the pod, or of the kubeconfig's context. */
  readonly namespace: string | undefined;
  /** Cheap to call for every request. `fresh` after a refusal: nothing remembered is given. @throws KubeError SPB015, SPB016, SPB017 */
  credential(fresh: boolean, signal?: AbortSignal): Promise<Credential>;
}

export type Environment = Readonly<Record<string, string | undefined>>;

export interface AccessOptions {
  /** Path of a kubeconfig: it and nothing else. */
  readonly kubeconfig?: string | undefined;
  /** Instead of the current one of the kubeconfig. */
  readonly context?: string | undefined;
  /** KUBERNETES_SERVICE_HOST and …_PORT, KUBECONFIG, HOME; credential plugins get all of it. */
  readonly env: Environment;
  /** Where to look first when no kubeconfig is named: programs of a cluster in the pod, tools of people in their files, as kubectl does. */
  readonly prefer?: 'pod' | 'files';
  readonly now?: () => number;
  /** Where the service account is mounted. */
  readonly mount?: string;
}

/** Milliseconds for which a file that was read is believed. */
const FILE_LIFE_MS = 10_000;

/** Finds the cluster. @throws KubeError SPB015, SPB017 */
export async function loadKubeConfig(options: AccessOptions): Promise<ClusterAccess> {
  const inPod = options.kubeconfig === undefined && options.env['KUBERNETES_SERVICE_HOST'] !== undefined;
  if (inPod && options.prefer !== 'files') return podAccess(options);
  // Only tools and tests have such files: the parser of YAML is not loaded into a pod.
  const { fileAccess, kubeconfigFiles } = await import('./kubeconfig.ts');
  const files = options.kubeconfig === undefined ? await kubeconfigFiles(options.env) : [options.kubeconfig];
  if (files.length > 0) return fileAccess(files, options);
  if (inPod) return podAccess(options);
  throw new KubeError('SPB017', ['there is no KUBERNETES_SERVICE_HOST and no kubeconfig']);
}

async function podAccess(options: AccessOptions): Promise<ClusterAccess> {
  const mount = options.mount ?? '/var/run/secrets/kubernetes.io/serviceaccount';
  const host = options.env['KUBERNETES_SERVICE_HOST'] ?? '';
  const port = options.env['KUBERNETES_SERVICE_PORT'] ?? '443';
  const server = URL.parse(`https://${host.includes(':') ? `[${host}]` : host}:${port}`);
  if (server === null) throw new KubeError('SPB017', [`${host}:${port} is no address`]);
  const now = options.now ?? (() => performance.now());
  const token = cachedFile(`${mount}/token`, now);
  const ca = cachedFile(`${mount}/ca.crt`, now);
  const read = async (file: CachedFile, fresh: boolean): Promise<string> => {
    try {
      return await file(fresh);
    } catch (cause) {
      throw new KubeError('SPB017', [`the service account in ${mount} cannot be read`], { cause });
    }
  };
  const credential = async (fresh: boolean): Promise<Credential> => ({
    headers: { Authorization: `Bearer ${(await read(token, fresh)).trim()}` },
    tls: { ca: await read(ca, fresh) },
  });
  await credential(false);
  const namespace = await readFile(`${mount}/namespace`, 'utf8').then(
    (text) => text.trim(),
    // Not every projected volume has it.
    () => undefined,
  );
  return { server, namespace, credential };
}

export type CachedFile = (fresh: boolean) => Promise<string>;

/** A file that others replace: read at most every ten seconds. One that cannot be read again keeps its content until it is refused. */
export function cachedFile(path: string, now: () => number): CachedFile {
  let content: string | undefined;
  let readAt = 0;
  return async (fresh) => {
    if (content !== undefined && !fresh && now() - readAt < FILE_LIFE_MS) return content;
    try {
      content = await readFile(path, 'utf8');
    } catch (error) {
      if (content === undefined || fresh) throw error;
    }
    readAt = now();
    return content;
  };
}
