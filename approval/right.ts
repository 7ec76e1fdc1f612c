import { GROUP } from '../api/cluster.ts';
import type { ConnectionName } from './signers.ts';

/**
 * What the API server is asked about a voter (authorization.k8s.io/v1 SubjectAccessReview): the right to approve is the virtual verb
 * `approve` on the AccessConnection, so that plain RBAC grants it.
 */
export interface RightAsked {
  readonly user: string;
  readonly groups: readonly string[];
  readonly resourceAttributes: {
    readonly group: string;
    readonly resource: 'accessconnections';
    readonly verb: 'approve';
    readonly namespace: string;
    readonly name: string;
  };
}

/** Everybody who is signed in has it, and roles are bound to it. */
const AUTHENTICATED = 'system:authenticated';

/** @param groups of the voter, as whoever authenticated them says; `system:authenticated` is added */
export function rightToApprove(user: string, groups: readonly string[], connection: ConnectionName): RightAsked {
  return {
    user,
    groups: [...new Set([...groups, AUTHENTICATED])],
    resourceAttributes: {
      group: GROUP,
      resource: 'accessconnections',
      verb: 'approve',
      namespace: connection.namespace,
      name: connection.name,
    },
  };
}

/** Asks whether the user may. @throws when nobody can say: then they may not */
export type HasRight = (asked: RightAsked, signal?: AbortSignal) => Promise<boolean>;

/**
 * Whether a person, as a token names them to Sallyport (`ALIAS:NAME`), may be the user of the API server: the same name behind whatever
 * prefix either side gives it (`oidc:ada@example.com`, `https://issuer#ada@example.com`). Rather once too often than once too few.
 * Service accounts are known by their whole name on both sides.
 */
export function mayBeSamePerson(username: string, named: string): boolean {
  if (username === named) return true;
  if (username.startsWith('system:') || named.startsWith('system:')) return false;
  const bare = (name: string): string => name.slice(Math.max(name.lastIndexOf(':'), name.lastIndexOf('#')) + 1);
  return bare(username).toLowerCase() === bare(named).toLowerCase();
}
