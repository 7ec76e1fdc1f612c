import { identityError } from '../identity/errors.ts';
import type { TokenVerifier } from '../ports.ts';

export interface LateVerifier extends TokenVerifier {
  /** Undefined: it verifies. */
  readonly missing: string | undefined;
}

/** How long it waits until it asks again, in milliseconds. */
const RETRY_MS = 2000;

/**
 * A verifier that needs to know something first that the API server has to say, which may be away when the proxy starts. Until then
 * every token is refused.
 */
export function createLateVerifier(
  make: (signal: AbortSignal) => Promise<TokenVerifier>,
  signal: AbortSignal,
): LateVerifier {
  let verifier: TokenVerifier | undefined;
  let missing = 'the issuer of tokens is not known yet';

  async function begin(): Promise<void> {
    while (verifier === undefined && !signal.aborted) {
      try {
        verifier = await make(signal);
      } catch (error) {
        missing = error instanceof Error ? error.message : String(error);
        await new Promise<void>((resolve) => {
          const done = (): void => {
            clearTimeout(timer);
            signal.removeEventListener('abort', done);
            resolve();
          };
          const timer = setTimeout(done, RETRY_MS);
          signal.addEventListener('abort', done, { once: true });
        });
      }
    }
  }
  void begin();

  return {
    get missing() {
      return verifier === undefined ? missing : undefined;
    },
    get discovery() {
      return verifier?.discovery ?? {};
    },
    verified: (token, peer, last) => verifier?.verified(token, peer, last),
    async verify(token, caller, peer, last) {
      if (verifier === undefined) throw identityError('SPI015', ['of this cluster', missing]);
      return verifier.verify(token, caller, peer, last);
    },
  };
}
