import type { ClusterAccess } from '../../kube/access.ts';
import type { KubeClient } from '../../kube/types.ts';
import type { ClusterIdentity } from '../ports.ts';
import { ClusterError } from './errors.ts';

/** TokenRequest (k8s.io/api/authentication/v1), as far as it is read. */
interface IssuedToken {
  readonly status?: { readonly token?: unknown; readonly expirationTimestamp?: unknown };
}

/** What a proxy is to the API server of its own cluster. */
export function createClusterIdentity({
  access,
  client,
}: {
  readonly access: ClusterAccess;
  readonly client: KubeClient;
}): ClusterIdentity {
  return {
    async signIn(signal) {
      const { headers, tls } = await access.credential(false, signal);
      const token = String(headers['Authorization'] ?? '').replace(/^Bearer /, '');
      return {
        ...(token === '' ? {} : { token }),
        ...(tls.cert === undefined || tls.key === undefined
          ? {}
          : { clientCertificate: { certificate: tls.cert, key: tls.key } }),
        ...(tls.ca === undefined ? {} : { certificateAuthorities: tls.ca }),
        ...(tls.serverName === undefined ? {} : { serverName: tls.serverName }),
      };
    },
    async serviceAccountToken({ namespace, name }, { audiences, ttlSeconds }, signal) {
      const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/serviceaccounts/${encodeURIComponent(name)}/token`;
      const { body } = await client.request('POST', path, {
        body: {
          apiVersion: 'authentication.k8s.io/v1',
          kind: 'TokenRequest',
          spec: { expirationSeconds: ttlSeconds, ...(audiences.length === 0 ? {} : { audiences }) },
        },
        signal,
      });
      const { status } = JSON.parse(body.toString('utf8')) as IssuedToken;
      const expiresAt = new Date(String(status?.expirationTimestamp));
      if (typeof status?.token !== 'string' || Number.isNaN(expiresAt.getTime()))
        throw new ClusterError('SPX023', [`${namespace}/${name}`]);
      return { token: status.token, expiresAt };
    },
  };
}
