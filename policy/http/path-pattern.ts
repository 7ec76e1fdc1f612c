import { compileGlob, type Glob } from '../glob.ts';

/** Patterns of `http.paths`: `*` inside one segment, `**` as a whole segment for any number of segments, also none. */
export interface UrlPattern {
  readonly text: string;
  /** Undefined stands for `**`. A segment that is empty is the slash at the end. */
  readonly segments: readonly (Glob | undefined)[];
  /** The same without regard to case and a slash at the end, for rules that take away. */
  readonly folded: readonly (Glob | undefined)[];
}

/** Compiles a pattern as the schema lets it pass. */
export function compileUrlPattern(text: string): UrlPattern {
  const compiled = (path: string): (Glob | undefined)[] =>
    segmentsOf(path).map((segment) => (segment === '**' ? undefined : compileGlob(segment)));
  return { text, segments: compiled(text), folded: compiled(folded(text)) };
}

/** Without the first slash; the root has no segment. */
const segmentsOf = (path: string): readonly string[] => (path === '/' ? [] : path.slice(1).split('/'));

function folded(path: string): string {
  const lower = path.toLowerCase();
  return lower.length > 1 && lower.endsWith('/') ? lower.slice(0, -1) : lower;
}

/**
 * What some servers read as another path: they take a backslash for a slash, decode once more, or cut parameters off (`/a/..;x/b`).
 * A star of an Allow rule never stands for it.
 */
const AMBIGUOUS = /\\|%(2[ef]|5c|25|00)|^\.{0,2};|\p{Cc}/iu;

/** Walks pattern and path side by side, keeping every place of the pattern that may be reached: linear in their product. */
function matches(
  pattern: readonly (Glob | undefined)[],
  names: readonly string[],
  stands: (glob: Glob | undefined, name: string) => boolean,
): boolean {
  // A ** may stand for nothing, so the place behind it is reached with it.
  const closed = (places: Iterable<number>): Set<number> => {
    const all = new Set(places);
    for (const place of all) if (place < pattern.length && pattern[place] === undefined) all.add(place + 1);
    return all;
  };
  let places = closed([0]);
  for (const name of names) {
    const next: number[] = [];
    for (const place of places) {
      if (place >= pattern.length) continue;
      const segment = pattern[place];
      if (stands(segment, name)) next.push(segment === undefined ? place : place + 1);
    }
    places = closed(next);
    if (places.size === 0) return false;
  }
  return places.has(pattern.length);
}

/** Whether an Allow rule's pattern covers the path. */
export function grantsUrl({ segments }: UrlPattern, path: string): boolean {
  return matches(segments, segmentsOf(path), (glob, name) => {
    if (glob?.exact === true) return glob.matches(name);
    if (AMBIGUOUS.test(name)) return false;
    // The slash at the end of /customers/ names no customer: for many servers it is the list of them.
    return glob === undefined || (name !== '' && glob.matches(name));
  });
}

/** Whether a Deny or RequireApproval rule's pattern hits the path, in whatever way a server may read it. */
export function hitsUrl({ folded: pattern }: UrlPattern, path: string): boolean {
  const names = segmentsOf(folded(path));
  // Nobody knows what the server makes of it, so it may be this path.
  if (names.some((name) => AMBIGUOUS.test(name))) return true;
  const stands = (glob: Glob | undefined, name: string): boolean => glob?.matches(name) !== false;
  if (matches(pattern, names, stands)) return true;
  if (!names.some((name) => name.includes(';'))) return false;
  return matches(
    pattern,
    names.map((name) => name.slice(0, Math.max(name.indexOf(';'), 0)) || name),
    stands,
  );
}

/** True when some path is matched by both. Used only to report rules that can never meet. */
export function urlPatternsMeet(
  left: UrlPattern,
  right: UrlPattern,
  overlap: (a: string, b: string) => boolean,
): boolean {
  const meet = (a: number, b: number): boolean => {
    const mine = left.folded[a];
    const theirs = right.folded[b];
    const leftDone = a >= left.folded.length;
    const rightDone = b >= right.folded.length;
    if (leftDone && rightDone) return true;
    if (!leftDone && mine === undefined) return meet(a + 1, b) || (!rightDone && meet(a, b + 1));
    if (!rightDone && theirs === undefined) return meet(a, b + 1) || (!leftDone && meet(a + 1, b));
    if (mine === undefined || theirs === undefined) return false;
    return overlap(mine.pattern, theirs.pattern) && meet(a + 1, b + 1);
  };
  return meet(0, 0);
}
