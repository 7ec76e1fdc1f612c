/** Errors of the API: resources and configuration. One table; `{}` is filled where it is raised. */
export const API_ERRORS = {
  SPA001: { message: '{} cannot be read: {}', fix: 'Check the path and its permissions.' },
  SPA002: { message: 'not YAML: {}', fix: 'Correct the syntax at this place.' },
  SPA003: { message: '{}: {}', fix: '' },
  SPA004: { message: '{} is defined twice, here and in {}', fix: 'Keep one of the two.' },
  SPA005: {
    message: 'no objects of sallyport.dev were found in {}',
    fix: 'Give the folder that has AccessConnections and AccessPolicies.',
  },
  SPA006: {
    message: 'another Sallyport runs on the state folder {} (process {})',
    fix: 'Stop it first, or give this one another folder with --state.',
  },
  SPA007: {
    message: 'the Secret {} has no key {}',
    fix: 'Add the key to the Secret, or write the file into the state folder under secrets/NAMESPACE/NAME/KEY.',
  },
  SPA008: {
    message: 'the Secret {} is not there',
    fix: 'Put the Secret beside the AccessConnection, or files under secrets/NAMESPACE/NAME/ in the state folder.',
  },
  SPA009: { message: 'the ConfigMap {} has no key {}', fix: 'Add the ConfigMap with that key.' },
  SPA010: { message: 'the configuration is not valid: {}', fix: 'See docs/configuration.md.' },
  SPA011: {
    message: 'the state folder {} cannot be used: {}',
    fix: 'Give a folder that belongs to this user, with --state.',
  },
  SPA012: { message: '{} breaks a rule of its schema: {}: {}', fix: '' },
  SPA013: { message: '{} has {} bytes and at most {} are read', fix: 'Take it out of the folder, or split it.' },
  SPA014: { message: 'kubectl reads a bare {} as true or false, and not as a text', fix: '' },
  SPA015: { message: '{} is no address', fix: 'Write HOST:PORT, an IPv6 address in brackets, such as [::1]:6432.' },
  SPA016: { message: 'the configuration cannot be used:\n  {}', fix: 'See docs/configuration.md.' },
  SPA017: {
    message: 'the key in {} has fewer than {} bytes, too few to make tokens with',
    fix: 'Put 32 random bytes there, such as from openssl rand.',
  },
  SPA018: {
    message: 'the credential of {} is not one that works without a cluster',
    fix: 'Write credential.secretRef; for Postgres also postgresRole or clientCertificate, for HTTP httpHeader or oauthClientCredentials.',
  },
  SPA019: { message: 'the resources cannot be read: {}', fix: 'The last good ones stay in force.' },
  SPA020: {
    message: '{}: {} is written but empty, so it is left out, as an API server would',
    fix: 'Write a value ({} takes every default), or remove the line.',
  },
  SPA021: {
    message: 'the Secret {} has a key {} that cannot be used: {}',
    fix: 'Put a private key without a passphrase there, such as from ssh-keygen -t ed25519 -N "".',
  },
  SPA022: {
    message: 'the Secret {} has a key {} that cannot be used: {}',
    fix: 'Put the value alone there, as the target wants it, without quotes and line feeds.',
  },
  SPA030: {
    message: 'the kubeconfig in the Secret {} cannot be used: {}',
    fix: 'Put one there that is whole in itself: one server, which is the target of the connection, authorities, and a token or a client certificate.',
  },
} as const;

export type ApiErrorCode = keyof typeof API_ERRORS;

function filled(template: string, fill: readonly string[]): string {
  let next = 0;
  return template.replace(/\{\}/g, () => fill[next++] ?? '');
}

/** Message and fix of a row of the table. */
export function apiMessage(code: ApiErrorCode, fill: readonly string[]): { message: string; fix: string } {
  return { message: filled(API_ERRORS[code].message, fill), fix: API_ERRORS[code].fix };
}

export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly code: ApiErrorCode;
  /** What to do. */
  readonly hint: string;

  constructor(code: ApiErrorCode, fill: readonly string[], cause?: unknown) {
    const { message, fix } = apiMessage(code, fill);
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.hint = fix;
  }
}
