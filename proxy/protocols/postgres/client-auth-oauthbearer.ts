import { StartupError, shown } from './startup-errors.ts';

/**
 * SASL OAUTHBEARER as PostgreSQL 18's libpq speaks it (RFC 7628; manual, section "SASL OAUTHBEARER Authentication"). Strict: what
 * the server would refuse is refused here.
 */
export const OAUTHBEARER = 'OAUTHBEARER';
const KVSEP = 0x01;

/** The answer of a client that has seen an error result (RFC 7628, section 3.2.3). */
export function isErrorAcknowledgement(body: Buffer): boolean {
  return body.length === 1 && body[0] === KVSEP;
}

export interface SaslInitialResponse {
  readonly mechanism: string;
  /** Undefined when the client sent none: it waits for an empty challenge. */
  readonly response: Buffer | undefined;
}

/** SASLInitialResponse: mechanism name, Int32 length or -1, response. @throws StartupError SPG111 */
export function saslInitialResponse(body: Buffer): SaslInitialResponse {
  const end = body.indexOf(0);
  if (end < 0 || end + 5 > body.length) throw new StartupError('SPG111', 'the message is truncated');
  const mechanism = body.toString('latin1', 0, end);
  if (mechanism !== OAUTHBEARER) throw new StartupError('SPG111', `mechanism ${shown(mechanism)} was not offered`);
  const length = body.readInt32BE(end + 1);
  const response = body.subarray(end + 5);
  if (length === -1 && response.length === 0) return { mechanism, response: undefined };
  if (length !== response.length) throw new StartupError('SPG111', 'its length is not that of the response');
  return { mechanism, response };
}

/**
 * The token in a client's first response: `n,,` kvsep `auth=Bearer TOKEN` kvsep kvsep. An empty `auth` asks for discovery.
 * @returns the token, or undefined for discovery
 * @throws StartupError SPG111, never quoting the response
 */
export function bearerToken(response: Buffer): string | undefined {
  if (response.length === 0) throw new StartupError('SPG111', 'the message is empty');
  const text = response.toString('latin1');
  switch (text[0]) {
    case 'n':
    case 'y':
      break;
    case 'p':
      throw new StartupError('SPG111', 'channel binding is not defined for it');
    default:
      throw new StartupError('SPG111', 'unexpected channel-binding flag');
  }
  if (text[1] !== ',') throw new StartupError('SPG111', 'comma expected after the channel-binding flag');
  if (text[2] === 'a') throw new StartupError('SPG111', 'an authorization identity is not supported');
  if (text[2] !== ',') throw new StartupError('SPG111', 'unexpected attribute in the header');
  if (text[3] !== '\x01') throw new StartupError('SPG111', 'key-value separator expected after the header');
  let auth: string | undefined;
  let at = 4;
  for (;;) {
    const end = text.indexOf('\x01', at);
    if (end < 0) throw new StartupError('SPG111', 'an unterminated key/value pair, or no final terminator');
    if (end === at) {
      at = end + 1;
      break;
    }
    const pair = text.slice(at, end);
    const equals = pair.indexOf('=');
    if (equals < 0) throw new StartupError('SPG111', 'a key without a value');
    const key = pair.slice(0, equals);
    const value = pair.slice(equals + 1);
    if (!/^[A-Za-z]+$/.test(key)) throw new StartupError('SPG111', 'an invalid key name');
    if (!/^[\x21-\x7e \t\r\n]*$/.test(value)) throw new StartupError('SPG111', 'an invalid value');
    if (key === 'auth') {
      if (auth !== undefined) throw new StartupError('SPG111', 'several auth values');
      auth = value;
    }
    at = end + 1;
  }
  if (at !== text.length) throw new StartupError('SPG111', 'data after the final terminator');
  if (auth === undefined) throw new StartupError('SPG111', 'no auth value');
  if (auth === '') return undefined;
  // The scheme is case-insensitive, the token is not (RFC 7235, section 2.1; RFC 6750, section 2.1).
  const token = /^bearer +([A-Za-z0-9._~+/-]+=*)$/i.exec(auth)?.[1];
  if (token === undefined) throw new StartupError('SPG111', 'auth is not a bearer token');
  return token;
}

/** The error result: tells a client where tokens come from (RFC 7628, section 3.2.2). */
export function errorResult(discovery: { readonly openidConfiguration?: string; readonly scope?: string }): Buffer {
  return Buffer.from(
    JSON.stringify({
      status: 'invalid_token',
      ...(discovery.openidConfiguration === undefined ? {} : { 'openid-configuration': discovery.openidConfiguration }),
      scope: discovery.scope ?? '',
    }),
    'utf8',
  );
}
