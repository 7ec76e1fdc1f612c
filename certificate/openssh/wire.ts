import { OpenSshError } from './errors.ts';

/** Data types of SSH (RFC 4251, section 5): a reader that refuses what is cut off or left over, and writers. */

/** Longest text or blob that is read here; keys and certificates are a fraction of it. */
const MAX_LENGTH = 65_536;

export interface SshReader {
  uint32(): number;
  uint64(): bigint;
  byte(): number;
  string(): Buffer;
  /** UTF-8, checked. */
  text(): string;
  readonly remaining: number;
  /** What has not been read, as it stands. */
  rest(): Buffer;
  /** Where the next value begins. */
  readonly position: number;
  /** @throws OpenSshError when something is left */
  end(): void;
}

/** @throws OpenSshError from each method, for what is cut off */
export function sshReader(bytes: Buffer): SshReader {
  if (bytes.length > MAX_LENGTH) throw new OpenSshError('it is too long');
  let at = 0;
  const take = (length: number): Buffer => {
    if (length > bytes.length - at) throw new OpenSshError('it is cut off');
    at += length;
    return bytes.subarray(at - length, at);
  };
  const reader: SshReader = {
    uint32: () => take(4).readUInt32BE(),
    uint64: () => take(8).readBigUInt64BE(),
    byte: () => take(1).readUInt8(),
    string: () => take(take(4).readUInt32BE()),
    text() {
      try {
        return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(reader.string());
      } catch (error) {
        if (error instanceof OpenSshError) throw error;
        throw new OpenSshError('a text in it is not UTF-8');
      }
    },
    get remaining() {
      return bytes.length - at;
    },
    rest: () => take(bytes.length - at),
    get position() {
      return at;
    },
    end() {
      if (at !== bytes.length) throw new OpenSshError('something is left over behind it');
    },
  };
  return reader;
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

export function uint64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(value);
  return bytes;
}

/** A string: its length and bytes; text as UTF-8. */
export function string(value: Uint8Array | string): Buffer {
  const bytes = typeof value === 'string' ? Buffer.from(value, 'utf8') : value;
  return Buffer.concat([uint32(bytes.length), bytes]);
}

/** A non-negative mpint from its big-endian bytes: no leading zero byte but the one that keeps it positive. */
export function mpint(bytes: Uint8Array): Buffer {
  let start = 0;
  while (start < bytes.length && bytes[start] === 0) start++;
  const shortest = bytes.subarray(start);
  const negative = ((shortest[0] ?? 0) & 0x80) !== 0;
  return string(negative ? Buffer.concat([Buffer.alloc(1), shortest]) : shortest);
}

/**
 * The bytes of a positive mpint without the zero byte that keeps it positive.
 * @throws OpenSshError for a negative one, or one that is not the shortest (two texts of one key would be two keys)
 */
export function unsigned(bytes: Buffer): Buffer {
  const [first = 0, second = 0] = bytes;
  if (bytes.length === 0 || (first & 0x80) !== 0) throw new OpenSshError('a number in it is not positive');
  if (first !== 0) return bytes;
  if (bytes.length === 1 || (second & 0x80) === 0) throw new OpenSshError('a number in it has needless zeros');
  return bytes.subarray(1);
}
