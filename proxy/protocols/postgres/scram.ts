import { createHash, createHmac, pbkdf2, randomBytes, timingSafeEqual, type X509Certificate } from 'node:crypto';
import { promisify } from 'node:util';
import { randomPart } from '../../session/random.ts';

/**
 * The client's side of SCRAM-SHA-256 and -PLUS (RFC 5802, RFC 7677; manual, section "SCRAM-SHA-256 Authentication"). Pure but for
 * the nonce and the hashing, which runs outside the event loop.
 */

/** The server's part was not what the mechanism prescribes; `unproved`: it does not know the password. */
export class ScramError extends Error {
  override readonly name = 'ScramError';
  readonly kind: 'malformed' | 'unproved' | 'iterations';

  constructor(kind: ScramError['kind'], message: string) {
    super(message);
    this.kind = kind;
  }
}

export interface ScramKeys {
  readonly clientKey: Buffer;
  readonly serverKey: Buffer;
}

const derive = promisify(pbkdf2);
const KEY_BYTES = 32;
/** A hostile target could otherwise keep a thread busy for hours. The server's default is 4,096. */
export const MAX_ITERATIONS = 1_000_000;
const CACHE_ENTRIES = 256;

const hmac = (key: Uint8Array, data: string): Buffer => createHmac('sha256', key).update(data).digest();
const sha256 = (data: Uint8Array): Buffer => createHash('sha256').update(data).digest();

/** RFC 3454, table C.1.2: spaces that become U+0020. */
const SPACES = /[\u00a0\u1680\u2000-\u200b\u202f\u205f\u3000]/g;
/** RFC 3454, table B.1: what is mapped to nothing. */
const NOTHING = /\u00ad|\u034f|\u1806|\u180b|\u180c|\u180d|\u200c|\u200d|\u2060|[\ufe00-\ufe0f]|\ufeff/gu;
/** RFC 3454, tables C.2 to C.9: what SASLprep forbids. */
const FORBIDDEN = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}\u2ff0-\u2ffb\ufff9-\uffff]|\p{Noncharacter_Code_Point}/u;

/**
 * SASLprep (RFC 4013) as PostgreSQL applies it: a password that it forbids is used as it is. Code points that Unicode 3.2 did not
 * know are not told apart; normalisation leaves those alone in all but made-up cases.
 */
export function saslPrep(password: string): string {
  if (/^[\x20-\x7e]*$/.test(password)) return password;
  const prepared = password.replace(SPACES, ' ').replace(NOTHING, '').normalize('NFKC');
  return prepared === '' || FORBIDDEN.test(prepared) ? password : prepared;
}

/** What is derived from a password with a salt: what the server stores is `scramVerifier` of it. */
export async function scramKeys(password: string, salt: Buffer, iterations: number): Promise<ScramKeys> {
  const salted = await derive(saslPrep(password), salt, iterations, KEY_BYTES, 'sha256');
  return { clientKey: hmac(salted, 'Client Key'), serverKey: hmac(salted, 'Server Key') };
}

/**
 * The form in which PostgreSQL stores a password, for `CREATE ROLE … PASSWORD`: with it the password itself is never sent (manual,
 * section "pg_authid"). Who reads it can try guesses, and no more.
 */
export function scramVerifier(keys: ScramKeys, salt: Buffer, iterations: number): string {
  const stored = sha256(keys.clientKey).toString('base64');
  return `SCRAM-SHA-256$${iterations}:${salt.toString('base64')}$${stored}:${keys.serverKey.toString('base64')}`;
}

/** Keys by role, salt, iterations and password: hashing costs milliseconds, and a pool opens many connections. Memory only. */
export function createScramKeyCache(): (
  role: string,
  password: string,
  salt: Buffer,
  iterations: number,
) => Promise<ScramKeys> {
  // The password is part of the key, so that a changed Secret is never answered with the old one's keys; not as itself.
  const secret = randomBytes(32);
  const cache = new Map<string, Promise<ScramKeys>>();
  return (role, password, salt, iterations) => {
    const id = createHmac('sha256', secret)
      .update(JSON.stringify([role, password, salt.toString('base64'), iterations]))
      .digest('base64');
    const known = cache.get(id);
    if (known !== undefined) {
      cache.delete(id);
      cache.set(id, known);
      return known;
    }
    const keys = scramKeys(password, salt, iterations);
    const oldest = cache.size >= CACHE_ENTRIES ? cache.keys().next() : undefined;
    if (oldest?.done === false) cache.delete(oldest.value);
    cache.set(id, keys);
    keys.catch(() => cache.delete(id));
    return keys;
  };
}

/**
 * The data of channel binding type tls-server-end-point (RFC 5929, section 4.1): the certificate hashed as its signature is, with
 * SHA-256 for MD5 and SHA-1. Undefined for signatures that name no hash (Ed25519, RSASSA-PSS in this API).
 */
export function serverEndPoint(certificate: X509Certificate): Buffer | undefined {
  const algorithm = certificate.signatureAlgorithm ?? '';
  const hash = /sha-?(256|384|512)/i.exec(algorithm)?.[1];
  if (hash !== undefined) return createHash(`sha${hash}`).update(certificate.raw).digest();
  return /md5|sha-?1/i.test(algorithm) ? sha256(certificate.raw) : undefined;
}

export interface ScramClient {
  readonly mechanism: 'SCRAM-SHA-256' | 'SCRAM-SHA-256-PLUS';
  /** The client-first-message. */
  readonly first: Buffer;
  /** The client-final-message for the server's first. @throws ScramError */
  final(serverFirst: Buffer, keysOf: (salt: Buffer, iterations: number) => Promise<ScramKeys>): Promise<Buffer>;
  /** Checks the server's proof. @throws ScramError `unproved` */
  verify(serverFinal: Buffer): void;
}

const base64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/**
 * Picks the mechanism and begins. With a channel to bind to, the server's offer of -PLUS is taken; without that offer `y` tells the
 * server so, and it refuses when somebody took the offer out on the way.
 * @param offered mechanisms in the server's AuthenticationSASL
 * @returns undefined when SCRAM is not among them
 */
export function beginScram(
  offered: readonly string[],
  endPoint: Buffer | undefined,
  nonce = randomPart(18).toString('base64'),
): ScramClient | undefined {
  const plus = endPoint !== undefined && offered.includes('SCRAM-SHA-256-PLUS');
  if (!plus && !offered.includes('SCRAM-SHA-256')) return undefined;
  const header = plus ? 'p=tls-server-end-point,,' : endPoint === undefined ? 'n,,' : 'y,,';
  const bare = `n=,r=${nonce}`;
  let expected: Buffer | undefined;

  return {
    mechanism: plus ? 'SCRAM-SHA-256-PLUS' : 'SCRAM-SHA-256',
    first: Buffer.from(header + bare, 'latin1'),
    async final(serverFirst, keysOf) {
      const text = serverFirst.toString('latin1');
      const parts = /^r=([\x21-\x2b\x2d-\x7e]+),s=([A-Za-z0-9+/=]+),i=([0-9]{1,9})(?:,.*)?$/.exec(text);
      if (parts === null) throw new ScramError('malformed', 'the first message of SCRAM is malformed');
      const [, serverNonce = '', salt = '', rounds = ''] = parts;
      if (!serverNonce.startsWith(nonce) || serverNonce.length === nonce.length) {
        throw new ScramError('unproved', 'the nonce of SCRAM is not an extension of ours');
      }
      if (!base64.test(salt)) throw new ScramError('malformed', 'the salt of SCRAM is not base64');
      const iterations = Number(rounds);
      if (iterations < 1) throw new ScramError('malformed', 'no iterations');
      if (iterations > MAX_ITERATIONS) throw new ScramError('iterations', String(iterations));
      const keys = await keysOf(Buffer.from(salt, 'base64'), iterations);
      const binding = Buffer.concat([
        Buffer.from(header, 'latin1'),
        plus && endPoint !== undefined ? endPoint : Buffer.alloc(0),
      ]);
      const withoutProof = `c=${binding.toString('base64')},r=${serverNonce}`;
      const authMessage = `${bare},${text},${withoutProof}`;
      const signature = hmac(sha256(keys.clientKey), authMessage);
      const proof = Buffer.from(keys.clientKey.map((byte, at) => byte ^ (signature[at] ?? 0)));
      expected = hmac(keys.serverKey, authMessage);
      return Buffer.from(`${withoutProof},p=${proof.toString('base64')}`, 'latin1');
    },
    verify(serverFinal) {
      const value = /^v=([A-Za-z0-9+/=]+)(?:,.*)?$/.exec(serverFinal.toString('latin1'))?.[1] ?? '';
      const given = Buffer.from(base64.test(value) ? value : '', 'base64');
      if (expected === undefined || given.length !== expected.length || !timingSafeEqual(given, expected)) {
        throw new ScramError('unproved', 'the signature of SCRAM is wrong');
      }
    },
  };
}
