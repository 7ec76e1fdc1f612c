import { createHash, hash } from 'node:crypto';
import { decodeJwt, decodeProtectedHeader, type JWTPayload, type ProtectedHeaderParameters } from 'jose';
import type { BelievedToken, TokenVerifier, VerifiedIdentity } from '../ports.ts';
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

const MAX_TOKEN_BYTES = 16_384;
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

/** What is kept of a token that was verified: the token itself is not. */
type Believed = Omit<BelievedToken, 'token'>;

function believed(verifier: IssuerVerifier, identity: VerifiedIdentity, until: number): Believed {
  return {
    identity,
    until,
    confirm(peer) {
      verifier.admit?.(peer);
      verifier.confirm?.(identity, peer);
    },
  };
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

  function remember(digest: string, made: Believed): void {
    if (cache.size >= CACHE_ENTRIES) {
      const oldest = cache.keys().next();
      if (!oldest.done) cache.delete(oldest.value);
    }
    cache.set(digest, made);
  }

  return {
    discovery: options.discovery ?? {},
    verified(token, peer, last) {
      const known = last.believed;
      if (known === undefined) return undefined;
      if (options.now() >= known.until) {
        last.believed = undefined;
        return undefined;
      }
      if (known.token !== token) return undefined;
      known.confirm(peer);
      return known.identity;
    },
    async verify(token, signal, peer, last) {
      signal.throwIfAborted();
      // What was believed a moment ago is not taken apart again: over HTTP it comes with every request.
      const digest = token.length <= MAX_TOKEN_BYTES ? hash('sha256', token, 'base64') : undefined;
      const cached = digest === undefined ? undefined : cache.get(digest);
      if (cached !== undefined && options.now() < cached.until) {
        cached.confirm(peer);
        if (last !== undefined) last.believed = { ...cached, token };
        return cached.identity;
      }
      const presented = present(token);
      const { iss, exp } = presented.payload;
      const verifier = typeof iss === 'string' ? byIssuer.get(iss) : undefined;
      if (verifier === undefined) throw identityError('SPI004', [iss === undefined ? 'none' : quoted(iss)]);
      verifier.admit?.(peer);
      if (digest !== undefined) cache.delete(digest);
      const identity = await verifier.verify(presented, signal, peer);
      verifier.confirm?.(identity, peer);
      const now = options.now();
      const until = Math.min(now + CACHE_MS, typeof exp === 'number' ? exp * 1000 : 0);
      if (digest !== undefined && until > now) {
        const made = believed(verifier, identity, until);
        remember(digest, made);
        if (last !== undefined) last.believed = { ...made, token };
      }
      return identity;
    },
  };
}
