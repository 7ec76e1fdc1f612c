import { parsePublicKey } from '../../../approval/keys.ts';
import { type HasRight, mayBeSamePerson, rightToApprove } from '../../../approval/right.ts';
import { NO_SIGNERS, type Signer, type SignerDirectory, type Signers } from '../../../approval/signers.ts';
import { keyId } from '../../../approval/vote.ts';
import { isAllowed } from '../../../kube/subject-access.ts';
import type { KubeClient } from '../../../kube/types.ts';

export interface ClusterSignersOptions {
  /** `voteAuthorities` of the bundle in force: public keys in base64. */
  readonly authorities: () => readonly string[];
  readonly hasRight: HasRight;
}

/** Asks the API server, anew each time. */
export function askApiServer(client: KubeClient): HasRight {
  return ({ user, groups, resourceAttributes }, signal) =>
    isAllowed(client, { user, groups, resourceAttributes }, signal);
}

/**
 * In a cluster the operator signs for whoever the API server authenticated, and RBAC says who may: asked at each count of votes, so
 * that a right which was lost between vote and release counts no more. Groups are those that the operator vouched for in the vote.
 */
export function createClusterSigners({ authorities, hasRight }: ClusterSignersOptions): SignerDirectory {
  let known: { readonly keys: string; readonly signers: Signers } | undefined;

  function signersOf(texts: readonly string[]): Signers {
    const keys = new Map<string, Signer>();
    for (const text of texts) {
      const key = parsePublicKey(text);
      if (key !== undefined) keys.set(keyId(key), { kind: 'authority', key });
    }
    if (keys.size === 0) return NO_SIGNERS;
    return {
      signer: (id) => keys.get(id),
      voter: async (name, groups, connection) =>
        (await hasRight(rightToApprove(name, groups, connection)))
          ? { name, groups, subjects: [], mayBe: (person) => mayBeSamePerson(name, person) }
          : undefined,
    };
  }

  return {
    current() {
      const texts = authorities();
      const keys = texts.join('\n');
      if (known?.keys !== keys) known = { keys, signers: signersOf(texts) };
      return Promise.resolve(known.signers);
    },
  };
}
