import { createHash } from 'node:crypto';
import type { CompiledConnection } from '../../../../policy/bundle.ts';
import type { ClusterIdentity, CredentialSource, StoredHttpCredential } from '../../../ports.ts';
import { HttpRefused, reportOf } from '../core/errors.ts';
import { laneError } from '../errors.ts';
import { type Concealer, createConcealer } from './conceal.ts';
import { fetchAccessToken } from './oauth.ts';
import { type AccessToken, createTokenCache, type TokenCache } from './tokens.ts';

/** What one request to a target is sent with. */
export interface SignIn {
  /** Put into the request, in place of whatever the client calls so. Name in lower case. */
  readonly field: { readonly name: string; readonly value: string } | undefined;
  readonly clientCertificate: { readonly certificate: string; readonly key: string } | undefined;
  /** PEM of target.tls.caRef. */
  readonly certificateAuthorities: string | undefined;
  /** Looks for the credential in what comes back; undefined: nothing is sent that could be echoed. */
  readonly concealer: Concealer | undefined;
  /** For the record: `credential.used` once in a session, and again when `id` is another. */
  readonly used:
    | {
        readonly id: string;
        readonly type: string;
        readonly username: string;
        readonly reference: string;
        readonly expires?: Date;
      }
    | undefined;
  /** The target did not accept it: the next sign-in is with a fresh token. Undefined: there is no other. */
  readonly reject: (() => void) | undefined;
}

export interface SignIns {
  /**
   * At once where nothing has to be read or fetched.
   * @param waiting its signal is asked for only where a token has to be waited for
   * @throws HttpRefused SPE106 and SPE107; the signal's reason
   */
  of(connection: CompiledConnection, waiting: { readonly signal: AbortSignal }): SignIn | Promise<SignIn>;
}

export interface SignInOptions {
  readonly credentials: CredentialSource;
  /** Undefined: Sallyport does not run in a cluster. */
  readonly cluster: ClusterIdentity | undefined;
  readonly now: () => number;
  /** For the log: which connection's credential could not be renewed, and why. */
  readonly failed: (connection: string, error: Error) => void;
  /** A token was made. @param lifetimeSeconds from its issue */
  readonly issued: (connection: CompiledConnection, lifetimeSeconds: number) => void;
}

/** How long a stored secret is used before it is read again: requests come faster than secrets change. */
const READ_AGAIN_MS = 5000;

interface Stored {
  readonly at: number;
  readonly read: Promise<Read>;
  /** Once it is there. */
  found: Read | undefined;
}

interface Read {
  readonly credential: StoredHttpCredential | undefined;
  readonly certificateAuthorities: string | undefined;
  readonly signIn: SignIn | undefined;
  readonly tokens: TokenCache | undefined;
  /** With the token that was in force last. */
  last: { readonly token: AccessToken; readonly before: AccessToken | undefined; readonly signIn: SignIn } | undefined;
}

export function createSignIns({ credentials, cluster, now, failed, issued }: SignInOptions): SignIns {
  const concealerOf = rememberedConcealers();
  const stored = new WeakMap<CompiledConnection, Stored>();
  /** By what a token depends on, so that a new bundle, or the same secret read again, fetches none. */
  const caches = new Map<string, { readonly id: string; readonly tokens: TokenCache }>();
  const labelOf = ({ namespace, name }: CompiledConnection): string => `${namespace}/${name}`;

  function tokensFor(connection: CompiledConnection, id: string, fetch: () => Promise<AccessToken>): TokenCache {
    const label = labelOf(connection);
    const known = caches.get(label);
    if (known?.id === id) return known.tokens;
    const tokens = createTokenCache({
      fetch,
      now,
      failed: (error) => failed(label, error),
      issued: ({ issuedAt, expiresAt }) => issued(connection, (expiresAt - issuedAt) / 1000),
    });
    caches.set(label, { id, tokens });
    return tokens;
  }

  function tokensOf(
    connection: CompiledConnection,
    credential: StoredHttpCredential | undefined,
  ): TokenCache | undefined {
    const { oauthClientCredentials: oauth, serviceAccountToken: account } = connection.credential;
    const client = credential?.oauthClient;
    if (oauth !== undefined && client !== undefined)
      return tokensFor(connection, digest(oauth, client), () => fetchAccessToken(oauth, client, now));
    if (account === undefined) return undefined;
    // A token without an audience of its own is one for the API server, which no other target may be given.
    if (cluster === undefined || account.audiences.length === 0) throw new HttpRefused(laneError('SPE106'));
    const { namespace } = connection;
    return tokensFor(connection, digest(account), async () => {
      const { name, audiences, ttlMs } = account;
      const asked = { audiences, ttlSeconds: Math.round(ttlMs / 1000) };
      const issuedAt = now();
      const made = await cluster.serviceAccountToken({ namespace, name }, asked, AbortSignal.timeout(TOKEN_REQUEST_MS));
      return { token: made.token, issuedAt, expiresAt: made.expiresAt.getTime() };
    });
  }

  async function read(connection: CompiledConnection): Promise<Read> {
    const account = connection.credential.serviceAccountToken !== undefined;
    const [credential, certificateAuthorities] = await Promise.all([
      account ? undefined : credentials.http(connection),
      connection.target.tls.mode === 'Disable' ? undefined : credentials.certificateAuthorities(connection),
    ]);
    const tokens = tokensOf(connection, credential);
    const signIn =
      tokens === undefined ? fixedSignIn(connection, credential, certificateAuthorities, concealerOf) : undefined;
    return { credential, certificateAuthorities, signIn, tokens, last: undefined };
  }

  function readOnce(connection: CompiledConnection): Promise<Read> {
    const known = stored.get(connection);
    if (known !== undefined && now() - known.at < READ_AGAIN_MS) return known.read;
    const reading = read(connection);
    const made: Stored = { at: now(), read: reading, found: undefined };
    stored.set(connection, made);
    reading.then(
      (found) => {
        made.found = found;
      },
      // What could not be read a moment ago may be there for the next request.
      () => stored.delete(connection),
    );
    return reading;
  }

  /** The token's digest and the forms that it could come back in are made once. */
  function withToken(connection: CompiledConnection, found: Read, tokens: TokenCache, token: AccessToken): SignIn {
    const { credential, certificateAuthorities, last } = found;
    const { known } = tokens;
    const before = known.find((each) => each !== token);
    if (last !== undefined && last.token === token && last.before === before) return last.signIn;
    const secrets = [...known.map((each) => each.token), token.token];
    const { oauthClientCredentials: oauth, serviceAccountToken: account } = connection.credential;
    const signIn: SignIn = {
      field: { name: 'authorization', value: `Bearer ${token.token}` },
      clientCertificate: credential?.clientCertificate,
      certificateAuthorities,
      concealer: concealerOf(
        credential?.oauthClient === undefined ? secrets : [...secrets, credential.oauthClient.secret],
      ),
      used: {
        id: digest(token.token),
        type: oauth === undefined ? 'serviceAccountToken' : 'oauth',
        username: credential?.oauthClient?.id ?? `system:serviceaccount:${connection.namespace}:${account?.name}`,
        reference: oauth === undefined ? 'TokenRequest' : `Secret ${connection.namespace}/${oauth.secretRef.name}`,
        expires: new Date(token.expiresAt),
      },
      reject: () => tokens.reject(token),
    };
    found.last = { token, before, signIn };
    return signIn;
  }

  /** Undefined: something has to be waited for. */
  function atOnce(connection: CompiledConnection): SignIn | undefined {
    const known = stored.get(connection);
    const found = known?.found;
    if (known === undefined || found === undefined || now() - known.at >= READ_AGAIN_MS) return undefined;
    const { tokens } = found;
    if (tokens === undefined) return found.signIn ?? NOTHING;
    const token = tokens.usable();
    return token === undefined ? undefined : withToken(connection, found, tokens, token);
  }

  async function waitedFor(connection: CompiledConnection, waiting: { readonly signal: AbortSignal }): Promise<SignIn> {
    let found: Read;
    try {
      found = await readOnce(connection);
    } catch (error) {
      failed(labelOf(connection), error instanceof Error ? error : new Error(String(error)));
      throw unusable(error);
    }
    const { signIn, tokens } = found;
    if (tokens === undefined) return signIn ?? NOTHING;
    const { signal } = waiting;
    let token: AccessToken;
    try {
      token = await tokens.current(signal);
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      failed(labelOf(connection), error instanceof Error ? error : new Error(String(error)));
      throw error instanceof HttpRefused ? error : unusable(error);
    }
    return withToken(connection, found, tokens, token);
  }

  return { of: (connection, waiting) => atOnce(connection) ?? waitedFor(connection, waiting) };
}

const TOKEN_REQUEST_MS = 10_000;

const NOTHING: SignIn = {
  field: undefined,
  clientCertificate: undefined,
  certificateAuthorities: undefined,
  concealer: undefined,
  used: undefined,
  reject: undefined,
};

function fixedSignIn(
  connection: CompiledConnection,
  credential: StoredHttpCredential | undefined,
  certificateAuthorities: string | undefined,
  concealerOf: Concealers,
): SignIn {
  if (credential === undefined) return { ...NOTHING, certificateAuthorities };
  const { header, clientCertificate } = credential;
  const { secretRef, httpHeader } = connection.credential;
  return {
    field: header === undefined ? undefined : { name: header.name, value: latin1(header.value) },
    clientCertificate,
    certificateAuthorities,
    concealer: header === undefined ? undefined : concealerOf(header.secrets),
    used: {
      id: digest(header?.value ?? '', clientCertificate?.certificate ?? ''),
      type: header?.type ?? 'certificate',
      username: header?.username ?? (header?.type === 'header' ? header.name : ''),
      reference: `Secret ${connection.namespace}/${httpHeader?.secretRef.name ?? secretRef?.name ?? ''}`,
    },
    reject: undefined,
  };
}

/** Field values are bytes, which Node takes as Latin-1; a Secret is UTF-8. */
const latin1 = (text: string): string => Buffer.from(text, 'utf8').toString('latin1');

/** The forms of a secret are many, and the same ones are wanted for each answer. */
type Concealers = (secrets: readonly string[]) => Concealer | undefined;

const MOST_CONCEALERS = 256;

function rememberedConcealers(): Concealers {
  const known = new Map<string, Concealer | undefined>();
  return (secrets) => {
    const wanted = [...new Set(secrets)];
    const key = digest(wanted);
    if (!known.has(key)) {
      if (known.size >= MOST_CONCEALERS) known.clear();
      known.set(key, createConcealer(wanted));
    }
    return known.get(key);
  };
}

const digest = (...parts: readonly unknown[]): string =>
  createHash('sha256').update(JSON.stringify(parts)).digest('base64url').slice(0, 22);

/** Whatever is wrong with a Secret is the platform team's to read, in the log. */
function unusable(error: unknown): HttpRefused {
  if (error instanceof HttpRefused) return error;
  const { code } = reportOf(error);
  return new HttpRefused(laneError('SPE106', '', { detail: code }), error);
}
