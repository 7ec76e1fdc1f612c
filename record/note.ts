import { createPrivateKey, createPublicKey, hash, type KeyObject, sign, verify } from 'node:crypto';

/**
 * Signed notes with Ed25519 signatures (https://c2sp.org/signed-note): a text, an empty line, and one line for each signature.
 * Any tool that reads such notes reads ours.
 */

/** Name under which this product signs; the key id beside it tells keys of one name apart. */
export const KEY_NAME = 'sallyport.dev/record';
/** Signature type of Ed25519 in key ids and encoded keys. */
const ED25519 = 1;
const KEY_ID_BYTES = 4;
const SIGNATURE_BYTES = 64;
/** DER of a SubjectPublicKeyInfo for Ed25519 up to the 32 bytes of the key (RFC 8410, section 4). */
const SPKI = Buffer.from('302a300506032b6570032100', 'hex');
const PUBLIC_KEY_BYTES = 32;

export interface NoteVerifier {
  readonly name: string;
  /** Eight hexadecimal digits: the first four bytes of SHA-256 over name, line feed, type and key. */
  readonly id: string;
  readonly key: KeyObject;
}

export interface NoteSigner extends NoteVerifier {
  readonly privateKey: KeyObject;
}

/** @param pem PKCS #8. @throws when it is no Ed25519 private key */
export function noteSigner(pem: string, name = KEY_NAME): NoteSigner {
  const privateKey = createPrivateKey(pem);
  if (privateKey.asymmetricKeyType !== 'ed25519') throw new TypeError('it is not an Ed25519 key');
  const key = createPublicKey(privateKey);
  return { name, id: keyId(name, rawKey(key)), key, privateKey };
}

/** `NAME+ID+BASE64`: a public key in one line, as other tools for signed notes write it. */
export function encodeVerifier({ name, id, key }: NoteVerifier): string {
  return `${name}+${id}+${typedKey(rawKey(key)).toString('base64')}`;
}

/** Undefined when it is not an Ed25519 key in one line whose id is right. */
export function parseVerifier(text: string): NoteVerifier | undefined {
  const [, name = '', id = '', encoded = ''] = /^([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+={0,2})$/.exec(text) ?? [];
  const bytes = Buffer.from(encoded, 'base64');
  const raw = bytes.subarray(1);
  if (bytes[0] !== ED25519 || raw.length !== PUBLIC_KEY_BYTES || keyId(name, raw) !== id) return undefined;
  return { name, id, key: createPublicKey({ key: Buffer.concat([SPKI, raw]), format: 'der', type: 'spki' }) };
}

/** @param text ends with a line feed. */
export function signNote(text: string, signer: NoteSigner): string {
  const signature = Buffer.concat([Buffer.from(signer.id, 'hex'), sign(null, Buffer.from(text), signer.privateKey)]);
  return `${text}\n— ${signer.name} ${signature.toString('base64')}\n`;
}

export type OpenedNote =
  | { readonly result: 'valid'; readonly text: string; readonly signer: NoteVerifier }
  /** Well-formed, and by none of the keys given. `keys` says by which: `NAME+ID`. */
  | { readonly result: 'unknown key'; readonly text: string; readonly keys: readonly string[] }
  | { readonly result: 'wrong signature'; readonly signer: NoteVerifier }
  | { readonly result: 'malformed' };

/** Valid when at least one signature is by a key given, and all of those are right (signed-note, "Verifying"). */
export function openNote(note: string, verifiers: readonly NoteVerifier[]): OpenedNote {
  const split = note.lastIndexOf('\n\n');
  if (split === -1 || !note.endsWith('\n')) return { result: 'malformed' };
  const text = note.slice(0, split + 1);
  const keys: string[] = [];
  let known: NoteVerifier | undefined;
  for (const line of note.slice(split + 2, -1).split('\n')) {
    const [, name = '', encoded = ''] = /^— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})$/.exec(line) ?? [];
    const bytes = Buffer.from(encoded, 'base64');
    // Spare bits of base64 would let one signature be written in several ways.
    if (bytes.length <= KEY_ID_BYTES || bytes.toString('base64') !== encoded) return { result: 'malformed' };
    const id = bytes.toString('hex', 0, KEY_ID_BYTES);
    keys.push(`${name}+${id}`);
    const verifier = verifiers.find((candidate) => candidate.name === name && candidate.id === id);
    if (verifier === undefined) continue;
    const signature = bytes.subarray(KEY_ID_BYTES);
    if (signature.length !== SIGNATURE_BYTES || !verify(null, Buffer.from(text), verifier.key, signature)) {
      return { result: 'wrong signature', signer: verifier };
    }
    known ??= verifier;
  }
  return known === undefined ? { result: 'unknown key', text, keys } : { result: 'valid', text, signer: known };
}

function rawKey(key: KeyObject): Buffer {
  return key.export({ format: 'der', type: 'spki' }).subarray(SPKI.length);
}

function typedKey(raw: Buffer): Buffer {
  return Buffer.concat([Buffer.from([ED25519]), raw]);
}

function keyId(name: string, raw: Buffer): string {
  const named = Buffer.concat([Buffer.from(`${name}\n`), typedKey(raw)]);
  return hash('sha256', named, 'hex').slice(0, KEY_ID_BYTES * 2);
}
