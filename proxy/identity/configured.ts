import type { KeyObject } from 'node:crypto';
import type { TokenVerifier } from '../ports.ts';
import { createDevelopmentVerifier } from './development.ts';
import { createOidcVerifier, type OidcIssuer } from './oidc.ts';
import { createTokenVerifier } from './verifier.ts';

export interface ConfiguredIdentity {
  /** `issuers` of the configuration. */
  readonly issuers: readonly OidcIssuer[];
  /** Key of the development issuer; undefined turns it off. */
  readonly developmentKey: KeyObject | undefined;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/**
 * The verifier for a whole configuration. Clients that ask where tokens come from are sent to the first issuer.
 * @throws IdentityError SPI031 for a configuration that would open a hole
 */
export function createConfiguredVerifier(options: ConfiguredIdentity): TokenVerifier {
  const [first] = options.issuers;
  return createTokenVerifier({
    issuers: [
      ...options.issuers.map((issuer) => createOidcVerifier(issuer, options.now)),
      ...(options.developmentKey === undefined ? [] : [createDevelopmentVerifier(options.developmentKey, options.now)]),
    ],
    now: options.now,
    discovery:
      first === undefined
        ? {}
        : {
            openidConfiguration: `${first.issuer.replace(/\/$/, '')}/.well-known/openid-configuration`,
            scope: 'openid',
          },
  });
}
