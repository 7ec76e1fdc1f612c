import { join } from 'node:path';
import { parseAddress } from '../../api/configuration.ts';
import type { ArchiveServerConfiguration } from '../../api/configuration-outgoing.ts';
import type { FollowLog } from '../../archive/followers.ts';
import { clusterReviews } from '../../archive/reading/cluster-reviews.ts';
import type { ClusterArchive } from '../../archive/serve.ts';
import { loadKubeConfig } from '../../kube/access.ts';
import { CONFIG_MAPS } from '../../kube/builtin.ts';
import { createKubeClient } from '../../kube/client.ts';
import { isForbidden } from '../../kube/errors.ts';
import type { KubeClient } from '../../kube/types.ts';
import type { CliIo } from '../io.ts';
import { packageVersion } from '../version.ts';

/** Options of `archive run --cluster`, as the operator's StatefulSet gives them. */
export interface ClusterArchiveOptions {
  readonly kubeconfig?: string;
  readonly directory: string;
  readonly tls: string;
  readonly address: string;
  readonly readingAddress: string;
  readonly retentionDays: number;
}

const MIN_FREE_BYTES = 268_435_456;

/** What a file says elsewhere: certificates are those of a mounted Secret, with tls.crt, tls.key and ca.crt. @throws ApiError SPA015 */
export function clusterConfiguration(options: ClusterArchiveOptions): ArchiveServerConfiguration {
  return {
    ...parseAddress(options.address),
    directory: options.directory,
    certificateFile: join(options.tls, 'tls.crt'),
    keyFile: join(options.tls, 'tls.key'),
    clientCaFile: join(options.tls, 'ca.crt'),
    proxies: undefined,
    quotaBytes: undefined,
    minFreeBytes: MIN_FREE_BYTES,
    retentionDays: options.retentionDays,
  };
}

/** @throws KubeError when there is no cluster to ask */
export async function clusterArchive(
  options: ClusterArchiveOptions,
  io: CliIo,
  log: FollowLog,
): Promise<ClusterArchive> {
  const access = await loadKubeConfig({ env: io.env, kubeconfig: options.kubeconfig });
  const client = createKubeClient({ access, userAgent: `sallyport-archive/${packageVersion()}` });
  return {
    address: parseAddress(options.readingAddress),
    reviews: clusterReviews(client),
    clientCa: () => clientCaOf(client, log),
  };
}

/**
 * Authorities of the cluster's client certificates, where servers beside the API server find them (kubernetes.io/docs, "Configure the
 * aggregation layer"). Without the right to read them tokens still work.
 */
async function clientCaOf(client: KubeClient, log: FollowLog): Promise<string | undefined> {
  const ref = { namespace: 'kube-system', name: 'extension-apiserver-authentication' };
  try {
    const authorities = (await client.get(CONFIG_MAPS, ref))?.data?.['client-ca-file'];
    return authorities === undefined || authorities === '' ? undefined : authorities;
  } catch (error) {
    if (!isForbidden(error)) throw error;
    log.warn(
      { hint: error.hint },
      'client certificates of the cluster are not taken: their authorities may not be read',
    );
    return undefined;
  }
}
