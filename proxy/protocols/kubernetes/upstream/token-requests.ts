import type { CompiledConnection, ServiceAccountToken } from '../../../../policy/bundle.ts';
import { kubernetesError, Refused } from '../errors.ts';
import type { SignInPorts } from './sign-in.ts';

/** Tokens of service accounts, made by TokenRequest and kept for the most of their lives. */
export interface TokenRequests {
  /** @throws an error with a stable code; the signal's reason */
  of(connection: CompiledConnection, asked: ServiceAccountToken, signal: AbortSignal): Promise<string>;
  /** One was refused: another is made next. */
  forget(connection: CompiledConnection): void;
}

interface Kept {
  readonly token: string;
  /** Another is made from then on, while this one is still good. */
  readonly renewAt: number;
  readonly expiresAt: number;
}

/** As the kubelet does: at four fifths of its life. */
const RENEWED_AT = 0.8;
/** A token that ends sooner is not used: the request takes time too. */
const MARGIN_MS = 10_000;

export function createTokenRequests({ cluster, now }: Pick<SignInPorts, 'cluster' | 'now'>): TokenRequests {
  const kept = new Map<string, Kept>();
  const making = new Map<string, Promise<Kept>>();
  const keyOf = ({ namespace, name }: CompiledConnection, asked?: ServiceAccountToken): string =>
    asked === undefined ? `${namespace}/${name} ` : `${namespace}/${name} ${JSON.stringify(asked)}`;

  async function make(connection: CompiledConnection, asked: ServiceAccountToken): Promise<Kept> {
    if (cluster === undefined) {
      throw new Refused(
        kubernetesError('SPL014', 'tokens of service accounts are made in a cluster only', {
          hint: 'Name a Secret in credential.secretRef.',
        }),
      );
    }
    const { namespace } = connection;
    // Its time is its own: callers share one request, and one of them may leave.
    const { token, expiresAt } = await cluster.serviceAccountToken(
      { namespace, name: asked.name },
      { audiences: asked.audiences, ttlSeconds: Math.round(asked.ttlMs / 1000) },
      AbortSignal.timeout(MARGIN_MS),
    );
    const at = now();
    const life = expiresAt.getTime() - at;
    return { token, renewAt: at + life * RENEWED_AT, expiresAt: expiresAt.getTime() };
  }

  function renew(key: string, connection: CompiledConnection, asked: ServiceAccountToken): Promise<Kept> {
    let running = making.get(key);
    if (running === undefined) {
      running = make(connection, asked)
        .then((made) => {
          kept.set(key, made);
          return made;
        })
        .finally(() => making.delete(key));
      making.set(key, running);
    }
    return running;
  }

  return {
    async of(connection, asked, signal) {
      signal.throwIfAborted();
      const key = keyOf(connection, asked);
      const found = kept.get(key);
      if (found === undefined || now() > found.expiresAt - MARGIN_MS) {
        return (await renew(key, connection, asked)).token;
      }
      // Meanwhile the old one serves; when no new one can be had the next request tries again.
      if (now() > found.renewAt) renew(key, connection, asked).catch(() => undefined);
      return found.token;
    },
    forget(connection) {
      const prefix = keyOf(connection);
      for (const key of [...kept.keys()]) if (key.startsWith(prefix)) kept.delete(key);
    },
  };
}
