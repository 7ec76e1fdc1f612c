import { NAMES } from '../../api/cluster.ts';
import type { Secret } from '../../kube/builtin.ts';
import type { OwnerReference } from '../../kube/types.ts';
import type { Pair } from '../pki/material.ts';
import { type Component, labelsOf } from './labels.ts';

const base64 = (text: string | Uint8Array): string => Buffer.from(text).toString('base64');

/** Certificate, key and the authorities to trust, as servers and clients of ours read them. @param more such as the SSH host key */
export function tlsSecret(
  at: { readonly namespace: string; readonly name: string; readonly component: Component; readonly served?: string },
  owners: readonly OwnerReference[],
  pair: Pair,
  trust: string,
  more: Readonly<Record<string, string>> = {},
): Secret {
  const { namespace, name, component, served } = at;
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    type: 'kubernetes.io/tls',
    metadata: { name, namespace, labels: labelsOf(name, component, served), ownerReferences: owners },
    data: {
      'tls.crt': base64(pair.certificate),
      'tls.key': base64(pair.key),
      'ca.crt': base64(trust),
      ...Object.fromEntries(Object.entries(more).map(([name, value]) => [name, base64(value)])),
    },
  };
}

/** Made once: with another key every token that was given out means nothing any more. */
export function tokenKeySecret(namespace: string, owners: readonly OwnerReference[], key: Uint8Array): Secret {
  return { ...tokenKeyMetadata(namespace, owners), type: 'Opaque', data: { key: base64(key) } };
}

/** What of it is kept up to date. */
export function tokenKeyMetadata(namespace: string, owners: readonly OwnerReference[]): Secret {
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: {
      name: NAMES.tokenKey,
      namespace,
      labels: labelsOf(NAMES.tokenKey, 'proxy', namespace),
      ownerReferences: owners,
    },
  };
}

export const TOKEN_KEY_BYTES = 32;
