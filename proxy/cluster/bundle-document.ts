import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import { gunzipSync } from 'node:zlib';
import type { BundleDocument } from '../../api/bundle-document.ts';
import { ANNOTATIONS, NAMES } from '../../api/cluster.ts';
import type { ConfigMap } from '../../kube/builtin.ts';
import { sha256 } from '../../policy/canonical.ts';
import { ClusterError } from './errors.ts';

/** Prefix of what is signed: a signature over something else of the operator's is none over a bundle. */
const CONTEXT = Buffer.from('sallyport.dev/bundle/v1\n');
/** SubjectPublicKeyInfo of an Ed25519 key without its 32 bytes (RFC 8410, section 4). */
const ED25519_SPKI = Buffer.from('302a300506032b6570032100', 'hex');
/** A ConfigMap holds 1 MiB. */
const MAX_PIECES = 64;
/** What is unpacked at most: four times the size at which an operator reports a problem. */
const MAX_BYTES = 64 * 1024 * 1024;

/** A bundle that is the operator's, for this namespace. */
export interface SignedBundle {
  readonly document: BundleDocument;
  /** `sha256:` of its canonical JSON, as the ConfigMap says it and as it is. */
  readonly hash: string;
}

/** @param base64 the 32 bytes of an Ed25519 public key. @throws ClusterError SPX021 */
export function trustedKey(base64: string): KeyObject {
  const bytes = Buffer.from(base64, 'base64');
  if (bytes.length !== 32 || bytes.toString('base64').replace(/=+$/, '') !== base64.trim().replace(/=+$/, ''))
    throw new ClusterError('SPX021', [base64.slice(0, 64)]);
  return createPublicKey({ key: Buffer.concat([ED25519_SPKI, bytes]), format: 'der', type: 'spki' });
}

/**
 * The bundle in the ConfigMaps of `namespace`. Nothing is unpacked, let alone read, before the signature over it was verified.
 * @param map by name, as the reflector has it
 * @throws ClusterError SPX001 to SPX004, SPX006
 */
export function readBundle(
  map: (name: string) => ConfigMap | undefined,
  namespace: string,
  trusted: readonly KeyObject[],
): SignedBundle {
  const first = map(NAMES.bundle);
  if (first === undefined) throw new ClusterError('SPX001', [namespace]);
  const { pieces, signature, hash } = first.data ?? {};
  const count = Number(pieces);
  if (!Number.isInteger(count) || count < 1 || count > MAX_PIECES)
    throw new ClusterError('SPX002', [namespace, 'data.pieces is no number from 1 to 64']);
  const parts: Buffer[] = [];
  for (let index = 0; index < count; index++) {
    const name = index === 0 ? NAMES.bundle : `${NAMES.bundle}-${index}`;
    const each = map(name);
    const piece = each?.binaryData?.['bundle'];
    if (piece === undefined) throw new ClusterError('SPX002', [namespace, `ConfigMap ${name} has no piece`]);
    // Pieces are written one after the other: in between, those of two bundles lie side by side.
    if ((each?.metadata.annotations?.[ANNOTATIONS.bundleHash] ?? hash) !== hash)
      throw new ClusterError('SPX002', [namespace, `ConfigMap ${name} is a piece of another bundle`]);
    parts.push(Buffer.from(piece, 'base64'));
  }
  const packed = Buffer.concat(parts);
  const signed = Buffer.concat([CONTEXT, packed]);
  const proof = Buffer.from(signature ?? '', 'base64');
  if (!trusted.some((key) => verify(null, signed, key, proof))) throw new ClusterError('SPX003', [namespace]);
  let text: string;
  let document: BundleDocument;
  try {
    text = gunzipSync(packed, { maxOutputLength: MAX_BYTES }).toString('utf8');
    document = JSON.parse(text) as BundleDocument;
  } catch (error) {
    throw new ClusterError('SPX006', [namespace, error instanceof Error ? error.message : String(error)], error);
  }
  const wrong = misshapen(document);
  if (wrong !== undefined) throw new ClusterError('SPX006', [namespace, wrong]);
  if (document.namespace !== namespace) throw new ClusterError('SPX004', [namespace, document.namespace]);
  const actual = sha256(text);
  if (actual !== hash) throw new ClusterError('SPX006', [namespace, 'data.hash is that of another document']);
  return { document, hash: actual };
}

const isRecord = (value: unknown): boolean => typeof value === 'object' && value !== null && !Array.isArray(value);

/** What a version that does not fit would look like. What the operator signed is otherwise taken at its word. */
function misshapen(value: unknown): string | undefined {
  const document = value as Partial<BundleDocument> | null;
  if (!isRecord(document) || document?.version !== 1) return 'its version is not 1';
  if (typeof document.namespace !== 'string' || typeof document.guardrailNamespace !== 'string')
    return 'it names no namespace';
  if (!Number.isSafeInteger(document.sequence)) return 'it has no sequence';
  const { resources } = document;
  if (
    resources === undefined ||
    ![resources.connections, resources.policies, resources.maskingRules].every(Array.isArray)
  )
    return 'it has no resources';
  if (!isRecord(document.allowedNamespaces) || !isRecord(document.gatewayPorts)) return 'a part of it is missing';
  return undefined;
}
