import type { CompiledConnection } from '../../../../policy/bundle.ts';
import type { Proof, TokenVerifier, VerifiedIdentity } from '../../../ports.ts';

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

/** What came of it. `rejected` is for the client: it says what to do, and nothing that an attacker could learn from. */
export type AuthOutcome =
  | { readonly accepted: VerifiedIdentity; readonly method: SignInMethod }
  /** Only for a key that is not `verified`: a signature with it would be accepted. */
  | { readonly acceptable: true }
  /** keyboard-interactive: the token is longer than what the client can send at once; ask for the rest of it. */
  | { readonly more: string }
  | { readonly rejected: string; readonly error: Error };

export type SignInMethod = 'connector' | 'password' | 'keyboard-interactive' | 'publickey' | 'certificate';

export type Authenticate = (attempt: AuthAttempt, signal: AbortSignal) => Promise<AuthOutcome>;

export interface AuthenticatorOptions {
  /** The connection behind the address that was dialled, as the bundle in force has it; undefined: it is there no more. */
  readonly connection: () => CompiledConnection | undefined;
  readonly verifier: TokenVerifier;
  /** The identity is proved by the stream that the client came on: then nothing is asked for. */
  readonly proof?: Proof;
  /** Address of the client without port. */
  readonly peer: string | undefined;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/**
 * Methods to offer, in this order: `none` alone where the stream proves who it is; `publickey` only where the connection has keys or
 * authorities.
 */
export type OfferedMethod = 'none' | 'publickey' | 'keyboard-interactive' | 'password';
