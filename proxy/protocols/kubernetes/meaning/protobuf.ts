/**
 * Bodies in protobuf, as far as they are read: the envelope that Kubernetes puts around each (`k8s\0` and runtime.Unknown), and the
 * metadata of the object in it. The wire format is https://protobuf.dev/programming-guides/encoding/.
 */

export interface ProtobufObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly resourceVersion: string;
  readonly hasOwners: boolean;
}

const MAGIC = Buffer.from('k8s\0', 'latin1');
const VARINT = 0;
const FIXED64 = 1;
const LENGTH_DELIMITED = 2;
const FIXED32 = 5;

interface Field {
  readonly number: number;
  /** Undefined: it is no string, message or bytes. */
  readonly bytes: Buffer | undefined;
}

/** Undefined: it is cut off, or longer than ten bytes. */
function varint(bytes: Buffer, offset: number): { readonly value: bigint; readonly end: number } | undefined {
  let value = 0n;
  for (let index = 0; index < 10; index++) {
    const byte = bytes[offset + index];
    if (byte === undefined) return undefined;
    value |= BigInt(byte & 0x7f) << BigInt(7 * index);
    if (byte < 0x80) return { value, end: offset + index + 1 };
  }
  return undefined;
}

/** The fields of a message, in order. Undefined: it is none. Groups are none: Kubernetes has no such fields. */
function fields(bytes: Buffer): readonly Field[] | undefined {
  const found: Field[] = [];
  for (let offset = 0; offset < bytes.length; ) {
    const tag = varint(bytes, offset);
    if (tag === undefined || tag.value >> 3n === 0n || tag.value > 0xffffffffn) return undefined;
    const number = Number(tag.value >> 3n);
    offset = tag.end;
    let content: Buffer | undefined;
    switch (Number(tag.value & 7n)) {
      case VARINT: {
        const skipped = varint(bytes, offset);
        if (skipped === undefined) return undefined;
        offset = skipped.end;
        break;
      }
      case FIXED64:
        offset += 8;
        break;
      case FIXED32:
        offset += 4;
        break;
      case LENGTH_DELIMITED: {
        const length = varint(bytes, offset);
        if (length === undefined || length.value > BigInt(bytes.length - length.end)) return undefined;
        offset = length.end + Number(length.value);
        content = bytes.subarray(length.end, offset);
        break;
      }
      default:
        return undefined;
    }
    if (offset > bytes.length) return undefined;
    found.push({ number, bytes: content });
  }
  return found;
}

/** Repeated messages are one, as they are for who decodes them into one; of repeated strings the last counts. */
function message(of: readonly Field[], number: number): readonly Field[] | undefined {
  const parts = of.filter((field) => field.number === number);
  const inner = parts.map(({ bytes }) => (bytes === undefined ? undefined : fields(bytes)));
  return inner.some((part) => part === undefined) ? undefined : inner.flatMap((part) => part ?? []);
}

function string(of: readonly Field[], number: number): string {
  return of.findLast((field) => field.number === number)?.bytes?.toString('utf8') ?? '';
}

/**
 * Undefined: it is no object in this form. Every kind that can be created or replaced has its metadata as field 1
 * (k8s.io/apimachinery/pkg/runtime/generated.proto and k8s.io/apimachinery/pkg/apis/meta/v1/generated.proto).
 */
export function parseProtobuf(body: Buffer): ProtobufObject | undefined {
  if (!body.subarray(0, MAGIC.length).equals(MAGIC)) return undefined;
  const unknown = fields(body.subarray(MAGIC.length));
  if (unknown === undefined) return undefined;
  const type = message(unknown, 1);
  const raw = unknown.filter(({ number }) => number === 2);
  // An encoding or another type of content inside: nobody writes that, and nobody here reads it.
  const [encoding, contentType] = [string(unknown, 3), string(unknown, 4)];
  if (type === undefined || raw.length !== 1 || encoding !== '' || contentType !== '') return undefined;
  const object = fields(raw[0]?.bytes ?? Buffer.alloc(0));
  const metadata = object === undefined ? undefined : message(object, 1);
  if (metadata === undefined) return undefined;
  return {
    apiVersion: string(type, 1),
    kind: string(type, 2),
    name: string(metadata, 1),
    resourceVersion: string(metadata, 6),
    hasOwners: metadata.some(({ number }) => number === 13),
  };
}
