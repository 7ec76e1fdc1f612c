import type { HeaderFields } from './port.ts';

/** Header fields as names and values in turn, names in lower case. */

export function fieldValues(headers: HeaderFields, name: string): readonly string[] {
  const values: string[] = [];
  for (let at = 0; at + 1 < headers.length; at += 2) if (headers[at] === name) values.push(headers[at + 1]!);
  return values;
}

export function mapFields(
  headers: HeaderFields,
  change: (name: string, value: string) => string | undefined,
): HeaderFields {
  const made: string[] = [];
  for (let at = 0; at + 1 < headers.length; at += 2) {
    const value = change(headers[at]!, headers[at + 1]!);
    if (value !== undefined) made.push(headers[at]!, value);
  }
  return made;
}

/**
 * Fields that tell of the bytes of the body: they would be wrong, or give a value away to somebody who guesses it. Digests (RFC 9530, RFC
 * 3230, RFC 1864), validators, lengths, ranges, signatures over them (RFC 9421), checksums of object stores.
 */
const OF_THE_BYTES = new Set([
  'etag',
  'content-length',
  'content-md5',
  'digest',
  'content-digest',
  'repr-digest',
  'unencoded-digest',
  'accept-ranges',
  'content-range',
  'signature',
  'signature-input',
  'x-goog-hash',
  'x-goog-stored-content-length',
  'x-ms-blob-content-md5',
  'x-ms-content-crc64',
  'x-content-sha256',
  'x-checksum-md5',
  'x-checksum-sha1',
  'x-checksum-sha256',
  'im',
  'delta-base',
]);

export function tellsOfBytes(name: string): boolean {
  return OF_THE_BYTES.has(name) || name.startsWith('x-amz-checksum-');
}

/** Of a request: what would have the target answer with a part, a difference, a digest or a coding. */
const OF_PARTS = new Set([
  'range',
  'if-range',
  'a-im',
  'accept-encoding',
  'want-digest',
  'want-content-digest',
  'want-repr-digest',
]);

export function wholeAndPlain(headers: HeaderFields): HeaderFields {
  return [
    ...mapFields(headers, (name, value) => (OF_PARTS.has(name) ? undefined : value)),
    'accept-encoding',
    'identity',
  ];
}

/** Fields whose values are words of the protocol, which no value of a target's data gets into. */
export const STRUCTURAL = new Set([
  'accept-patch',
  'accept-post',
  'age',
  'allow',
  'alt-svc',
  'cache-control',
  'connection',
  'content-encoding',
  'content-language',
  'content-length',
  'content-type',
  'date',
  'expires',
  'keep-alive',
  'last-modified',
  'retry-after',
  'strict-transport-security',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'vary',
]);
