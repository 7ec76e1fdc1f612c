import type { AccessConnection, MaskingRule } from '../../api/resources.ts';

/** One Secret or ConfigMap that a connection or masking rule names, and the keys of it that are read. */
export interface Reference {
  readonly kind: 'Secret' | 'ConfigMap';
  readonly name: string;
  readonly keys: readonly string[];
}

const BY_PROTOCOL: Readonly<Record<AccessConnection['spec']['protocol'], readonly string[]>> = {
  Postgres: ['username', 'password', 'tls.crt', 'tls.key'],
  SSH: ['username', 'password', 'ssh-privatekey'],
  Kubernetes: ['kubeconfig', 'token', 'tls.crt', 'tls.key'],
  HTTP: ['token', 'username', 'password', 'tls.crt', 'tls.key'],
};

/** What the connection needs to sign in and to trust its target. */
export function referencesOf({ spec }: AccessConnection): Reference[] {
  const { credential, target, protocol } = spec;
  const found: Reference[] = [];
  const secret = (name: string | undefined, ...keys: readonly string[]): void => {
    if (name !== undefined) found.push({ kind: 'Secret', name, keys });
  };
  secret(credential?.secretRef?.name, ...BY_PROTOCOL[protocol]);
  secret(credential?.postgresRole?.adminSecretRef.name, 'username', 'password');
  secret(credential?.clientCertificate?.caSecretRef.name, 'tls.crt', 'tls.key');
  secret(credential?.sshCertificate?.caSecretRef.name, 'ssh-privatekey');
  secret(credential?.impersonate?.secretRef?.name, ...BY_PROTOCOL.Kubernetes);
  secret(credential?.httpHeader?.secretRef.name, credential?.httpHeader?.secretRef.key ?? 'token');
  secret(credential?.oauthClientCredentials?.secretRef.name, 'client-id', 'client-secret', 'tls.crt', 'tls.key');
  for (const caRef of [target.tls?.caRef, credential?.oauthClientCredentials?.caRef]) {
    if (caRef === undefined) continue;
    found.push({ kind: caRef.kind ?? 'ConfigMap', name: caRef.name, keys: [caRef.key ?? 'ca.crt'] });
  }
  return found;
}

/** Keys for tokens that the rule names. */
export function tokenKeyReferences({ spec }: MaskingRule): Reference[] {
  return [...(spec.columns ?? []), ...(spec.fields ?? []), ...(spec.content ?? [])].flatMap(({ transform }) => {
    const reference = transform?.tokenize?.keySecretRef;
    return reference === undefined
      ? []
      : [{ kind: 'Secret' as const, name: reference.name, keys: [reference.key ?? 'key'] }];
  });
}

/**
 * Sources of the projected volume: `secrets/NAME/KEY` and `configmaps/NAME/KEY`, each optional, since a pod with a volume that cannot
 * be mounted never starts, and one missing Secret must not stop the other connections. Only the keys that are read are mounted.
 */
export function credentialSources(
  connections: readonly AccessConnection[],
  maskingRules: readonly MaskingRule[],
): Record<string, unknown>[] {
  const keys = new Map<string, Set<string>>();
  for (const { kind, name, keys: read } of [
    ...connections.flatMap(referencesOf),
    ...maskingRules.flatMap(tokenKeyReferences),
  ]) {
    const id = `${kind}/${name}`;
    const known = keys.get(id) ?? new Set();
    for (const key of read) known.add(key);
    keys.set(id, known);
  }
  return [...keys]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([id, read]) => {
      const [kind = '', name = ''] = id.split('/');
      const folder = kind === 'Secret' ? 'secrets' : 'configmaps';
      const items = [...read].sort().map((key) => ({ key, path: `${folder}/${name}/${key}` }));
      return { [kind === 'Secret' ? 'secret' : 'configMap']: { name, items, optional: true } };
    });
}
