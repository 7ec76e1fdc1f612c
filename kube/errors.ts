/**
 * Errors on the way to an API server and in the runtime above it: one table. `{}` is filled, in order. The API server's own words
 * are added where they cannot hold a secret.
 */
export const KUBE_ERRORS = {
  SPB001: {
    message: 'the API server {} cannot be reached: {}',
    hint: 'It is tried again by itself; check the address, and that network policies let this pod reach it.',
  },
  SPB002: { message: 'the API server did not answer within {} ms, on {}', hint: 'It is tried again by itself.' },
  SPB003: {
    message: 'the API server does not accept the credential, on {}',
    hint: 'In a cluster: check that the service-account token is mounted. With a kubeconfig: sign in again.',
  },
  SPB004: { message: 'not allowed: {}', hint: 'Grant the right in a Role or ClusterRole; the chart has them all.' },
  SPB005: { message: 'not found: {}', hint: 'Check the name, its namespace, and that the CRDs are installed.' },
  SPB006: { message: 'conflict: {}', hint: 'The object was changed or made by somebody else: read it and try again.' },
  SPB007: { message: 'refused as invalid: {}', hint: 'Correct the object as the message says.' },
  SPB008: { message: 'the resource version is too old: {}', hint: 'List again.' },
  SPB009: { message: 'the API server asks to be left alone for a while, on {}', hint: 'It is tried again by itself.' },
  SPB010: {
    message: 'the API server answered with status {}, on {}',
    hint: 'It is tried again by itself; if it stays so, look at the log of the API server, and of the webhooks it calls.',
  },
  SPB011: {
    message: 'the API server answered with unexpected status {}, on {}',
    hint: 'Check the address of the server.',
  },
  SPB012: { message: 'the answer is longer than {} bytes, on {}', hint: 'List in smaller pages.' },
  SPB013: {
    message: 'the answer cannot be understood: {}, on {}',
    hint: 'Check that nothing between here and the API server changes what it says.',
  },
  SPB014: {
    message: 'the API server {} is not trusted: {}',
    hint: 'Check certificate-authority and the server name; do not turn verification off.',
  },
  SPB015: {
    message: 'the kubeconfig {} cannot be used: {}',
    hint: 'Try it with kubectl; the message says which entry.',
  },
  SPB016: { message: 'the credential plugin {} failed: {}', hint: 'Run it by hand; it must print an ExecCredential.' },
  SPB017: {
    message: 'no cluster to speak to: {}',
    hint: 'Run in a pod with a service account, or give --kubeconfig.',
  },
  SPB018: { message: 'the lease {} was lost', hint: 'Another replica goes on; this one ends and starts anew.' },
  SPB019: { message: 'nothing was heard for {} ms, on {}', hint: 'The watch is opened again by itself.' },
  SPB020: {
    message: '{} ended, and nobody had asked it to',
    hint: 'The process ends; what went before in the log says why.',
  },
  SPB021: { message: '{} did not stop within {} ms', hint: 'The process ends all the same.' },
  SPB022: {
    message: 'an object has no proper name or namespace: {}',
    hint: 'This is a mistake in the program: report it.',
  },
  SPB023: {
    message: 'the reconcile of {} took longer than {} ms',
    hint: 'It is tried again by itself; what it waited for is in the log before this.',
  },
} as const;

export type KubeErrorCode = keyof typeof KUBE_ERRORS;

export interface KubeErrorDetails {
  /** HTTP status; absent when there was no answer. */
  readonly status?: number | undefined;
  /** Of the API server's Status: `AlreadyExists`, `Conflict`, `Invalid`, `Expired`, … */
  readonly reason?: string | undefined;
  /** What it was about: `get pods default/web`. */
  readonly object?: string | undefined;
  /** Fields that were refused. */
  readonly causes?: readonly { readonly field: string; readonly message: string }[];
  /** Milliseconds that the server asks to be left alone. */
  readonly retryAfterMs?: number | undefined;
  readonly cause?: unknown;
}

export class KubeError extends Error {
  override readonly name = 'KubeError';
  readonly code: KubeErrorCode;
  readonly hint: string;
  readonly status: number | undefined;
  readonly reason: string | undefined;
  readonly object: string | undefined;
  readonly causes: readonly { readonly field: string; readonly message: string }[];
  readonly retryAfterMs: number | undefined;

  constructor(code: KubeErrorCode, fills: readonly (string | number)[], details: KubeErrorDetails = {}) {
    let next = 0;
    const message = KUBE_ERRORS[code].message.replaceAll('{}', () => String(fills[next++] ?? ''));
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.hint = KUBE_ERRORS[code].hint;
    this.status = details.status;
    this.reason = details.reason;
    this.object = details.object;
    this.causes = details.causes ?? [];
    this.retryAfterMs = details.retryAfterMs;
  }
}

const hasCode =
  (...codes: readonly KubeErrorCode[]) =>
  (error: unknown): error is KubeError =>
    error instanceof KubeError && codes.includes(error.code);

export const isNotFound = hasCode('SPB005');
/** Changed meanwhile, or there already: `reason` tells which. */
export const isConflict = hasCode('SPB006');
export const isForbidden = hasCode('SPB004');
export const isInvalid = hasCode('SPB007');
export const isExpired = hasCode('SPB008');
/** There already, as a create says it. */
export const isAlreadyExists = (error: unknown): boolean => isConflict(error) && error.reason === 'AlreadyExists';
