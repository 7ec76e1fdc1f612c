import type { KeyObject } from 'node:crypto';

/** A person who votes, as known now. */
export interface Voter {
  readonly name: string;
  readonly groups: readonly string[];
  /** Every name that the person goes by as a subject: who is one of these asks for themselves. */
  readonly subjects: readonly string[];
  /** Whether who asks, or is behind it, may be this person, where names are not listed; absent: only those of `subjects`. */
  readonly mayBe?: (name: string) => boolean;
}

/**
 * Whose signature a key makes. A `voter` key speaks for one person; an `authority` is a party that authenticates people itself, such
 * as the operator in a cluster, and speaks for whoever it names.
 */
export type Signer =
  | { readonly kind: 'voter'; readonly name: string; readonly key: KeyObject }
  | { readonly kind: 'authority'; readonly key: KeyObject };

export interface ConnectionName {
  readonly namespace: string;
  readonly name: string;
}

/** Who may sign and vote at one moment. */
export interface Signers {
  /** Whose key `id` (see `keyId`) is. Undefined: nobody's, or not any more. */
  signer(id: string): Signer | undefined;
  /**
   * The voter, when they have the right to approve on the connection now; undefined when not.
   * @param groups as an authority vouched for them; empty for a vote that the voter signed
   */
  voter(name: string, groups: readonly string[], connection: ConnectionName): Promise<Voter | undefined>;
  /** Everybody with the right on the connection, where that can be listed: lets a request that nobody could approve be refused at once. */
  voters?(connection: ConnectionName): readonly Voter[];
}

/** Asked anew for every look at votes, so that a right that was lost between vote and release counts no more. */
export interface SignerDirectory {
  /** Never rejects: who cannot be known has no right, and why is told where the directory was made. */
  current(): Promise<Signers>;
}

/** Nobody: approvals are not set up. */
export const NO_SIGNERS: Signers = {
  signer: () => undefined,
  voter: () => Promise.resolve(undefined),
  voters: () => [],
};
