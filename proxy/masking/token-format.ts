/**
 * What a mask token looks like. It stands in place of a value and must be recognised when an agent writes it back, so the prefix is
 * one that no ordinary text has, and the alphabet (RFC 4648 base32 in lower case, without padding) survives case-insensitive types,
 * URLs, CSV, JSON and every quoting.
 */

export const TOKEN_PREFIX = 'sptok_';

/** Base32 characters after the prefix: 130 bits, so that two values never share a token by chance. */
export const TOKEN_CHARACTERS = 26;

/** A token anywhere in a text; in any case, since case-insensitive tools may change it. Has no `g` flag: safe to share. */
export const MASK_TOKEN = /sptok_[a-z2-7]{26}/i;

/** Whether the text holds a mask token anywhere: a value that came from masking and must not be written back. */
export function isMaskToken(text: string): boolean {
  return MASK_TOKEN.test(text);
}
