import { createHash } from 'node:crypto';
import { NAMES } from '../../api/cluster.ts';
import type { ConfigMap } from '../../kube/builtin.ts';
import { labelsOf } from './labels.ts';
import type { ProxyInputs } from './proxy-inputs.ts';

/** What the platform team configures for the proxies of every namespace: issuers outside of the cluster, limits. */
export interface ProxyConfiguration {
  /** By name of the file: `configuration.yaml`, and what it names beside it. */
  readonly files: Readonly<Record<string, string>>;
  /** Where the keys of outside issuers are fetched; none: no agent comes from outside of the cluster. */
  readonly issuerPorts: readonly number[];
}

/** The file with the SallyportConfiguration; paths in it are relative to it. */
export const PROXY_CONFIGURATION_FILE = 'configuration.yaml';

/** A copy in the namespace of the proxies, which can mount no other. */
export const proxyConfigurationMap = (
  { namespace, owners }: Pick<ProxyInputs, 'namespace' | 'owners'>,
  { files }: ProxyConfiguration,
): ConfigMap => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: {
    name: NAMES.proxyConfiguration,
    namespace,
    labels: labelsOf(NAMES.proxyConfiguration, 'proxy', namespace),
    ownerReferences: owners,
  },
  data: { ...files },
});

/** For the pods' template: a proxy reads its configuration when it starts. */
export function configurationHash({ files }: ProxyConfiguration): string {
  const sorted = Object.entries(files).sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash('sha256').update(JSON.stringify(sorted)).digest('hex').slice(0, 32);
}
