import { type JWTPayload, jwtVerify } from 'jose';
import { AUDIENCE } from '../../api/cluster.ts';
import type { Subject } from '../../policy/subject.ts';
import type { VerifiedIdentity } from '../ports.ts';
import { identityError, quoted } from './errors.ts';
import { createIssuerKeys } from './issuer-keys.ts';
import { CLOCK_SKEW_SECONDS, checkClaims, translate } from './oidc.ts';
import { type PodDirectory, type PodFacts, podLabel } from './pod-directory.ts';
import { podRefusal, type Tenures } from './tenures.ts';
import type { IssuerVerifier } from './verifier.ts';

/** What the API server says of a token (TokenReview v1, asked with our audience). */
export interface ReviewedToken {
  readonly authenticated: boolean;
  readonly audiences: readonly string[];
  readonly username: string;
  readonly podUid: string | undefined;
}

export interface ClusterIssuer {
  /** Of service-account tokens, exactly as in `iss`. */
  readonly issuer: string;
  /** The API server's JWK set. @throws with a message for operators */
  readonly fetchKeys: (signal: AbortSignal) => Promise<unknown>;
  /** Undefined: the API server cannot be reached, or is not well, and the token is judged without it. @throws when it refuses to say */
  readonly review: (token: string, signal: AbortSignal) => Promise<ReviewedToken | undefined>;
  readonly pods: PodDirectory;
  readonly tenures: Tenures;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** What an API server signs with, by the kind of its key (kube-apiserver, --service-account-signing-key-file). */
const ALGORITHMS = ['RS256', 'ES256', 'ES384', 'ES512'];
/** Of a projected token at most; the kubelet renews it at four fifths. */
const MAX_LIFETIME_SECONDS = 3607;
const NAME = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;
const UID = /^[-a-zA-Z0-9]{1,64}$/;

/** The private claim of a bound token (KEP-1205). */
interface BoundClaims {
  readonly namespace: string;
  readonly account: string;
  readonly pod: { readonly name: string; readonly uid: string };
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function boundClaims(payload: JWTPayload): BoundClaims {
  const bound = payload['kubernetes.io'];
  const [account, pod] = isRecord(bound) ? [bound['serviceaccount'], bound['pod']] : [];
  const namespace = isRecord(bound) ? bound['namespace'] : undefined;
  const name = isRecord(account) ? account['name'] : undefined;
  if (typeof namespace !== 'string' || !NAME.test(namespace) || typeof name !== 'string' || !NAME.test(name))
    throw identityError('SPI013', ['"kubernetes.io"', 'not that of a service account']);
  const [podName, podUid] = isRecord(pod) ? [pod['name'], pod['uid']] : [];
  if (typeof podName !== 'string' || !NAME.test(podName) || typeof podUid !== 'string' || !UID.test(podUid))
    throw identityError('SPI024');
  if (payload.sub !== `system:serviceaccount:${namespace}:${name}`)
    throw identityError('SPI013', ['"sub"', 'not that of its service account']);
  return { namespace, account: name, pod: { name: podName, uid: podUid } };
}

/** Claims that differ from token to token, or from pod to pod, would make every session's policy its own. */
function subjectOf({ namespace, account }: BoundClaims, pod: PodFacts, issuer: string): Subject {
  const username = `system:serviceaccount:${namespace}:${account}`;
  return {
    username,
    serviceAccount: { namespace, name: account },
    groups: ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated'],
    claims: { iss: issuer, sub: username },
    pod: {
      namespace,
      name: pod.name,
      uid: pod.uid,
      ...(pod.node === undefined ? {} : { node: pod.node }),
    },
  };
}

/**
 * Verifier of the pods of this cluster: signature, issuer, sole audience, time → TokenReview with our audience → the pod of that UID
 * exists, is not ending, has the peer's address and is not in quarantine. Without the API server its published keys and the pods that
 * are known serve, for as long as the gate lets anything pass.
 */
export function createClusterVerifier(options: ClusterIssuer): IssuerVerifier {
  const { issuer, pods, tenures, now } = options;
  const rules = {
    alias: 'of this cluster',
    issuer,
    audience: AUDIENCE,
    maxTokenLifetimeSeconds: MAX_LIFETIME_SECONDS,
    sessionGraceSeconds: 0,
  };
  const keys = createIssuerKeys({
    alias: rules.alias,
    issuer,
    now,
    fetchSet: options.fetchKeys,
    staleMs: Number.POSITIVE_INFINITY,
  });

  async function signedPayload(token: string, payload: JWTPayload, alg: string, signal: AbortSignal) {
    const nowMs = now();
    try {
      const { payload: verified } = await jwtVerify(token, (jws) => keys.find(jws, signal), {
        algorithms: ALGORITHMS,
        issuer,
        audience: AUDIENCE,
        requiredClaims: ['exp', 'iat'],
        clockTolerance: CLOCK_SKEW_SECONDS,
        currentDate: new Date(nowMs),
      });
      return { verified, ...checkClaims(verified, rules, nowMs / 1000) };
    } catch (error) {
      throw translate(error, rules, alg, payload);
    }
  }

  async function reviewed(token: string, bound: BoundClaims, subject: string, signal: AbortSignal): Promise<void> {
    const review = await options.review(token, signal);
    if (review === undefined) return;
    const refuse = (why: string): never => {
      throw identityError('SPI028', [why]);
    };
    if (!review.authenticated) refuse('it is not valid any more');
    if (!review.audiences.includes(AUDIENCE)) refuse(`it is not for audience ${AUDIENCE}`);
    if (review.username !== subject) refuse('it is of another account');
    if (review.podUid !== bound.pod.uid) refuse('it is of another pod');
  }

  /** @throws IdentityError SPI025, SPI026, SPI027, SPI029 */
  function checkPod(bound: { readonly namespace: string; readonly name: string; readonly uid: string }, peer?: string) {
    const label = podLabel(bound);
    const pod = known(bound.namespace, () => pods.now(bound.namespace, bound.name, bound.uid));
    const refusal = podRefusal(label, pod);
    if (pod === undefined || refusal !== undefined) throw refusal;
    if (peer === undefined || !pod.addresses.includes(peer))
      throw identityError('SPI026', [label, peer ?? 'an unknown address']);
    return pod;
  }

  return {
    issuer,
    async verify({ token, header, payload, tokenId }, signal, peer): Promise<VerifiedIdentity> {
      if (typeof header.alg !== 'string' || !ALGORITHMS.includes(header.alg))
        throw identityError('SPI005', [quoted(header.alg), rules.alias]);
      if (header.crit !== undefined) throw identityError('SPI020', ['it has critical header parameters']);
      const { verified, exp, iat } = await signedPayload(token, payload, header.alg, signal);
      const bound = boundClaims(verified);
      const { namespace } = bound;
      await reviewed(token, bound, String(verified.sub), signal);
      await known(namespace, () => pods.find(namespace, bound.pod.name, bound.pod.uid, signal));
      const pod = checkPod({ namespace, ...bound.pod }, peer);
      const tenure = tenures.of(pod);
      return {
        subject: subjectOf(bound, pod, issuer),
        get sessionExpiresAt() {
          return new Date(Math.max(exp * 1000, tenure.renewedUntil));
        },
        withdrawn: tenure.withdrawn,
        tokenId,
        tokenLifetimeSeconds: Math.max(0, exp - iat),
      };
    },
    confirm({ subject, withdrawn }, peer) {
      const { pod } = subject;
      if (pod === undefined) throw identityError('SPI024');
      checkPod(pod, peer);
      // In quarantine and out of it again within the time that a success is remembered.
      if (withdrawn?.aborted === true) throw withdrawn.reason;
    },
  };
}

/** What keeps the pods from being known is said as an error of identity. */
function known<T>(namespace: string, look: () => T): T {
  const translated = (error: unknown): Error =>
    error instanceof Error && error.name !== 'IdentityError' && error.name !== 'AbortError'
      ? identityError('SPI029', [namespace, error.message], error)
      : (error as Error);
  try {
    const found = look();
    return found instanceof Promise
      ? (found.catch((error: unknown) => {
          throw translated(error);
        }) as T)
      : found;
  } catch (error) {
    throw translated(error);
  }
}
