import type { CompiledConnection } from '../../../../policy/bundle.ts';
import type { Proof, TokenVerifier, VerifiedIdentity } from '../../../ports.ts';
import { SshIdentityError } from './errors.ts';
import { identityOfKey } from './keys.ts';
import type { AuthAttempt, Authenticate, OfferedMethod, SignInMethod } from './port.ts';
import type { Registrations } from './registrations.ts';

interface SignedIn {
  readonly identity: VerifiedIdentity;
  readonly method: SignInMethod;
}

export interface AuthenticatorOptions {
  /** The connection behind the address that was dialled, as the bundle in force has it; undefined: it is there no more. */
  readonly connection: () => CompiledConnection | undefined;
  readonly verifier: TokenVerifier;
  readonly registrations: Registrations;
  /** The identity is proved by the stream that the client came on: then nothing is asked for. */
  readonly proof?: Proof;
  /** Address of the client without port. */
  readonly peer: string | undefined;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

export interface Authenticator {
  /** What clients are offered, best first. */
  readonly methods: readonly OfferedMethod[];
  readonly authenticate: Authenticate;
}

/** As OpenSSH's client reads a password: 1023 bytes and no more (readpass.c). */
const CLIENT_CUTS_AT = 1023;
/** What is wrong between Sallyport and an issuer is the platform team's business, and holds addresses. */
const BETWEEN_US: ReadonlySet<string> = new Set(['SPI015', 'SPI016', 'SPI029', 'SPI032']);
const LATER = 'the token could not be verified just now: try again; the platform team finds the cause in the log';

type Coded = Error & { readonly code: string; readonly hint: string };

/** What an error of identity looks like; `proxy/identity` is known here by its port only. */
function isCoded(error: unknown): error is Coded {
  const { code, hint } = error as Partial<Coded>;
  return error instanceof Error && typeof code === 'string' && typeof hint === 'string';
}

/** What a refused client reads: which rule, and what to do. */
function told({ code, message, hint }: Coded): string {
  return BETWEEN_US.has(code) ? `${code}: ${LATER}` : `${code}: ${message}. ${hint}`;
}

/** Brings the attempts of one client to an identity. Made for each client; tokens stay in no field of it once it is over. */
export function createAuthenticator(options: AuthenticatorOptions): Authenticator {
  const { proof, verifier, peer } = options;
  const offered = options.connection()?.ssh;
  const keys = (offered?.authorizedKeys.length ?? 0) + (offered?.trustedUserCAs.length ?? 0) > 0;
  /** The first part of a token that the client can only send in parts. */
  let begun = '';

  async function identify(attempt: AuthAttempt, signal: AbortSignal): Promise<SignedIn | 'more'> {
    if (proof !== undefined) return { identity: await proof(signal), method: 'connector' };
    switch (attempt.method) {
      case 'none':
        throw new SshIdentityError('SPI049');
      case 'password':
        return { identity: await verified(attempt.password, signal), method: 'password' };
      case 'keyboard-interactive': {
        const answer = attempt.answers.join('');
        const token = begun + answer;
        begun = '';
        try {
          return { identity: await verifier.verify(token, signal, peer), method: 'keyboard-interactive' };
        } catch (error) {
          // One that ends just where a client cuts is whole all the same: it was tried first.
          const cut = Buffer.byteLength(answer) === CLIENT_CUTS_AT && token.length < MAX_PARTS * CLIENT_CUTS_AT;
          if (!cut || signal.aborted || !isCoded(error)) throw error;
          begun = token;
          return 'more';
        }
      }
      case 'publickey': {
        const connection = options.connection();
        if (connection === undefined) throw new SshIdentityError('SPI048');
        return identityOfKey(connection, attempt, options);
      }
      default:
        return attempt satisfies never;
    }
  }

  async function verified(token: string, signal: AbortSignal): Promise<VerifiedIdentity> {
    try {
      return await verifier.verify(token, signal, peer);
    } catch (error) {
      // Its signature is not wrong: there is too little of it.
      if (isCoded(error) && Buffer.byteLength(token) === CLIENT_CUTS_AT)
        throw new SshIdentityError('SPI047', [String(CLIENT_CUTS_AT)]);
      throw error;
    }
  }

  /** What the client was told last. */
  let words = '';
  const asked: readonly OfferedMethod[] = [
    ...(keys ? (['publickey'] as const) : []),
    'keyboard-interactive',
    'password',
  ];
  return {
    // With a proof whatever a client begins with is as good as nothing.
    methods: proof === undefined ? asked : ['none', 'publickey', 'keyboard-interactive', 'password'],
    async authenticate(attempt, signal) {
      try {
        const found = await identify(attempt, signal);
        if (attempt.method === 'publickey' && !attempt.verified) return { acceptable: true };
        // The position lets a program answer that keeps nothing in mind, as an SSH_ASKPASS does.
        if (found === 'more') return { more: `Rest of the token, from character ${begun.length + 1}: ` };
        return { accepted: found.identity, method: found.method };
      } catch (error) {
        if (signal.aborted || !isCoded(error)) throw error;
        const said = worthWords(attempt, error) ? told(error) : '';
        // Each of a client's keys would be told the same.
        const rejected = said === words ? '' : said;
        words = said === '' ? words : said;
        return { rejected, error };
      }
    },
  };
}

/** Clients begin with nothing, to be told the methods, and agents go through every key that they have. */
function worthWords({ method }: AuthAttempt, { code }: Coded): boolean {
  return method !== 'none' ? code !== 'SPI041' : code !== 'SPI049';
}

/** More than any token that is accepted, so that its own error can be given. */
const MAX_PARTS = 20;
