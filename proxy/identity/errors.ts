/**
 * Errors of identity: one table. `{}` is filled, in order, by the place that raises the error. No fill ever holds a token, and text
 * that a token chose is shown shortened and quoted (`quoted`).
 */
export const IDENTITY_ERRORS = {
  SPI001: {
    message: 'no token was given',
    hint: 'Send a token as the password, such as PGPASSWORD=$(sallyport token create --as SUBJECT).',
  },
  SPI002: {
    message: 'the token has {} bytes, more than the limit of {}',
    hint: 'Ask the issuer for fewer claims or groups.',
  },
  SPI003: {
    message: 'what was sent is not a signed JSON Web Token: {}',
    hint: 'Send a token of a configured issuer; passwords of the target are not accepted here.',
  },
  SPI004: {
    message: 'the token is of issuer {}, which is not configured',
    hint: 'The platform team lists it, exactly as in the token, under issuers in the configuration.',
  },
  SPI005: {
    message: 'the token is signed with algorithm {}, which issuer {} may not use',
    hint: 'Allowed algorithms are those under issuers[].algorithms, asymmetric ones only.',
  },
  SPI006: {
    message: 'the signature of the token is not that of issuer {}',
    hint: 'Get a fresh token from the issuer.',
  },
  SPI007: {
    message: 'issuer {} has no key {} for this token',
    hint: 'Get a fresh token; if that fails too, the platform team checks the keys that the issuer publishes.',
  },
  SPI008: { message: 'the token expired at {}', hint: 'Get a fresh token from the issuer.' },
  SPI009: { message: 'the token is not valid before {}', hint: 'Compare the clocks of the issuer and of Sallyport.' },
  SPI010: {
    message: 'the token was issued in the future, at {}',
    hint: 'Compare the clocks of the issuer and of Sallyport.',
  },
  SPI011: {
    message: 'the token is for audience {}, and has to be for {} alone',
    hint: 'Ask the issuer for a token with that single audience.',
  },
  SPI012: {
    message: 'the token lives for {} s, longer than the {} s that issuer {} may give',
    hint: 'Ask the issuer for a shorter token, or raise issuers[].maxTokenLifetime.',
  },
  SPI013: {
    message: 'claim {} of the token is {}',
    hint: 'The platform team checks the claims of the issuer and issuers[].claims.',
  },
  SPI014: {
    message: 'issuer {} named {}: names that begin with "system:" belong to Kubernetes',
    hint: 'The issuer has to name its users and groups otherwise.',
  },
  SPI015: {
    message: 'the keys of issuer {} cannot be fetched: {}',
    hint: 'Try again; if it stays so, the platform team checks the way from Sallyport to the issuer.',
  },
  SPI016: {
    message: 'what issuer {} publishes about itself is wrong: {}',
    hint: 'The platform team compares issuers[].issuer with the discovery document.',
  },
  SPI017: {
    message: 'tokens of the development issuer are accepted from this machine only, not from {}',
    hint: 'Use a token of a configured issuer.',
  },
  SPI018: {
    message: 'the key of the development issuer at {} cannot be used: {}',
    hint: 'Make the folder 0700 and the file 0600, both yours; or remove the file, and a new key is made.',
  },
  SPI019: { message: '{} is not a subject', hint: 'Write system:serviceaccount:NAMESPACE:NAME, or ALIAS:SUBJECT.' },
  SPI020: { message: 'the token is not for this use: {}', hint: 'Send an ID token or a JWT access token.' },
  SPI021: { message: '{} is not a group', hint: 'Write ALIAS:GROUP, such as team:data.' },
  SPI022: { message: 'claim {} cannot be set', hint: 'It has a meaning of its own in a token.' },
  SPI023: { message: 'a lifetime of {} s is not possible', hint: 'Give 1 s to 24 h, such as --ttl 10m.' },
  SPI024: {
    message: 'the token is not bound to a pod',
    hint: 'Mount a projected service-account token with audience sallyport; a token of kubectl create token needs --bound-object-kind Pod.',
  },
  SPI025: {
    message: 'pod {} of the token {}',
    hint: 'A new pod gets a token of its own.',
  },
  SPI026: {
    message: 'the token of pod {} came from {}, which is not its address',
    hint: 'A token works from its own pod only.',
  },
  SPI027: {
    message: 'pod {} is in quarantine',
    hint: 'The platform team put it there (label sallyport.dev/quarantine) and takes it out again.',
  },
  SPI028: {
    message: 'the API server does not accept the token: {}',
    hint: 'Get a fresh token; the kubelet renews a projected one by itself.',
  },
  SPI029: {
    message: 'the pods of namespace {} are not known: {}',
    hint: 'The platform team checks that the RoleBinding of the proxies is in that namespace, and the way to the API server.',
  },
  SPI032: {
    message: 'the API server does not answer about tokens: {}',
    hint: 'The platform team checks the right to create TokenReviews.',
  },
  SPI033: {
    message: 'no connection of this proxy is for pods of namespace {}',
    hint: 'The platform team lists the namespace under allowedNamespaces of an AccessConnection.',
  },
  SPI030: {
    message: 'the server certificate in {} cannot be used: {}',
    hint: 'Correct the files, or remove a folder that Sallyport made, and it is made again.',
  },
  SPI034: {
    message: 'the SSH host key in {} cannot be used: {}',
    hint: 'Correct the files, or remove a folder that Sallyport made, and it is made again: clients then need its new authority.',
  },
  SPI031: { message: 'issuer {} is configured wrongly: {}', hint: 'Correct issuers in the configuration.' },
} as const;

export type IdentityErrorCode = keyof typeof IDENTITY_ERRORS;

/** An identity that was not proved, or the means to prove it that are missing. */
export class IdentityError extends Error {
  override readonly name = 'IdentityError';
  readonly code: IdentityErrorCode;
  readonly hint: string;

  constructor(code: IdentityErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.hint = IDENTITY_ERRORS[code].hint;
  }
}

/** Makes the error `code` of the table with its places filled. */
export function identityError(
  code: IdentityErrorCode,
  fills: readonly (string | number)[] = [],
  cause?: unknown,
): IdentityError {
  let next = 0;
  const message = IDENTITY_ERRORS[code].message.replaceAll('{}', () => String(fills[next++] ?? ''));
  return new IdentityError(code, message, cause === undefined ? undefined : { cause });
}

/**
 * Text that somebody else chose, fit for a message: quoted, without control characters, at most 100 characters. Of lists the first
 * names; of anything else only its type, because it may be nested deeper than a serialiser can follow.
 */
export function quoted(value: unknown): string {
  if (Array.isArray(value)) {
    const names = value.slice(0, 3).map((item: unknown) => (typeof item === 'string' ? quoted(item) : typeof item));
    return `[${names.join(', ')}${value.length > 3 ? ', …' : ''}]`;
  }
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (typeof value !== 'string') return value === undefined ? 'none' : `of type ${typeof value}`;
  const text = value.length > 100 ? `${value.slice(0, 100)}…` : value;
  return JSON.stringify(text).replace(/[\u007f-\u009f\u200b-\u200f\u2028-\u202f\u2060-\u2069]/g, '?');
}
