import type { FollowLog } from '../../archive/followers.ts';
import { clusterReviews } from '../../archive/reading/cluster-reviews.ts';
import type { Readers } from '../../archive/serve.ts';
import { loadKubeConfig } from '../../kube/access.ts';
import { CONFIG_MAPS } from '../../kube/builtin.ts';
import { createKubeClient } from '../../kube/client.ts';
import { KubeError } from '../../kube/errors.ts';
import type { KubeClient } from '../../kube/types.ts';
import type { CliIo } from '../io.ts';
import { packageVersion } from '../version.ts';

/** The cluster that says who reads an archive's record and what they may. @throws KubeError when there is none */
export async function clusterReaders(kubeconfig: string | undefined, io: CliIo, log: FollowLog): Promise<Readers> {
  const access = await loadKubeConfig({ env: io.env, kubeconfig });
  const client = createKubeClient({ access, userAgent: `sallyport-archive/${packageVersion()}` });
  return { reviews: clusterReviews(client), clientCa: () => clientCaOf(client, log) };
}

/**
 * Authorities of the cluster's client certificates, where servers beside the API server find them (kubernetes.io/docs, "Configure the
 * Aggregation Layer"). Without them tokens still work.
 */
async function clientCaOf(client: KubeClient, log: FollowLog): Promise<string | undefined> {
  const ref = { namespace: 'kube-system', name: 'extension-apiserver-authentication' };
  try {
    const authorities = (await client.get(CONFIG_MAPS, ref))?.data?.['client-ca-file'];
    return authorities === '' ? undefined : authorities;
  } catch (error) {
    // What proxies send is taken all the same: an archive must start while the API server is away.
    const code = error instanceof KubeError ? error.code : undefined;
    log.warn({ code, error: String(error) }, 'the authorities of client certificates cannot be read');
    return undefined;
  }
}
