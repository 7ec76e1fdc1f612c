/**
 * Patterns in which `*` stands for any run of characters (also none) and everything else for itself. No regular expression is
 * made of them: matching is linear in the text for one star and at worst text times pattern, and nothing needs escaping.
 */

/** A compiled pattern. `exact` is set when it has no star. */
export interface Glob {
  readonly pattern: string;
  readonly exact: boolean;
  /** True when it matches every text. */
  readonly any: boolean;
  matches(text: string): boolean;
}

export function compileGlob(pattern: string): Glob {
  const any = /^\*+$/.test(pattern);
  const exact = !pattern.includes('*');
  return { pattern, exact, any, matches: any ? () => true : exact ? (text) => text === pattern : starMatcher(pattern) };
}

function starMatcher(pattern: string): (text: string) => boolean {
  const pieces = pattern.split('*');
  const head = pieces[0] ?? '';
  const tail = pieces[pieces.length - 1] ?? '';
  const middle = pieces.slice(1, -1).filter((piece) => piece !== '');
  const least = head.length + tail.length;
  return (text) => {
    if (text.length < least || !text.startsWith(head) || !text.endsWith(tail)) return false;
    // The leftmost place of each middle piece leaves the most room for the next ones, so no backtracking is needed.
    let at = head.length;
    const end = text.length - tail.length;
    for (const piece of middle) {
      const found = text.indexOf(piece, at);
      if (found < 0 || found + piece.length > end) return false;
      at = found + piece.length;
    }
    return true;
  };
}

/** True when some text matches both patterns. Used only to report rules that can never meet. */
export function globsOverlap(left: string, right: string): boolean {
  // reachable[j]: some text is matched by left[0..i) and right[0..j).
  let reachable: boolean[] = [true];
  for (let j = 1; j <= right.length; j++) reachable[j] = reachable[j - 1] === true && right[j - 1] === '*';
  for (let i = 1; i <= left.length; i++) {
    const star = left[i - 1] === '*';
    const next: boolean[] = [reachable[0] === true && star];
    for (let j = 1; j <= right.length; j++) {
      const rightStar = right[j - 1] === '*';
      next[j] =
        star || rightStar
          ? reachable[j] === true || next[j - 1] === true
          : reachable[j - 1] === true && left[i - 1] === right[j - 1];
    }
    reachable = next;
  }
  return reachable[right.length] === true;
}

/** A list of `first.second` patterns, as in `relations` and `functions`: each part is matched on its own. */
export interface QualifiedGlobs {
  readonly patterns: readonly string[];
  /** True when one of them is `*.*`. */
  readonly any: boolean;
  matches(schema: string, name: string): boolean;
  /** True when a pattern without any star is this very name. */
  names(schema: string, name: string): boolean;
  /** True when some name in the schema, there or not, matches. */
  reaches(schema: string): boolean;
}

export function compileQualifiedGlobs(patterns: readonly string[]): QualifiedGlobs {
  const exact = new Map<string, Set<string>>();
  const globs: { schema: Glob; name: Glob }[] = [];
  for (const pattern of patterns) {
    const dot = pattern.indexOf('.');
    const schema = compileGlob(pattern.slice(0, Math.max(dot, 0)));
    const name = compileGlob(pattern.slice(dot + 1));
    if (schema.exact && name.exact) {
      const names = exact.get(schema.pattern) ?? new Set();
      names.add(name.pattern);
      exact.set(schema.pattern, names);
    } else globs.push({ schema, name });
  }
  const names = (schema: string, name: string): boolean => exact.get(schema)?.has(name) === true;
  const any = globs.some((glob) => glob.schema.any && glob.name.any);
  return {
    patterns,
    any,
    names,
    reaches: (schema) => any || exact.has(schema) || globs.some((glob) => glob.schema.matches(schema)),
    matches: any
      ? () => true
      : (schema, name) => {
          if (names(schema, name)) return true;
          for (const glob of globs) if (glob.schema.matches(schema) && glob.name.matches(name)) return true;
          return false;
        },
  };
}
