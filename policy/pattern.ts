import { RE2JS } from 're2js';

/** A regular expression in RE2 syntax: matching takes time linear in the text, whatever the pattern. */
export interface Pattern {
  /** True when some part of the text matches. */
  test(text: string): boolean;
}

const compiled = new Map<string, Pattern>();
const MAX_REMEMBERED = 512;
const MAX_LENGTH = 4096;

/** The compiled pattern, or what is wrong with it, in words. Remembers the last few hundred. */
export function compilePattern(source: string): Pattern | string {
  const known = compiled.get(source);
  if (known !== undefined) return known;
  if (source.length > MAX_LENGTH) return `the pattern has ${source.length} characters; at most ${MAX_LENGTH} are taken`;
  let pattern: Pattern;
  try {
    const re2 = RE2JS.compile(source);
    pattern = { test: (text) => re2.test(text) };
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  // Oldest first: a Map keeps the order of insertion.
  if (compiled.size >= MAX_REMEMBERED) for (const oldest of compiled.keys()) if (compiled.delete(oldest)) break;
  compiled.set(source, pattern);
  return pattern;
}
