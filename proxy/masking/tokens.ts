import { hash } from 'node:crypto';
import { TOKEN_CHARACTERS, TOKEN_PREFIX } from './token-format.ts';

/** Tokens are made once per value: results repeat values, and an HMAC costs as much as twenty rows. */
const CACHE_ENTRIES = 16_384;
/** Longer values are hashed each time, so that the cache holds at most 4 MiB of them. */
const CACHED_VALUE_BYTES = 256;

/** The token of a value: ASCII bytes, the same for the same bytes and key. The buffer is shared: never write to it. */
export type Tokenizer = (source: Buffer, start: number, end: number) => Buffer;

const BASE32 = 'abcdefghijklmnopqrstuvwxyz234567';

function base32(digest: Buffer, characters: number): string {
  let text = '';
  let bits = 0;
  let held = 0;
  for (let i = 0; text.length < characters && i < digest.length; i++) {
    held = ((held << 8) | digest[i]!) & 0xffff;
    bits += 8;
    while (bits >= 5 && text.length < characters) {
      bits -= 5;
      text += BASE32[(held >> bits) & 31];
    }
  }
  return text;
}

const tokenizers = new WeakMap<Uint8Array, Tokenizer>();

/** HMAC-SHA256 of the value under `key` (any length, not empty), shown as `TOKEN_PREFIX` and base32. One per key object. */
export function tokenizerFor(key: Uint8Array): Tokenizer {
  let tokenizer = tokenizers.get(key);
  if (tokenizer === undefined) {
    tokenizer = createTokenizer(key);
    tokenizers.set(key, tokenizer);
  }
  return tokenizer;
}

/** SHA-256's block and digest, in bytes. */
const BLOCK = 64;
const DIGEST = 32;

/**
 * HMAC-SHA256 (RFC 2104) from one-shot hashes, which cost a third of what a Hmac object does: results mask one value per row.
 */
function createHmacSha256(key: Uint8Array): (source: Buffer, start: number, end: number) => Buffer {
  const block = Buffer.alloc(BLOCK);
  block.set(key.length > BLOCK ? hash('sha256', key, 'buffer') : key);
  const outer = Buffer.alloc(BLOCK + DIGEST);
  const inner = Buffer.alloc(BLOCK + CACHED_VALUE_BYTES);
  for (let i = 0; i < BLOCK; i++) {
    inner[i] = block[i]! ^ 0x36;
    outer[i] = block[i]! ^ 0x5c;
  }
  const pad = Buffer.from(inner.subarray(0, BLOCK));
  return (source, start, end) => {
    const length = BLOCK + end - start;
    // A long value gets a buffer of its own, which is not kept.
    const message = length > inner.length ? Buffer.concat([pad, source.subarray(start, end)]) : inner;
    if (message === inner) source.copy(inner, BLOCK, start, end);
    hash('sha256', message.subarray(0, length), 'buffer').copy(outer, BLOCK);
    return hash('sha256', outer, 'buffer');
  };
}

function createTokenizer(key: Uint8Array): Tokenizer {
  const cache = new Map<string, Buffer>();
  const hmac = createHmacSha256(key);
  const make = (source: Buffer, start: number, end: number): Buffer => {
    const digest = hmac(source, start, end);
    return Buffer.from(TOKEN_PREFIX + base32(digest, TOKEN_CHARACTERS), 'latin1');
  };
  return (source, start, end) => {
    if (end - start > CACHED_VALUE_BYTES) return make(source, start, end);
    const value = source.toString('latin1', start, end);
    let token = cache.get(value);
    if (token === undefined) {
      token = make(source, start, end);
      if (cache.size >= CACHE_ENTRIES) {
        for (const oldest of cache.keys()) {
          cache.delete(oldest);
          break;
        }
      }
    } else {
      // To the end of the insertion order, which is what makes this least recently used.
      cache.delete(value);
    }
    cache.set(value, token);
    return token;
  };
}
