import { createHash, hash } from 'node:crypto';
import { decodeJwt, decodeProtectedHeader, type JWTPayload, type ProtectedHeaderParameters } from 'jose';
import type { TokenVerifier, VerifiedIdentity } from '../ports.ts';
import { identityError, quoted } from './errors.ts';

/** A token that was taken apart, but of which nothing is believed yet. */
export interface PresentedToken {
  readonly token: string;
  readonly header: ProtectedHeaderParameters;
  readonly payload: JWTPayload;
  /** For the record: `jti`, or a digest of the token. */
  readonly tokenId: string;
}

/** Verifies the tokens of one issuer. */
export interface IssuerVerifier {
  /** Compared byte for byte with `iss`. */
  readonly issuer: string;
  /** Refuses a peer that may not use this issuer at all; asked before anything else, also on a cached success. */
  admit?(peer: string | undefined): void;
  verify(presented: PresentedToken, signal: AbortSignal, peer: string | undefined): Promise<VerifiedIdentity>;
  /** What may change from one moment or peer to the next; asked on each success, also a cached one. @throws IdentityError */
  confirm?(identity: VerifiedIdentity, peer: string | undefined): void;
}

export interface TokenVerifierOptions {
  readonly issuers: readonly IssuerVerifier[];
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly discovery?: TokenVerifier['discovery'];
}

export const MAX_TOKEN_BYTES = 16_384;
/** How long a success may be believed without looking again. */
const CACHE_MS = 10_000;
const CACHE_ENTRIES = 1_024;

function present(token: string): PresentedToken {
  if (token === '') throw identityError('SPI001');
  const bytes = Buffer.byteLength(token);
  if (bytes > MAX_TOKEN_BYTES) throw identityError('SPI002', [bytes, MAX_TOKEN_BYTES]);
  if (!/^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*$/.test(token))
    throw identityError('SPI003', ['it has not three parts']);
  try {
    const payload = decodeJwt(token);
    const { jti } = payload;
    const named = typeof jti === 'string' && /^[\x21-\x7e]{8,128}$/.test(jti);
    return {
      token,
      header: decodeProtectedHeader(token),
      payload,
      tokenId: named ? jti : `sha256:${createHash('sha256').update(token).digest('hex').slice(0, 32)}`,
    };
  } catch {
    // The decoder's own error would quote the token.
    throw identityError('SPI003', ['its parts cannot be read']);
  }
}

/** A token that was verified. */
interface Believed {
  readonly verifier: IssuerVerifier;
  readonly identity: VerifiedIdentity;
  /** Milliseconds since 1970. */
  readonly until: number;
}

/**
 * The verifier of all configured issuers. `iss`, read from the token as it is, only picks who verifies it; nothing is fetched for
 * an issuer that is not configured. A success is cached for at most 10 s, under a digest of the token.
 */
export function createTokenVerifier(options: TokenVerifierOptions): TokenVerifier {
  const byIssuer = new Map<string, IssuerVerifier>();
  for (const verifier of options.issuers) {
    if (byIssuer.has(verifier.issuer)) throw identityError('SPI031', [quoted(verifier.issuer), 'it is listed twice']);
    byIssuer.set(verifier.issuer, verifier);
  }
  const cache = new Map<string, Believed>();

  function remember(digest: string, believed: Omit<Believed, 'until'>, expires: number): void {
    const now = options.now();
    const until = Math.min(now + CACHE_MS, expires);
    if (until <= now) return;
    if (cache.size >= CACHE_ENTRIES) {
      const oldest = cache.keys().next();
      if (!oldest.done) cache.delete(oldest.value);
    }
    cache.set(digest, { ...believed, until });
  }

  return {
    discovery: options.discovery ?? {},
    async verify(token, signal, peer) {
      signal.throwIfAborted();
      // What was believed a moment ago is not taken apart again: over HTTP it comes with every request.
      const digest = token.length <= MAX_TOKEN_BYTES ? hash('sha256', token, 'base64') : undefined;
      const cached = digest === undefined ? undefined : cache.get(digest);
      if (cached !== undefined) {
        const { verifier, identity } = cached;
        verifier.admit?.(peer);
        if (options.now() < cached.until) {
          verifier.confirm?.(identity, peer);
          return identity;
        }
      }
      const presented = present(token);
      const { iss, exp } = presented.payload;
      const verifier = typeof iss === 'string' ? byIssuer.get(iss) : undefined;
      if (verifier === undefined) throw identityError('SPI004', [iss === undefined ? 'none' : quoted(iss)]);
      verifier.admit?.(peer);
      if (digest !== undefined) cache.delete(digest);
      const identity = await verifier.verify(presented, signal, peer);
      verifier.confirm?.(identity, peer);
      if (digest !== undefined) remember(digest, { verifier, identity }, typeof exp === 'number' ? exp * 1000 : 0);
      return identity;
    },
  };
}
