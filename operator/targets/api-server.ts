import type { AccessConnection } from '../../api/resources.ts';
import { serviceOf } from './in-cluster.ts';

/** Where the API server of the cluster is for its pods: the Service that it makes itself. */
export function isOwnApiServer({ metadata, spec }: AccessConnection): boolean {
  const service = serviceOf(spec.target.host, metadata.namespace);
  return spec.protocol === 'Kubernetes' && service?.name === 'kubernetes' && service.namespace === 'default';
}

/**
 * Whether the proxies act as their callers with their own service account, which counts in their own cluster alone. Who brings a token that
 * may impersonate has given it its rights.
 */
export const impersonatesHere = ({ spec }: AccessConnection): boolean =>
  spec.protocol === 'Kubernetes' &&
  spec.credential?.impersonate !== undefined &&
  spec.credential.impersonate.secretRef === undefined;
