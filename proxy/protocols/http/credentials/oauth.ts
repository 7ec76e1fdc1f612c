import http from 'node:http';
import https from 'node:https';
import type { OAuthClientCredentials } from '../../../../policy/bundle.ts';
import { HttpRefused } from '../core/errors.ts';
import { laneError } from '../errors.ts';
import type { AccessToken } from './tokens.ts';

/** The client, out of its Secret. */
export interface OAuthClient {
  readonly id: string;
  readonly secret: string;
  /** PEM; undefined: the system's. */
  readonly certificateAuthorities: string | undefined;
}

/** An answer of a token endpoint has a few hundred bytes, or a few thousand where the token is a JWT. */
const MAX_BYTES = 65_536;
const TIMEOUT_MS = 10_000;
/** Where the server does not say how long a token lives (RFC 6749, section 5.1: it is recommended only). */
const DEFAULT_LIFETIME_S = 300;
const MAX_LIFETIME_S = 86_400;
const BEARER = /^[A-Za-z0-9._~+/-]+=*$/;

/**
 * Asks the token endpoint once (RFC 6749, section 4.4.2). Follows no redirect: the address is the platform team's choice.
 * @throws HttpRefused SPE107, whose words tell an agent no more than that it failed and with which error code of RFC 6749
 */
export async function fetchAccessToken(
  oauth: OAuthClientCredentials,
  client: OAuthClient,
  now: () => number,
): Promise<AccessToken> {
  const form = new URLSearchParams({ grant_type: 'client_credentials' });
  if (oauth.scopes.length > 0) form.set('scope', oauth.scopes.join(' '));
  if (oauth.audience !== undefined) form.set('audience', oauth.audience);
  if (oauth.resource !== undefined) form.set('resource', oauth.resource);
  const headers: Record<string, string> = {
    accept: 'application/json',
    'content-type': 'application/x-www-form-urlencoded',
    'user-agent': 'sallyport',
  };
  if (oauth.clientAuthentication === 'Post') {
    form.set('client_id', client.id);
    form.set('client_secret', client.secret);
  } else headers['authorization'] = `Basic ${basicPair(client)}`;
  const asked = now();
  const { status, body } = await post(oauth.tokenURL, headers, form.toString(), client.certificateAuthorities);
  const answer = parsed(body);
  if (status !== 200) {
    const error = answer['error'];
    // Of RFC 6749, section 5.2, where it is one of them: a free text could name what agents must not know.
    throw refused(typeof error === 'string' && /^[a-z_]{1,40}$/.test(error) ? error : `status ${status}`);
  }
  const { access_token: token, token_type: type, expires_in: lifetime } = answer;
  if (typeof token !== 'string' || !BEARER.test(token)) throw refused('its answer has no usable access_token');
  if (typeof type !== 'string' || type.toLowerCase() !== 'bearer')
    throw refused('the token is of another type than Bearer');
  const seconds = Number(lifetime ?? DEFAULT_LIFETIME_S);
  if (!(seconds > 0)) throw refused('expires_in is no time');
  return { token, issuedAt: asked, expiresAt: asked + Math.min(seconds, MAX_LIFETIME_S) * 1000 };
}

/** Both parts are form-encoded first (RFC 6749, section 2.3.1). */
function basicPair({ id, secret }: OAuthClient): string {
  const encoded = (text: string): string => new URLSearchParams({ a: text }).toString().slice(2);
  return Buffer.from(`${encoded(id)}:${encoded(secret)}`, 'utf8').toString('base64');
}

function parsed(body: Buffer): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'));
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

const refused = (why: string, cause?: unknown): HttpRefused => new HttpRefused(laneError('SPE107', why), cause);

function post(
  url: string,
  headers: Readonly<Record<string, string>>,
  body: string,
  ca: string | undefined,
): Promise<{ readonly status: number; readonly body: Buffer }> {
  return new Promise((resolve, reject) => {
    const failed = (error: Error & { code?: string }): void =>
      reject(refused(error.name === 'TimeoutError' ? 'it did not answer in time' : 'it cannot be reached', error));
    const request = (url.startsWith('https:') ? https : http).request(
      url,
      {
        method: 'POST',
        agent: false,
        headers: { ...headers, 'content-length': Buffer.byteLength(body) },
        signal: AbortSignal.timeout(TIMEOUT_MS),
        ...(ca === undefined ? {} : { ca }),
      },
      (response) => {
        const chunks: Buffer[] = [];
        let size = 0;
        response.on('data', (chunk: Buffer) => {
          size += chunk.length;
          if (size > MAX_BYTES) response.destroy(new Error('the answer is too long'));
          else chunks.push(chunk);
        });
        response.on('error', failed);
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks) }));
      },
    );
    request.on('error', failed);
    request.end(body);
  });
}
