import { errors, type JWTPayload, jwtVerify } from 'jose';
import type { VerifiedIdentity } from '../ports.ts';
import { identityError, quoted } from './errors.ts';
import { createIssuerKeys } from './issuer-keys.ts';
import { type ClaimNames, subjectOfClaims } from './token-subject.ts';
import type { IssuerVerifier } from './verifier.ts';

/** Asymmetric algorithms that an issuer may be pinned to (RFC 7518, section 3.1; RFC 8037; RFC 9864). */
export const SIGNING_ALGORITHMS = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
] as const;

/** One outside issuer, as configured. Times are in seconds. */
export interface OidcIssuer {
  readonly alias: string;
  /** Compared byte for byte with `iss`. */
  readonly issuer: string;
  /** The one audience that a token must be for. */
  readonly audience: string;
  readonly jwksUri?: string;
  readonly caFile?: string;
  /** Default RS256, PS256, ES256, EdDSA. */
  readonly algorithms?: readonly string[];
  /** Tokens with a longer life are refused. */
  readonly maxTokenLifetimeSeconds: number;
  /** How long a session may go on after `exp`; at most 3600. */
  readonly sessionGraceSeconds: number;
  readonly claims?: ClaimNames;
}

const DEFAULT_ALGORITHMS = ['RS256', 'PS256', 'ES256', 'EdDSA', 'Ed25519'];
const MAX_GRACE_SECONDS = 3600;
/** How far the clocks of issuer and proxy may differ. */
export const CLOCK_SKEW_SECONDS = 10;
/** Kinds of token that name a caller. A logout token (`logout+jwt`) or a DPoP proof is signed by the same key, and is none. */
const TOKEN_TYPES = new Set(['jwt', 'at+jwt', 'application/at+jwt']);

/** Refuses a configuration that would open a hole, at start rather than at the first token. @throws IdentityError SPI031 */
export function checkIssuer(options: OidcIssuer): void {
  const refuse = (why: string): never => {
    throw identityError('SPI031', [quoted(options.alias), why]);
  };
  if (!/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(options.alias)) refuse('the alias is not a DNS label');
  if (options.alias === 'system') refuse('the alias "system" belongs to Kubernetes');
  if (options.audience === '') refuse('the audience is empty');
  if (!(options.maxTokenLifetimeSeconds > 0)) refuse('maxTokenLifetime is not a positive time');
  if (!(options.sessionGraceSeconds >= 0 && options.sessionGraceSeconds <= MAX_GRACE_SECONDS)) {
    refuse('sessionGrace is more than one hour');
  }
  for (const algorithm of options.algorithms ?? []) {
    if (!SIGNING_ALGORITHMS.some((known) => known === algorithm))
      refuse(`algorithm ${quoted(algorithm)} is not an asymmetric one`);
  }
  if (options.algorithms?.length === 0) refuse('the list of algorithms is empty');
}

const instant = (seconds: unknown): string =>
  typeof seconds === 'number' && Math.abs(seconds) < 8.64e12 ? new Date(seconds * 1000).toISOString() : quoted(seconds);

/** What jose found wrong, in our own codes. */
export function translate(
  error: unknown,
  options: OidcIssuer,
  algorithm: string | undefined,
  payload: JWTPayload,
): unknown {
  const alias = options.alias;
  if (error instanceof errors.JWTExpired) return identityError('SPI008', [instant(payload.exp)], error);
  if (error instanceof errors.JWTClaimValidationFailed) {
    if (error.reason === 'missing') return identityError('SPI013', [quoted(error.claim), 'missing'], error);
    if (error.reason === 'invalid')
      return identityError('SPI013', [quoted(error.claim), 'not what it has to be'], error);
    if (error.claim === 'nbf') return identityError('SPI009', [instant(payload.nbf)], error);
    if (error.claim === 'aud') return identityError('SPI011', [quoted(payload.aud), quoted(options.audience)], error);
    return identityError('SPI013', [quoted(error.claim), 'not what it has to be'], error);
  }
  if (error instanceof errors.JOSEAlgNotAllowed) return identityError('SPI005', [quoted(algorithm), alias], error);
  if (error instanceof errors.JWSSignatureVerificationFailed) return identityError('SPI006', [alias], error);
  if (error instanceof errors.JOSEError) return identityError('SPI003', [error.code], error);
  return error;
}

/** Checks that need only the claims; the signature has been verified. @throws IdentityError */
export function checkClaims(
  payload: JWTPayload,
  options: OidcIssuer,
  nowSeconds: number,
): { exp: number; iat: number } {
  const { exp, iat, aud } = payload;
  if (typeof exp !== 'number' || !Number.isFinite(exp)) throw identityError('SPI013', ['"exp"', 'not a time']);
  if (typeof iat !== 'number' || !Number.isFinite(iat)) throw identityError('SPI013', ['"iat"', 'not a time']);
  // A token that another service also accepts can be replayed here by that service.
  const sole = Array.isArray(aud) ? (aud.length === 1 ? aud[0] : undefined) : aud;
  if (sole !== options.audience) throw identityError('SPI011', [quoted(aud), quoted(options.audience)]);
  if (iat > nowSeconds + CLOCK_SKEW_SECONDS) throw identityError('SPI010', [instant(iat)]);
  if (exp <= nowSeconds - CLOCK_SKEW_SECONDS) throw identityError('SPI008', [instant(exp)]);
  if (exp - iat > options.maxTokenLifetimeSeconds) {
    throw identityError('SPI012', [Math.round(exp - iat), options.maxTokenLifetimeSeconds, options.alias]);
  }
  // RFC 7800: the token is bound to a key that its bearer must prove to have, which a password cannot.
  if (payload.cnf !== undefined) throw identityError('SPI020', ['it is bound to a key (cnf)']);
  return { exp, iat };
}

/** Verifier of the tokens of one outside issuer. Nothing that a token says is ever fetched or used as a key. */
export function createOidcVerifier(options: OidcIssuer, now: () => number): IssuerVerifier {
  checkIssuer(options);
  const algorithms = [...(options.algorithms ?? DEFAULT_ALGORITHMS)];
  const keys = createIssuerKeys({
    alias: options.alias,
    issuer: options.issuer,
    now,
    ...(options.jwksUri === undefined ? {} : { jwksUri: options.jwksUri }),
    ...(options.caFile === undefined ? {} : { caFile: options.caFile }),
  });

  return {
    issuer: options.issuer,
    async verify({ token, header, payload, tokenId }, signal): Promise<VerifiedIdentity> {
      // Before any key is fetched: a wrong algorithm costs the issuer nothing.
      if (typeof header.alg !== 'string' || !algorithms.includes(header.alg)) {
        throw identityError('SPI005', [quoted(header.alg), options.alias]);
      }
      if (header.crit !== undefined) throw identityError('SPI020', ['it has critical header parameters']);
      if (header.typ !== undefined && !(typeof header.typ === 'string' && TOKEN_TYPES.has(header.typ.toLowerCase()))) {
        throw identityError('SPI020', [`its type is ${quoted(header.typ)}`]);
      }
      const nowMs = now();
      let verified: JWTPayload;
      try {
        const result = await jwtVerify(token, (jws) => keys.find(jws, signal), {
          algorithms,
          issuer: options.issuer,
          audience: options.audience,
          requiredClaims: ['exp', 'iat'],
          clockTolerance: CLOCK_SKEW_SECONDS,
          currentDate: new Date(nowMs),
        });
        verified = result.payload;
      } catch (error) {
        throw translate(error, options, header.alg, payload);
      }
      const { exp, iat } = checkClaims(verified, options, nowMs / 1000);
      return {
        subject: subjectOfClaims(verified, options.alias, options.claims ?? {}),
        sessionExpiresAt: new Date((exp + options.sessionGraceSeconds) * 1000),
        tokenId,
        tokenLifetimeSeconds: Math.max(0, exp - iat),
      };
    },
  };
}
