/** A bearer token that ends by itself. Times are in milliseconds since 1970. */
export interface AccessToken {
  readonly token: string;
  readonly issuedAt: number;
  readonly expiresAt: number;
}

/**
 * One token for all requests of a connection: fetched when the first one needs it, once at a time however many wait, and anew while the
 * old one is still good.
 */
export interface TokenCache {
  /** @throws what `fetch` throws; the signal's reason */
  current(signal: AbortSignal): Promise<AccessToken>;
  /** The one in force, at once; undefined: `current` has to wait for one. */
  usable(): AccessToken | undefined;
  /** The target does not accept this one: the next call gets another, unless there is another already. */
  reject(token: AccessToken): void;
  /** The tokens that answers could still show: the one in force, and the one before. */
  readonly known: readonly AccessToken[];
}

export interface TokenCacheOptions {
  readonly fetch: () => Promise<AccessToken>;
  readonly now: () => number;
  /** A token could not be had while the one before is still good; nobody waits for it. */
  readonly failed: (error: Error) => void;
  /** A token was issued. */
  readonly issued?: (token: AccessToken) => void;
}

/** Between two attempts after one that failed. */
const PAUSE_MS = 1000;
/** A token is not used so shortly before its end that it could expire on its way. */
const LATEST_MS = 5000;
const RENEW_MS = 60_000;

export function createTokenCache({ fetch, now, failed, issued }: TokenCacheOptions): TokenCache {
  let token: AccessToken | undefined;
  let before: AccessToken | undefined;
  let fetching: Promise<AccessToken> | undefined;
  let failure: { readonly error: unknown; readonly at: number } | undefined;

  /** A fifth of a short life, a minute of a long one. */
  const renewAt = ({ issuedAt, expiresAt }: AccessToken): number =>
    expiresAt - Math.min(RENEW_MS, (expiresAt - issuedAt) / 5);
  const usableUntil = ({ issuedAt, expiresAt }: AccessToken): number =>
    expiresAt - Math.min(LATEST_MS, (expiresAt - issuedAt) / 10);

  function start(): Promise<AccessToken> {
    fetching ??= fetch()
      .then(
        (fresh) => {
          before = token ?? before;
          token = fresh;
          failure = undefined;
          issued?.(fresh);
          return fresh;
        },
        (error: unknown) => {
          failure = { error, at: now() };
          throw error;
        },
      )
      .finally(() => {
        fetching = undefined;
      });
    return fetching;
  }

  const resting = (): boolean => failure !== undefined && now() - failure.at < PAUSE_MS;

  function usable(): AccessToken | undefined {
    if (token === undefined || now() >= usableUntil(token)) return undefined;
    if (now() >= renewAt(token) && fetching === undefined && !resting())
      start().catch((error: unknown) => failed(error instanceof Error ? error : new Error(String(error))));
    return token;
  }

  return {
    usable,
    async current(signal) {
      signal.throwIfAborted();
      const known = usable();
      if (known !== undefined) return known;
      if (fetching === undefined && failure !== undefined && resting()) throw failure.error;
      return unlessAborted(start(), signal);
    },
    reject(refused) {
      if (token !== refused) return;
      before = token;
      token = undefined;
    },
    get known() {
      return [token, before].filter((each) => each !== undefined);
    },
  };
}

/** Whoever waits may give up; the fetch goes on for the others. */
function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}
