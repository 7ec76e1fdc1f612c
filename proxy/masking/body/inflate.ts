import { brotliDecompressSync, gunzipSync, inflateRawSync, inflateSync, zstdDecompressSync } from 'node:zlib';
import { MaskError } from '../errors.ts';
import type { BodyLimits, BodyTransform } from './port.ts';

type Inflate = (bytes: Buffer, options: { readonly maxOutputLength: number }) => Buffer;

const CODINGS: Readonly<Record<string, Inflate>> = {
  gzip: gunzipSync,
  'x-gzip': gunzipSync,
  // Zlib by the book (RFC 9110, section 8.4.1.2), raw deflate by some servers.
  deflate: (bytes, options) => ((bytes[0]! & 0x0f) === 8 ? inflateSync : inflateRawSync)(bytes, options),
  br: brotliDecompressSync,
  zstd: zstdDecompressSync,
};

const FREE = 1024 * 1024;
const MOST_CODINGS = 2;
const SLICE = 64 * 1024;

/** Codings in the order in which they were applied. @throws MaskError SPM011 one that is not known, or too many */
export function codingsOf(values: readonly string[]): readonly string[] {
  const codings = values
    .flatMap((value) => value.split(','))
    .map((coding) => coding.trim().toLowerCase())
    .filter((coding) => coding !== '' && coding !== 'identity');
  for (const coding of codings) if (!Object.hasOwn(CODINGS, coding)) throw new MaskError('SPM011', 'an unknown coding');
  if (codings.length > MOST_CODINGS) throw new MaskError('SPM011', 'coded more than twice');
  return codings;
}

/**
 * Undoes codings before the transform. Targets are asked for identity, so this is for those that compress all the same: the body is put
 * together first, and neither it nor what it becomes is larger than the limits say.
 */
export function inflated(codings: readonly string[], limits: BodyLimits, inner: BodyTransform): BodyTransform {
  if (codings.length === 0) return inner;
  const parts: Buffer[] = [];
  let length = 0;
  return {
    write(chunk) {
      length += chunk.length;
      if (length > limits.inflated / 4)
        throw new MaskError('SPM014', `a compressed body of more than ${limits.inflated / 4} bytes`);
      parts.push(Buffer.from(chunk));
      return undefined;
    },
    end() {
      let bytes = Buffer.concat(parts);
      parts.length = 0;
      for (const coding of codings.toReversed()) if (bytes.length > 0) bytes = inflate(coding, bytes, limits);
      const out: Buffer[] = [];
      for (let at = 0; at < bytes.length; at += SLICE) {
        const shown = inner.write(bytes.subarray(at, at + SLICE));
        if (shown !== undefined) out.push(shown);
      }
      const last = inner.end();
      if (last !== undefined) out.push(last);
      return Buffer.concat(out);
    },
  };
}

function inflate(coding: string, bytes: Buffer, limits: BodyLimits): Buffer<ArrayBuffer> {
  const most = Math.min(limits.inflated, FREE + bytes.length * limits.ratio);
  try {
    return Buffer.from(CODINGS[coding]!(bytes, { maxOutputLength: most }));
  } catch (error) {
    const tooLarge = error instanceof Error && 'code' in error && error.code === 'ERR_BUFFER_TOO_LARGE';
    const failure = tooLarge
      ? new MaskError('SPM014', `a compressed body that becomes more than ${most} bytes`)
      : new MaskError('SPM011', `${coding} that is broken`);
    throw Object.assign(failure, { cause: error });
  }
}
