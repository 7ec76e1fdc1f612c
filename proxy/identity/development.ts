import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { errors, jwtVerify, SignJWT } from 'jose';
import type { Subject } from '../../policy/subject.ts';
import { isLoopback } from '../listener/loopback.ts';
import type { VerifiedIdentity } from '../ports.ts';
import { identityError, quoted } from './errors.ts';
import { CLOCK_SKEW_SECONDS, checkClaims } from './oidc.ts';
import { createPrivate, privateFolder, readPrivate } from './state-files.ts';
import type { IssuerVerifier } from './verifier.ts';

/**
 * The development issuer of a standalone gateway: whoever may read its key in the state folder may be anybody, so its tokens are
 * accepted from this machine only. It stands in for the cluster's service accounts and for outside issuers.
 */
export const DEVELOPMENT_ISSUER = 'sallyport:development';
export const DEVELOPMENT_AUDIENCE = 'sallyport';
const MAX_LIFETIME_SECONDS = 24 * 3600;
/** Claims with a meaning of their own, which `--claim` must not forge. */
const RESERVED = new Set(['iss', 'aud', 'sub', 'exp', 'iat', 'nbf', 'jti', 'cnf', 'groups']);

/** The key, made at first use: STATE/issuer/key.pem, Ed25519 in PKCS #8, mode 0600. @throws IdentityError SPI018 */
export async function developmentKey(stateFolder: string): Promise<KeyObject> {
  const folder = join(stateFolder, 'issuer');
  const path = join(folder, 'key.pem');
  try {
    await privateFolder(folder);
    let pem = await readPrivate(path);
    if (pem === undefined) {
      const { privateKey } = generateKeyPairSync('ed25519');
      await createPrivate(path, privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), randomUUID());
      pem = await readPrivate(path);
    }
    const key = createPrivateKey(pem ?? '');
    if (key.asymmetricKeyType !== 'ed25519') throw new Error('it is not an Ed25519 key');
    return key;
  } catch (error) {
    // The decoder's message never holds key material, but its wording is of no use to the reader.
    const why =
      error instanceof Error && !('opensslErrorStack' in error) ? error.message : 'it is not a private key in PEM';
    throw identityError('SPI018', [path, why], error);
  }
}

const LABEL = '[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?';
const SERVICE_ACCOUNT = new RegExp(`^system:serviceaccount:(${LABEL}):([a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?)$`);
const QUALIFIED = new RegExp(`^(${LABEL}):(\\P{C}{1,256})$`, 'u');

/** What a subject's name says: a service account, or somebody of an outside issuer. @throws IdentityError SPI019, SPI021 */
export function developmentSubject(
  name: string,
  groups: readonly string[],
  claims: Readonly<Record<string, unknown>>,
): Subject {
  for (const group of groups) {
    const alias = QUALIFIED.exec(group)?.[1];
    if (alias === undefined || alias === 'system') throw identityError('SPI021', [quoted(group)]);
  }
  const account = SERVICE_ACCOUNT.exec(name);
  if (account !== null) {
    const [, namespace = '', accountName = ''] = account;
    // The groups that an API server gives to every service account.
    const own = ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated'];
    return { username: name, serviceAccount: { namespace, name: accountName }, groups: [...own, ...groups], claims };
  }
  const issuer = QUALIFIED.exec(name)?.[1];
  if (issuer === undefined || issuer === 'system') throw identityError('SPI019', [quoted(name)]);
  return { username: name, issuer, groups, claims };
}

export interface DevelopmentTokenRequest {
  /** `system:serviceaccount:NAMESPACE:NAME` or `ALIAS:SUBJECT`. */
  readonly subject: string;
  /** Each `ALIAS:GROUP`. */
  readonly groups: readonly string[];
  readonly claims: Readonly<Record<string, unknown>>;
  readonly ttlSeconds: number;
}

/** A signed token, as its compact text. @throws IdentityError SPI019, SPI021, SPI022, SPI023 */
export async function signDevelopmentToken(
  key: KeyObject,
  request: DevelopmentTokenRequest,
  nowMs: number,
): Promise<string> {
  for (const claim of Object.keys(request.claims)) {
    if (claim === '' || RESERVED.has(claim)) throw identityError('SPI022', [quoted(claim)]);
  }
  developmentSubject(request.subject, request.groups, request.claims);
  const { ttlSeconds } = request;
  if (!Number.isInteger(ttlSeconds) || ttlSeconds < 1 || ttlSeconds > MAX_LIFETIME_SECONDS) {
    throw identityError('SPI023', [ttlSeconds]);
  }
  const issuedAt = Math.floor(nowMs / 1000);
  return new SignJWT({ ...request.claims, ...(request.groups.length > 0 ? { groups: [...request.groups] } : {}) })
    .setProtectedHeader({ alg: 'EdDSA', typ: 'JWT' })
    .setIssuer(DEVELOPMENT_ISSUER)
    .setAudience(DEVELOPMENT_AUDIENCE)
    .setSubject(request.subject)
    .setIssuedAt(issuedAt)
    .setExpirationTime(issuedAt + ttlSeconds)
    .setJti(randomUUID())
    .sign(key);
}

function groupsOf(value: unknown): string[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw identityError('SPI013', ['"groups"', 'not a list']);
  return value.map((group: unknown) => {
    if (typeof group !== 'string') throw identityError('SPI013', ['"groups"', 'not a list of names']);
    return group;
  });
}

/** Verifier of the development issuer's tokens. `key` is the private key or its public half. */
export function createDevelopmentVerifier(key: KeyObject, now: () => number): IssuerVerifier {
  const publicKey = key.type === 'private' ? createPublicKey(key) : key;
  return {
    issuer: DEVELOPMENT_ISSUER,
    admit(peer) {
      if (!isLoopback(peer)) throw identityError('SPI017', [peer ?? 'an unknown address']);
    },
    async verify({ token, payload, tokenId }): Promise<VerifiedIdentity> {
      const nowMs = now();
      try {
        await jwtVerify(token, publicKey, {
          algorithms: ['EdDSA'],
          issuer: DEVELOPMENT_ISSUER,
          currentDate: new Date(nowMs),
          clockTolerance: CLOCK_SKEW_SECONDS,
        });
      } catch (error) {
        if (error instanceof errors.JWTExpired) {
          throw identityError('SPI008', [new Date((payload.exp ?? 0) * 1000).toISOString()], error);
        }
        if (error instanceof errors.JOSEAlgNotAllowed)
          throw identityError('SPI005', ['another one', DEVELOPMENT_ISSUER], error);
        throw identityError('SPI006', [DEVELOPMENT_ISSUER], error);
      }
      const rules = {
        alias: 'development',
        issuer: DEVELOPMENT_ISSUER,
        audience: DEVELOPMENT_AUDIENCE,
        maxTokenLifetimeSeconds: MAX_LIFETIME_SECONDS,
        sessionGraceSeconds: 0,
      };
      const { exp, iat } = checkClaims(payload, rules, nowMs / 1000);
      if (typeof payload.sub !== 'string') throw identityError('SPI013', ['"sub"', 'missing']);
      return {
        subject: developmentSubject(payload.sub, groupsOf(payload.groups), payload),
        sessionExpiresAt: new Date(exp * 1000),
        tokenId,
        tokenLifetimeSeconds: Math.max(0, exp - iat),
      };
    },
  };
}
