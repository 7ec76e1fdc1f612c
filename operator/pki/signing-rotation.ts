import { createPrivateKey, createPublicKey } from 'node:crypto';

/**
 * How the Ed25519 key that signs bundles and votes becomes another one, when a person asks for it: the next one is made and *trusted*; a
 * day later, when every proxy was rolled with it, it *signs*; the former one stays trusted for as long as votes of its may count. Pure
 * but for randomness.
 */
export interface SigningRotation {
  /** What was asked for last. The first key of an installation is of the generation that was asked for then, or 1. */
  readonly generation: number;
  /** Ed25519, PKCS #8 in PEM; trusted already, signs later. `since` in milliseconds. */
  readonly next: { readonly key: string; readonly since: number } | undefined;
  /** Keys that sign no more, 32 bytes in base64, oldest first; trusted until then, in milliseconds. */
  readonly former: readonly { readonly publicKey: string; readonly until: number }[];
}

export interface SigningKeys {
  readonly signingKey: string;
  /** Absent: no other key was ever asked for. */
  readonly signingRotation?: SigningRotation | undefined;
}

/** From being trusted to signing. */
export const SIGNING_OVERLAP_MS = 86_400_000;
/** A request for approval may be open for seven days. */
export const FORMER_SIGNING_MS = 8 * 86_400_000;

const NONE: SigningRotation = { generation: 1, next: undefined, former: [] };

/** The last 32 bytes of an Ed25519 SubjectPublicKeyInfo are the key (RFC 8410, section 4). */
export function rawPublicKey(pem: string): string {
  return createPublicKey(createPrivateKey(pem))
    .export({ type: 'spki', format: 'der' })
    .subarray(-32)
    .toString('base64');
}

/** What proxies have to trust, 32 bytes in base64 each. The order stays when the next one begins to sign: proxies are not rolled for that. */
export function trustedSigningKeys({ signingKey, signingRotation: { next, former } = NONE }: SigningKeys): string[] {
  return [
    ...former.map(({ publicKey }) => publicKey),
    rawPublicKey(signingKey),
    ...(next === undefined ? [] : [rawPublicKey(next.key)]),
  ];
}

/** The keys as they should be now; the same object when nothing has to change. */
export function rotated<K extends SigningKeys>(keys: K, now: number, generation: number, newKey: () => string): K {
  const rotation = keys.signingRotation ?? NONE;
  const { next } = rotation;
  const former = rotation.former.filter(({ until }) => until > now);
  if (next !== undefined && next.since + SIGNING_OVERLAP_MS <= now) {
    const old = { publicKey: rawPublicKey(keys.signingKey), until: now + FORMER_SIGNING_MS };
    return {
      ...keys,
      signingKey: next.key,
      signingRotation: { ...rotation, next: undefined, former: [...former, old] },
    };
  }
  if (next === undefined && rotation.generation < generation)
    return { ...keys, signingRotation: { generation, next: { key: newKey(), since: now }, former } };
  if (former.length === rotation.former.length) return keys;
  return { ...keys, signingRotation: { ...rotation, former } };
}

/** When to look again, as milliseconds since the epoch; Infinity: never. */
export function nextRotation({ signingRotation: { next, former } = NONE }: SigningKeys): number {
  const promotion = next === undefined ? Number.POSITIVE_INFINITY : next.since + SIGNING_OVERLAP_MS;
  return Math.min(promotion, ...former.map(({ until }) => until));
}

const NEXT = 'next-signing.key';
const STATE = 'signing.json';

/** Entries of the Secret beside `signing.key`. */
export function writeRotation({ signingRotation: rotation }: SigningKeys): Record<string, string> {
  if (rotation === undefined) return {};
  const { generation, next, former } = rotation;
  const state = { generation, ...(next === undefined ? {} : { nextSince: next.since }), former };
  return { [STATE]: JSON.stringify(state), ...(next === undefined ? {} : { [NEXT]: next.key }) };
}

/** The other way round. @throws Error that says what is wrong, without what stands there */
export function readRotation(
  data: Readonly<Record<string, string | undefined>>,
  isSigningKey: (pem: string, name: string) => boolean,
): SigningRotation | undefined {
  const text = data[STATE];
  if (text === undefined) return undefined;
  const wrong = new Error(`${STATE} is not what the operator writes`);
  let state: { readonly generation?: unknown; readonly nextSince?: unknown; readonly former?: unknown };
  try {
    state = (JSON.parse(text) ?? {}) as typeof state;
  } catch {
    throw wrong;
  }
  const { generation, nextSince, former } = state;
  if (!Number.isSafeInteger(generation) || !Array.isArray(former) || !former.every(isFormer)) throw wrong;
  const key = data[NEXT];
  if ((key === undefined) !== (nextSince === undefined)) throw wrong;
  if (key === undefined) return { generation: generation as number, next: undefined, former };
  if (!Number.isSafeInteger(nextSince)) throw wrong;
  if (!isSigningKey(key, NEXT)) throw new Error(`${NEXT} is not Ed25519`);
  return { generation: generation as number, next: { key, since: nextSince as number }, former };
}

function isFormer(value: unknown): value is SigningRotation['former'][number] {
  const { publicKey, until } = (value ?? {}) as { readonly publicKey?: unknown; readonly until?: unknown };
  return typeof publicKey === 'string' && Buffer.from(publicKey, 'base64').length === 32 && Number.isSafeInteger(until);
}
