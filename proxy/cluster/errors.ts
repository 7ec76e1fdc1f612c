/** Errors of a proxy in a cluster: one table. `{}` is filled, in order, by the place that raises the error. */
export const CLUSTER_ERRORS = {
  SPX001: {
    message: 'there is no bundle of policies in namespace {}',
    hint: 'The operator writes it: look at its log, and at the status of the AccessConnections.',
  },
  SPX002: {
    message: 'the bundle of namespace {} is not whole: {}',
    hint: 'The operator may be writing it just now; if it stays so, look at its log.',
  },
  SPX003: {
    message: 'the bundle of namespace {} is not signed by a key that this proxy trusts',
    hint: 'Somebody else than the operator wrote it, or the proxies have not been given the new key: look at the ConfigMap and its history.',
  },
  SPX004: {
    message: 'the bundle in namespace {} is for namespace {}',
    hint: 'It was copied from there: remove it, and the operator writes the right one.',
  },
  SPX005: {
    message: 'the bundle of namespace {} has sequence {}, and {} is in force',
    hint: 'An older one was put back. The operator writes a newer one at the next change of a policy.',
  },
  SPX006: {
    message: 'the bundle of namespace {} cannot be read: {}',
    hint: 'Operator and proxies may be of versions that do not go together.',
  },
  SPX010: {
    message: 'policy could not be confirmed for more than {} s, so nothing is allowed',
    hint: 'The platform team checks the way from the proxies to the API server, and the bundle of their namespace.',
  },
  SPX011: {
    message: 'pods of namespace {} may not use connection {}',
    hint: 'The platform team lists the namespace under allowedNamespaces of the AccessConnection.',
  },
  SPX012: {
    message: 'no command can be held for approval here: the proxy has no archive to note what was used up',
    hint: 'The platform team starts the proxies with --archive.',
  },
  SPX023: {
    message: 'the API server gave no token for the service account {}',
    hint: 'Look at the API server: a TokenRequest has to have an answer.',
  },
  SPX020: {
    message: 'the proxy does not know {}',
    hint: 'It is started by the operator, which sets it from the pod (downward API).',
  },
  SPX022: {
    message: 'the mark of the last bundle in {} cannot be read: {}',
    hint: 'Delete the pod: its state goes with it.',
  },
  SPX021: {
    message: 'the trusted key {} is not the 32 bytes of an Ed25519 public key in base64',
    hint: 'Copy it whole.',
  },
} as const;

export type ClusterErrorCode = keyof typeof CLUSTER_ERRORS;

export class ClusterError extends Error {
  override readonly name = 'ClusterError';
  readonly code: ClusterErrorCode;
  readonly hint: string;

  constructor(code: ClusterErrorCode, fills: readonly (string | number)[] = [], cause?: unknown) {
    let next = 0;
    const message = CLUSTER_ERRORS[code].message.replaceAll('{}', () => String(fills[next++] ?? ''));
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.hint = CLUSTER_ERRORS[code].hint;
  }
}
