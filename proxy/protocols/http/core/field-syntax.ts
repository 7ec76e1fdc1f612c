/** What may stand in heads of HTTP/1.1 (RFC 9110, sections 5 and 5.6): one place for whoever reads them and whoever writes them. */

/** A token (RFC 9110, section 5.6.2), as a part of a pattern. */
export const TOKEN_PATTERN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
/** A value of a field in Latin-1 (RFC 9110, section 5.5), as a part of a pattern: no control characters but the tab. */
export const VALUE_PATTERN = '[\\t\\x20-\\x7e\\x80-\\xff]*';

/** A quoted string (RFC 9110, section 5.6.4), as a part of a pattern. */
const QUOTED_PATTERN = /"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"/.source;
/** Extensions of a chunk (RFC 9112, section 7.1.1), as a part of a pattern: tokens, or quoted strings as values; without spaces. */
export const EXTENSIONS_PATTERN = `(?:;${TOKEN_PATTERN}(?:=(?:${TOKEN_PATTERN}|${QUOTED_PATTERN}))?)*`;

export const TOKEN = new RegExp(`^${TOKEN_PATTERN}$`);
/** What a value never has: it would end its line, or is not Latin-1. */
export const NOT_OF_A_VALUE = /[^\t\x20-\x7e\x80-\xff]/;
/** Digits of a length that is exact as a number. */
export const LENGTH = /^[0-9]{1,15}$/;

/** Fields of a connection and of framing, in lower case: whoever writes a head writes them, whatever a lane or its peer says. */
export const OURS_TO_WRITE: ReadonlySet<string> = new Set([
  'host',
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'content-length',
  'upgrade',
  'te',
  'trailer',
  'expect',
]);

const isBlank = (code: number): boolean => code === 0x20 || code === 0x09;

/** A part of a text without spaces and tabs around it, and nothing else: `String.prototype.trim` takes more for white space than HTTP does. */
export function trimmed(text: string, from = 0, to = text.length): string {
  let start = from;
  let end = to;
  while (start < end && isBlank(text.charCodeAt(start))) start++;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}
