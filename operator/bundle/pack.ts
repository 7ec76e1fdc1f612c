import { createPublicKey, verify } from 'node:crypto';
import { gunzipSync, gzipSync } from 'node:zlib';
import type { BundleDocument } from '../../api/bundle-document.ts';
import { canonicalJson, sha256 } from '../../policy/canonical.ts';
import { OperatorError } from '../errors.ts';
import type { BundleContent } from './document.ts';

/** Ed25519 signs this and the gzip bytes: a signature over anything else is none over a bundle. */
export const BUNDLE_CONTEXT = Buffer.from('sallyport.dev/bundle/v1\n', 'utf8');
/** A ConfigMap holds 1 MiB of data; names and the rest need room too. */
export const PIECE_BYTES = 768 * 1024;
/** Of one namespace, compressed. Etcd keeps every version of it for some minutes. */
export const MAX_PACKED_BYTES = 8 * 1024 * 1024;
/** As proxies unpack at most. */
const MAX_UNPACKED_BYTES = 64 * 1024 * 1024;

/** A signed bundle, ready for its ConfigMaps. */
export interface PackedBundle {
  /** `sha256:` of the canonical JSON: proxies report it. */
  readonly hash: string;
  /** `sha256:` of the same without its sequence. */
  readonly content: string;
  readonly sequence: number;
  /** Base64 Ed25519. */
  readonly signature: string;
  readonly pieces: readonly Buffer[];
}

export const contentHash = (content: BundleContent): string => sha256(canonicalJson(content));

/** @throws OperatorError SPO003 when it is too large for any proxy */
export function packBundle(
  content: BundleContent,
  sequence: number,
  sign: (data: Uint8Array) => Buffer,
  maxBytes: number = MAX_PACKED_BYTES,
): PackedBundle {
  const text = canonicalJson({ ...content, sequence });
  const packed = gzipSync(text, { level: 9 });
  if (packed.length > maxBytes) throw new OperatorError('SPO003', [content.namespace, packed.length, maxBytes]);
  const pieces: Buffer[] = [];
  for (let at = 0; at < packed.length; at += PIECE_BYTES) pieces.push(packed.subarray(at, at + PIECE_BYTES));
  return {
    hash: sha256(text),
    content: contentHash(content),
    sequence,
    signature: sign(Buffer.concat([BUNDLE_CONTEXT, packed])).toString('base64'),
    pieces,
  };
}

/** Whether the pieces are what the signature was made over, with the key that signs now: base64 of its 32 bytes. */
export function isSigned(pieces: readonly Buffer[], signature: string, publicKey: string): boolean {
  const key = createPublicKey({
    key: { kty: 'OKP', crv: 'Ed25519', x: Buffer.from(publicKey, 'base64').toString('base64url') },
    format: 'jwk',
  });
  return verify(null, Buffer.concat([BUNDLE_CONTEXT, ...pieces]), key, Buffer.from(signature, 'base64'));
}

/** What signed pieces say, whatever is written beside them. @throws Error for what was signed and is no bundle */
export function unpack(pieces: readonly Buffer[]): Pick<PackedBundle, 'hash' | 'content' | 'sequence'> {
  const text = gunzipSync(Buffer.concat(pieces), { maxOutputLength: MAX_UNPACKED_BYTES }).toString('utf8');
  const { sequence, ...content } = JSON.parse(text) as BundleDocument;
  return { hash: sha256(text), content: contentHash(content), sequence };
}

/** Larger than the one before, also when that one is gone: then the clock is ahead of every number that it has given. */
export const nextSequence = (previous: number | undefined, now: number): number => Math.max((previous ?? 0) + 1, now);
