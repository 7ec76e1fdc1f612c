import { isUtf8 } from 'node:buffer';
import { ATTR_ACMODTIME, ATTR_EXTENDED, ATTR_PERMISSIONS, ATTR_SIZE, ATTR_UIDGID } from './constants.ts';
import { type FileErrorCode, FileProtocolError } from './errors.ts';

/** Reads the fields of one packet in order; whatever is not there is a protocol violation. */
export interface FieldReader {
  uint32(): number;
  uint64(): bigint;
  /** A view, not a copy. */
  string(limit: number): Buffer;
  /** A file's attributes (section 5), checked and as bytes. */
  attributes(): Buffer;
  /** Everything that is left. */
  rest(): Buffer;
  readonly left: number;
  /** @throws FileProtocolError unless everything was read */
  end(): void;
}

const KNOWN_ATTRIBUTES = ATTR_SIZE | ATTR_UIDGID | ATTR_PERMISSIONS | ATTR_ACMODTIME;

/** @param at where to begin, such as after length, type and id */
export function readFields(packet: Buffer, at: number, code: FileErrorCode): FieldReader {
  let position = at;

  function take(length: number): number {
    const start = position;
    if (length > packet.length - start) throw new FileProtocolError(code, 'a field is longer than its packet');
    position = start + length;
    return start;
  }

  const reader: FieldReader = {
    uint32: () => packet.readUInt32BE(take(4)),
    uint64: () => packet.readBigUInt64BE(take(8)),
    string(limit) {
      const length = reader.uint32();
      if (length > limit) throw new FileProtocolError(code, `a field of ${length} bytes, where ${limit} are the limit`);
      const start = take(length);
      return packet.subarray(start, start + length);
    },
    attributes() {
      const start = position;
      const flags = reader.uint32();
      if ((flags & ~(KNOWN_ATTRIBUTES | ATTR_EXTENDED)) !== 0)
        throw new FileProtocolError(code, `attributes with flags 0x${flags.toString(16)}`);
      if ((flags & ATTR_SIZE) !== 0) take(8);
      if ((flags & ATTR_UIDGID) !== 0) take(8);
      if ((flags & ATTR_PERMISSIONS) !== 0) take(4);
      if ((flags & ATTR_ACMODTIME) !== 0) take(8);
      if ((flags & ATTR_EXTENDED) !== 0) {
        // A count that the packet has no room for ends at the first pair that is not there.
        for (let pairs = reader.uint32(); pairs > 0; pairs--) {
          take(reader.uint32());
          take(reader.uint32());
        }
      }
      return packet.subarray(start, position);
    },
    rest() {
      const start = take(packet.length - position);
      return packet.subarray(start);
    },
    get left() {
      return packet.length - position;
    },
    end() {
      if (position !== packet.length)
        throw new FileProtocolError(code, `${packet.length - position} bytes after the last field`);
    },
  };
  return reader;
}

/** A packet from its parts: length, type, then numbers as uint32 and strings and bytes with their length in front. */
export function packet(type: number, id: number, ...fields: readonly (number | string | Raw)[]): Buffer {
  const parts: Buffer[] = [Buffer.alloc(9)];
  for (const field of fields) {
    if (typeof field === 'number') {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32BE(field >>> 0);
      parts.push(bytes);
    } else if (typeof field === 'string') {
      const bytes = Buffer.alloc(4 + Buffer.byteLength(field));
      bytes.writeUInt32BE(bytes.length - 4);
      bytes.write(field, 4);
      parts.push(bytes);
    } else parts.push(field.raw);
  }
  const whole = Buffer.concat(parts);
  whole.writeUInt32BE(whole.length - 4, 0);
  whole[4] = type;
  whole.writeUInt32BE(id, 5);
  return whole;
}

/** Bytes that go into a packet as they are. */
export interface Raw {
  readonly raw: Buffer;
}

/** Text of a field, or undefined when it is not UTF-8: then nothing can be said of it. */
export function textOf(bytes: Buffer): string | undefined {
  return isUtf8(bytes) ? bytes.toString('utf8') : undefined;
}
