import { compileGlob, type Glob, globsOverlap } from '../glob.ts';

/** Patterns of `ssh.paths`: `*` inside one name, `**` as a whole segment for any number of folders, also none. */
export interface PathPattern {
  readonly text: string;
  /** Undefined stands for `**`. */
  readonly segments: readonly (Glob | undefined)[];
}

/** Compiles a pattern as the schema lets it pass; doubled and trailing slashes mean nothing. */
export function compilePathPattern(text: string): PathPattern {
  const segments = text
    .split('/')
    .filter((segment) => segment !== '' && segment !== '.')
    .map((segment) => (segment === '**' ? undefined : compileGlob(segment)));
  return { text, segments };
}

const segmentsOf = (path: string): readonly string[] => path.split('/').filter((segment) => segment !== '');

/** A hidden name is only matched by a pattern that begins with the dot itself. */
function grantsSegment(glob: Glob, name: string): boolean {
  return glob.matches(name) && (!name.startsWith('.') || glob.pattern.startsWith('.'));
}

/**
 * Walks pattern and path side by side, keeping every place of the pattern that may be reached: linear in their product.
 * @returns places of the pattern that stand after the last segment of the path
 */
function reached(
  { segments }: PathPattern,
  names: readonly string[],
  matches: (glob: Glob, name: string) => boolean,
  crosses: (name: string) => boolean,
): ReadonlySet<number> {
  // A ** may stand for nothing, so the place behind it is reached with it.
  const closed = (places: Iterable<number>): Set<number> => {
    const all = new Set(places);
    for (const place of all) if (place < segments.length && segments[place] === undefined) all.add(place + 1);
    return all;
  };
  let places = closed([0]);
  for (const name of names) {
    const next: number[] = [];
    for (const place of places) {
      if (place >= segments.length) continue;
      const segment = segments[place];
      if (segment === undefined) {
        if (crosses(name)) next.push(place);
      } else if (matches(segment, name)) next.push(place + 1);
    }
    places = closed(next);
    if (places.size === 0) break;
  }
  return places;
}

/** Whether an Allow rule's pattern covers the path; `tree`: and everything below it. */
export function grantsPath(pattern: PathPattern, path: string, tree: boolean): boolean {
  const names = segmentsOf(path);
  const places = reached(pattern, names, grantsSegment, (name) => !name.startsWith('.'));
  const { length } = pattern.segments;
  if (!tree) return places.has(length);
  // Only a ** at the end covers whatever is below.
  return length > 0 && pattern.segments[length - 1] === undefined && places.has(length - 1);
}

/** Whether a Deny or RequireApproval rule's pattern hits the path; `tree`: or anything below it. Hidden names are names like others. */
export function hitsPath(pattern: PathPattern, path: string, tree: boolean): boolean {
  const places = reached(
    pattern,
    segmentsOf(path),
    (glob, name) => glob.matches(name),
    () => true,
  );
  return tree ? places.size > 0 : places.has(pattern.segments.length);
}

/** True when some path is matched by both. Used only to report rules that can never meet. */
export function pathPatternsMeet(left: PathPattern, right: PathPattern): boolean {
  const meet = (a: number, b: number): boolean => {
    const mine = left.segments[a];
    const theirs = right.segments[b];
    const leftDone = a >= left.segments.length;
    const rightDone = b >= right.segments.length;
    if (leftDone && rightDone) return true;
    if (!leftDone && mine === undefined) return meet(a + 1, b) || (!rightDone && meet(a, b + 1));
    if (!rightDone && theirs === undefined) return meet(a, b + 1) || (!leftDone && meet(a + 1, b));
    if (mine === undefined || theirs === undefined) return false;
    return globsOverlap(mine.pattern, theirs.pattern) && meet(a + 1, b + 1);
  };
  return meet(0, 0);
}
