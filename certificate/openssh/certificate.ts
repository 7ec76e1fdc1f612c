import type { KeyObject } from 'node:crypto';
import { OpenSshError } from './errors.ts';
import { type KeyType, parsePublicKeyBlob, publicKeyOf, readKeyFields, type SshPublicKey } from './public-key.ts';
import { type SignatureAlgorithm, signSsh } from './signature.ts';
import { type SshReader, sshReader, string, uint32, uint64 } from './wire.ts';

/** Certificates of OpenSSH (PROTOCOL.certkeys), for users and hosts. */

const SUFFIX = '-cert-v01@openssh.com';
const USER = 1;
const HOST = 2;
const FOREVER = 0xffff_ffff_ffff_ffffn;
/** OpenSSH's own limit (SSHKEY_CERT_MAX_PRINCIPALS). */
const MAX_PRINCIPALS = 256;

export interface SshCertificate {
  /** Such as `ssh-ed25519-cert-v01@openssh.com`. */
  readonly type: `${KeyType}${typeof SUFFIX}`;
  readonly use: 'user' | 'host';
  /** The key that the certificate is about. */
  readonly key: SshPublicKey;
  readonly serial: bigint;
  readonly keyId: string;
  /** User names or host names. Empty means any to OpenSSH in old versions; here it means none. */
  readonly principals: readonly string[];
  /** Seconds since the epoch; `validBefore` undefined: forever. */
  readonly validAfter: number;
  readonly validBefore: number | undefined;
  /** By name, with what is in them: a string each, or nothing. */
  readonly criticalOptions: ReadonlyMap<string, string>;
  readonly extensions: ReadonlyMap<string, string>;
  /** The key of the authority. */
  readonly authority: SshPublicKey;
  readonly signature: Buffer;
  /** What the signature is over. */
  readonly signed: Buffer;
  readonly blob: Buffer;
}

/** Whether the first string of a blob is the type of a certificate. */
export function isCertificateType(type: string): boolean {
  return type.endsWith(SUFFIX);
}

/** Options and extensions: names in order, each once, with data that is empty or one string. */
function options(bytes: Buffer): ReadonlyMap<string, string> {
  const reader = sshReader(bytes);
  const found = new Map<string, string>();
  let last: string | undefined;
  while (reader.remaining > 0) {
    const name = reader.text();
    // PROTOCOL.certkeys: lexical order, and each name once.
    if (last !== undefined && Buffer.compare(Buffer.from(name), Buffer.from(last)) <= 0)
      throw new OpenSshError('its options are not in order');
    last = name;
    const data = reader.string();
    if (data.length === 0) {
      found.set(name, '');
      continue;
    }
    const inner = sshReader(data);
    found.set(name, inner.text());
    inner.end();
  }
  return found;
}

function principals(bytes: Buffer): readonly string[] {
  const reader = sshReader(bytes);
  const found: string[] = [];
  while (reader.remaining > 0) {
    if (found.length >= MAX_PRINCIPALS) throw new OpenSshError(`it has more than ${MAX_PRINCIPALS} principals`);
    found.push(reader.text());
  }
  return found;
}

function seconds(value: bigint): number | undefined {
  if (value === FOREVER) return undefined;
  return value > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(value);
}

function use(type: number): 'user' | 'host' {
  if (type !== USER && type !== HOST) throw new OpenSshError('it is neither for a user nor for a host');
  return type === USER ? 'user' : 'host';
}

function authorityKey(blob: Buffer): SshPublicKey {
  if (isCertificateType(sshReader(blob).text())) throw new OpenSshError('it is signed with a certificate');
  return parsePublicKeyBlob(blob);
}

/** Takes a certificate apart. Nothing of it is believed yet: see `verify.ts`. @throws OpenSshError */
export function parseCertificate(blob: Buffer): SshCertificate {
  const reader: SshReader = sshReader(blob);
  const type = reader.text();
  if (!isCertificateType(type)) throw new OpenSshError('it is not a certificate');
  reader.string();
  const key = readKeyFields(type.slice(0, -SUFFIX.length), reader);
  const serial = reader.uint64();
  const kind = use(reader.uint32());
  const keyId = reader.text();
  const names = principals(reader.string());
  const validAfter = seconds(reader.uint64()) ?? Number.MAX_SAFE_INTEGER;
  const validBefore = seconds(reader.uint64());
  const criticalOptions = options(reader.string());
  const extensions = options(reader.string());
  reader.string();
  const authority = authorityKey(reader.string());
  const signed = blob.subarray(0, reader.position);
  const signature = reader.string();
  reader.end();
  return {
    type: `${key.type}${SUFFIX}`,
    use: kind,
    key,
    serial,
    keyId,
    principals: names,
    validAfter,
    validBefore,
    criticalOptions,
    extensions,
    authority,
    signature,
    signed,
    blob,
  };
}

/** What is to be certified. */
export interface SshCertificateRequest {
  readonly use: 'user' | 'host';
  readonly publicKey: KeyObject;
  /** Random, 32 bytes: keeps whoever asks from choosing what is signed. */
  readonly nonce: Uint8Array;
  readonly serial: bigint;
  readonly keyId: string;
  /** At least one: none would be everybody. */
  readonly principals: readonly string[];
  /** Milliseconds since the epoch; a certificate has whole seconds. */
  readonly validAfter: number;
  readonly validBefore: number;
  readonly criticalOptions?: ReadonlyMap<string, string>;
  readonly extensions?: ReadonlyMap<string, string>;
  readonly authority: KeyObject;
  /** Default: the best for the authority's key. */
  readonly algorithm?: SignatureAlgorithm;
}

function packed(entries: ReadonlyMap<string, string> = new Map()): Buffer {
  const sorted = [...entries].sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  return Buffer.concat(
    sorted.flatMap(([name, value]) => [string(name), value === '' ? string('') : string(string(value))]),
  );
}

/** The certificate as a blob. @throws OpenSshError for a key that SSH is not spoken with here, or no principals */
export function issueSshCertificate(request: SshCertificateRequest): Buffer {
  const { principals: names } = request;
  if (names.length === 0 || names.length > MAX_PRINCIPALS || names.includes(''))
    throw new OpenSshError('it has no principal, or too many');
  const subject = publicKeyOf(request.publicKey);
  const reader = sshReader(subject.blob);
  reader.string();
  const body = Buffer.concat([
    string(`${subject.type}${SUFFIX}`),
    string(request.nonce),
    reader.rest(),
    uint64(request.serial),
    uint32(request.use === 'user' ? USER : HOST),
    string(request.keyId),
    string(Buffer.concat(names.map(string))),
    uint64(BigInt(Math.max(0, Math.floor(request.validAfter / 1000)))),
    uint64(BigInt(Math.floor(request.validBefore / 1000))),
    string(packed(request.criticalOptions)),
    string(packed(request.extensions)),
    string(''),
    string(publicKeyOf(request.authority).blob),
  ]);
  return Buffer.concat([body, string(signSsh(request.authority, body, request.algorithm))]);
}

/** A line as in a file that ends with -cert.pub. */
export const formatCertificate = (blob: Buffer, comment = ''): string =>
  `${sshReader(blob).text()} ${blob.toString('base64')}${comment === '' ? '' : ` ${comment}`}`;
