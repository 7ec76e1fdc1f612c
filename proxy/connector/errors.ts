/**
 * What goes wrong between an agent and a proxy: one table. These are for the log of the connector; a client sees its connection closed,
 * because only the proxy speaks its protocol. `{}` is filled, in order.
 */
export const CONNECTOR_ERRORS = {
  SPN001: {
    message: 'the configuration in SALLYPORT_CONNECTOR cannot be used: {}',
    hint: 'The operator writes it when the pod is made: make the pod anew, and compare the versions of operator and connector.',
  },
  SPN002: {
    message: 'the file {} cannot be read: {}',
    hint: 'The kubelet mounts it: look at the events of the pod, and whether the ConfigMap sallyport-ca is in its namespace.',
  },
  SPN003: {
    message: 'cannot listen on {}: {}',
    hint: 'Another program in the pod may use the address, or the port is below 1024 and the sysctl of the pod is missing.',
  },
  SPN004: {
    message: 'the proxies at {} cannot be found: {}',
    hint: 'The platform team checks that the Service exists and has endpoints, and that the pod may ask DNS.',
  },
  SPN005: {
    message: 'the proxy at {} cannot be reached: {}',
    hint: 'The platform team checks that the proxy runs, and that NetworkPolicies let this pod reach its port 8443.',
  },
  SPN006: {
    message: 'the proxy at {} is not trusted: {}',
    hint: 'Its certificate has to be of the authority in the ConfigMap sallyport-ca, and for its Service.',
  },
  SPN007: {
    message: 'no proxy of {} took the connection; {} were tried',
    hint: 'The lines before this one say why each of them did not.',
  },
  SPN008: {
    message: 'the proxy refuses a connection to {}: {}',
    hint: 'The platform team checks that the AccessConnection still exists and allows this namespace.',
  },
  SPN009: {
    message: 'the proxy at {} cannot take connections now: {}',
    hint: 'It starts or stops; the next replica is tried.',
  },
  SPN010: {
    message: 'too many connections at one time: {}',
    hint: 'The agent closes some, or uses a pool.',
  },
  SPN011: {
    message: 'the identity of this pod could not be renewed at {}: {}',
    hint: 'Sessions end when the former token does; it is tried again until then.',
  },
  SPN012: {
    message: '{} can be reached without Sallyport, at {}',
    hint: 'No NetworkPolicy is in force for this pod: the platform team checks that the cluster enforces them.',
  },
  SPN013: {
    message: 'whether {} can be reached without Sallyport is not known: {}',
    hint: 'It is tried again; the platform team checks that the pod may ask DNS.',
  },
  SPN014: {
    message: 'the result of the probe could not be reported to the proxy of {}: {}',
    hint: 'It is tried again.',
  },
  SPN015: {
    message: 'the trust bundle {} cannot be written: {}',
    hint: 'It lies in an emptyDir of the pod: look at its events.',
  },
  SPN016: {
    message: 'a connection to {} broke off: {}',
    hint: 'The proxy ended it, or the network did; the record of the proxy has the session.',
  },
  SPN017: {
    message: 'connections were still open {} ms after the pod was told to stop; they are closed',
    hint: 'Raise terminationGracePeriodSeconds of the pod if its agents need longer.',
  },
  SPN018: {
    message: 'the connector failed: {}',
    hint: 'Report it with the lines before this one.',
  },
} as const;

export type ConnectorErrorCode = keyof typeof CONNECTOR_ERRORS;

export class ConnectorError extends Error {
  override readonly name = 'ConnectorError';
  readonly code: ConnectorErrorCode;
  readonly hint: string;

  constructor(code: ConnectorErrorCode, fills: readonly (string | number)[], cause?: unknown) {
    let next = 0;
    const message = CONNECTOR_ERRORS[code].message.replaceAll('{}', () => String(fills[next++] ?? ''));
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.hint = CONNECTOR_ERRORS[code].hint;
  }
}

/** What to tell of anything that was thrown, in one line and within limits: peers may have written some of it. */
export function reasonOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  // An AggregateError of several addresses has no message of its own.
  const shown = text === '' && error instanceof Error && 'code' in error ? String(error.code) : text;
  return [...shown]
    .map((letter) => (letter < ' ' || letter === '\u007f' ? ' ' : letter))
    .join('')
    .slice(0, 300);
}
