import type { VerifiedIdentity } from '../../../ports.ts';

/** One attempt of a client to prove who it is (RFC 4252), as the transport hands it over. */
export type AuthAttempt = { readonly username: string } & (
  | { readonly method: 'none' }
  | { readonly method: 'password'; readonly password: string }
  | { readonly method: 'keyboard-interactive'; readonly answers: readonly string[] }
  | {
      readonly method: 'publickey';
      readonly algorithm: string;
      /** Blob of a public key, or of a certificate. */
      readonly key: Buffer;
      /** False: the client asks whether a signature would be worth it. True: the transport has checked one. */
      readonly verified: boolean;
    }
);

/**
 * What came of it. `rejected` is for the client, in front of the failure (SSH_MSG_USERAUTH_BANNER): it says what to do, and nothing that
 * an attacker could learn from; empty where there is nothing to say, as for one of the many keys of an agent. `error` is for log and record.
 */
export type AuthOutcome =
  | { readonly accepted: VerifiedIdentity; readonly method: SignInMethod }
  /** Only for a key that is not `verified`: a signature with it would be accepted. */
  | { readonly acceptable: true }
  /** keyboard-interactive: the token is longer than what the client can send at once; ask for the rest of it. */
  | { readonly more: string }
  | { readonly rejected: string; readonly error: Error };

export type SignInMethod = 'connector' | 'password' | 'keyboard-interactive' | 'publickey' | 'certificate';

export type Authenticate = (attempt: AuthAttempt, signal: AbortSignal) => Promise<AuthOutcome>;

/** What a client may be offered. `none` says that nothing need be offered, since the stream that it came on proves who it is. */
export type OfferedMethod = 'none' | 'publickey' | 'keyboard-interactive' | 'password';
