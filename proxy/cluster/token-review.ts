import { AUDIENCE } from '../../api/cluster.ts';
import { TOKEN_REVIEWS } from '../../kube/builtin.ts';
import { KubeError } from '../../kube/errors.ts';
import type { KubeClient } from '../../kube/types.ts';
import type { ReviewedToken } from '../identity/cluster.ts';
import { identityError } from '../identity/errors.ts';

/** What the API server's authenticator says of the pod (ServiceAccountTokenPodNodeInfo and before). */
const POD_UID = 'authentication.kubernetes.io/pod-uid';
/** Answers that mean that it is not well, rather than that it says no. */
const UNWELL: ReadonlySet<string> = new Set(['SPB001', 'SPB002', 'SPB009', 'SPB010']);

/** Asks the API server about a token. @returns undefined when it is away. @throws IdentityError SPI032 when it does not let us ask */
export async function reviewToken(
  client: KubeClient,
  token: string,
  signal: AbortSignal,
): Promise<ReviewedToken | undefined> {
  try {
    const { status } = await client.create(
      TOKEN_REVIEWS,
      {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenReview',
        metadata: { name: '' },
        spec: { token, audiences: [AUDIENCE] },
      },
      { signal },
    );
    return {
      authenticated: status?.authenticated === true,
      audiences: status?.audiences ?? [],
      username: status?.user?.username ?? '',
      podUid: status?.user?.extra?.[POD_UID]?.[0],
    };
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof KubeError)) throw error;
    if (UNWELL.has(error.code)) return undefined;
    throw identityError('SPI032', [error.message], error);
  }
}

/** The JWK set of service-account tokens (KEP-1393). @throws KubeError; SyntaxError for what is no JSON */
export async function fetchKeySet(client: KubeClient, signal: AbortSignal): Promise<unknown> {
  const { body } = await client.request('GET', '/openid/v1/jwks', {
    signal,
    maxBytes: 262_144,
    // The API server gives it as nothing else.
    headers: { Accept: 'application/jwk-set+json, application/json' },
  });
  return JSON.parse(body.toString('utf8'));
}

/** `iss` of service-account tokens, from the API server's discovery document. @throws KubeError; Error when it names none */
export async function discoverIssuer(client: KubeClient, signal: AbortSignal): Promise<string> {
  const { body } = await client.request('GET', '/.well-known/openid-configuration', { signal, maxBytes: 262_144 });
  const document: unknown = JSON.parse(body.toString('utf8'));
  const issuer =
    typeof document === 'object' && document !== null && 'issuer' in document ? document.issuer : undefined;
  if (typeof issuer !== 'string' || issuer === '') throw new Error('the discovery document names no issuer');
  return issuer;
}
