import { readFile } from 'node:fs/promises';
import { createLocalJWKSet, errors, type JSONWebKeySet, type JWSHeaderParameters } from 'jose';
import { identityError, quoted } from './errors.ts';
import { fetchJson, isAcceptableAddress } from './fetch-json.ts';

export interface IssuerKeysOptions {
  readonly alias: string;
  /** Exactly as in `iss`; the discovery document must repeat it. */
  readonly issuer: string;
  /** Skips discovery. */
  readonly jwksUri?: string;
  /** PEM file of the authorities to trust instead of the system's; read at each fetch. */
  readonly caFile?: string;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Fetches the JWK set in another way than by discovery; what it throws is told to operators. */
  readonly fetchSet?: (signal: AbortSignal) => Promise<unknown>;
  /** How long keys serve without a successful fetch, in milliseconds. Default one hour. */
  readonly staleMs?: number;
  /** One fetch, discovery included, takes at most this long. */
  readonly timeoutMs?: number;
}

type FindKey = ReturnType<typeof createLocalJWKSet>;

/** The published keys of one issuer. */
export interface IssuerKeys {
  /** The key for a token's header. @throws IdentityError SPI007, SPI015, SPI016 */
  find(header: JWSHeaderParameters, signal: AbortSignal): ReturnType<FindKey>;
}

/** After this long a fetch is started, but nobody waits for it. */
const REFRESH_MS = 5 * 60_000;
/** After this long without a successful fetch the keys are no longer used: a withdrawn key must stop working. */
const STALE_MS = 60 * 60_000;
/** Least time between two fetches, so that made-up key ids cannot flood the issuer. */
const COOLDOWN_MS = 5_000;
const MAX_BYTES = 262_144;
const MAX_KEYS = 100;

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Waits for `promise`, but no longer than the signal: a shared fetch goes on for the others. */
function waitFor<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) return Promise.reject(signal.reason);
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}

/**
 * Discovery (OpenID Connect Discovery 1.0, section 4) and the JWK set, cached. A key id that is not known yet causes one new fetch,
 * which is how rotation is noticed. All waiting callers share one fetch.
 */
export function createIssuerKeys(options: IssuerKeysOptions): IssuerKeys {
  const { alias, now } = options;
  const staleMs = options.staleMs ?? STALE_MS;
  let keys: { find: FindKey; fetchedAt: number } | undefined;
  let pending: Promise<void> | undefined;
  let lastAttempt = Number.NEGATIVE_INFINITY;
  let lastFailure: unknown;

  function addressOf(text: string, what: string): URL {
    const url = URL.canParse(text) ? new URL(text) : undefined;
    if (url === undefined || !isAcceptableAddress(url)) {
      throw identityError('SPI016', [alias, `${what} ${quoted(text)} is not an https address`]);
    }
    return url;
  }

  async function fetchKeys(): Promise<FindKey> {
    if (options.fetchSet !== undefined)
      return keysOf(await options.fetchSet(AbortSignal.timeout(options.timeoutMs ?? 5_000)));
    const ca = options.caFile === undefined ? undefined : await readFile(options.caFile, 'utf8');
    const signal = AbortSignal.timeout(options.timeoutMs ?? 5_000);
    const get = (url: URL): Promise<unknown> =>
      fetchJson(url, { signal, maxBytes: MAX_BYTES, ...(ca === undefined ? {} : { ca }) });
    let jwksUri = options.jwksUri;
    if (jwksUri === undefined) {
      const document = await get(
        addressOf(`${options.issuer.replace(/\/$/, '')}/.well-known/openid-configuration`, 'its address'),
      );
      if (!isObject(document)) throw identityError('SPI016', [alias, 'its discovery document is not an object']);
      if (document.issuer !== options.issuer)
        throw identityError('SPI016', [alias, `it calls itself ${quoted(document.issuer)}`]);
      if (typeof document.jwks_uri !== 'string') throw identityError('SPI016', [alias, 'jwks_uri is missing']);
      jwksUri = document.jwks_uri;
    }
    return keysOf(await get(addressOf(jwksUri, 'jwks_uri')));
  }

  function keysOf(set: unknown): FindKey {
    if (!isObject(set) || !Array.isArray(set.keys) || set.keys.length > MAX_KEYS || !set.keys.every(isObject)) {
      throw identityError('SPI016', [alias, `its key set is not a list of at most ${MAX_KEYS} keys`]);
    }
    return createLocalJWKSet({ keys: set.keys } as unknown as JSONWebKeySet);
  }

  /** Starts a fetch, or joins the one in progress. Within the cooldown: resolves with nothing changed. */
  function refresh(): Promise<void> {
    if (pending !== undefined) return pending;
    if (now() - lastAttempt < COOLDOWN_MS) return Promise.resolve();
    lastAttempt = now();
    pending = fetchKeys().then(
      (find) => {
        keys = { find, fetchedAt: now() };
        lastFailure = undefined;
        pending = undefined;
      },
      // Kept, not thrown: with keys at hand a failed refresh harms nobody yet, and `current` reports it when there are none.
      (failure: unknown) => {
        lastFailure = failure;
        pending = undefined;
      },
    );
    return pending;
  }

  async function current(signal: AbortSignal): Promise<FindKey> {
    const age = keys === undefined ? Number.POSITIVE_INFINITY : now() - keys.fetchedAt;
    if (keys === undefined || age > staleMs) await waitFor(refresh(), signal);
    else if (age > REFRESH_MS) void refresh();
    if (keys !== undefined && now() - keys.fetchedAt <= staleMs) return keys.find;
    throw unreachable();
  }

  function unreachable(): Error {
    if (lastFailure instanceof Error && lastFailure.name === 'IdentityError') return lastFailure;
    const slow =
      lastFailure instanceof Error && (lastFailure.name === 'TimeoutError' || lastFailure.name === 'AbortError');
    const why = slow ? 'it does not answer' : lastFailure instanceof Error ? lastFailure.message : 'no answer yet';
    return identityError('SPI015', [alias, why], lastFailure);
  }

  return {
    async find(header, signal) {
      const find = await current(signal);
      try {
        return await find(header);
      } catch (error) {
        if (!(error instanceof errors.JWKSNoMatchingKey)) throw refused(error, header);
      }
      await waitFor(refresh(), signal);
      try {
        return await (keys?.find ?? find)(header);
      } catch (error) {
        throw refused(error, header);
      }
    },
  };

  function refused(error: unknown, header: JWSHeaderParameters): Error {
    const kid = header.kid === undefined ? 'without an id' : quoted(header.kid);
    if (error instanceof errors.JWKSMultipleMatchingKeys)
      return identityError('SPI007', [alias, 'alone that fits, and the token names none,'], error);
    return identityError('SPI007', [alias, kid], error);
  }
}
