/** Edits (insert, remove, replace) from one text to the other: Levenshtein's distance. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(next[j - 1]! + 1, row[j]! + 1, replaced));
    }
    row = next;
  }
  return row[b.length]!;
}

/** Names of our API are shorter; comparing a very long text with them would only cost time. */
const LONGEST = 64;

/**
 * The name that was probably meant, or undefined when none is near. Case, `-` and `_` count for nothing, and so does a missing or
 * wrong plural.
 */
export function closest(wrong: string, known: readonly string[]): string | undefined {
  if (wrong.length > LONGEST) return undefined;
  const plain = (name: string): string => name.toLowerCase().replace(/[-_]/g, '');
  const text = plain(wrong);
  let best: { name: string; edits: number } | undefined;
  for (const name of known) {
    const edits = distance(text, plain(name));
    if (best === undefined || edits < best.edits) best = { name, edits };
  }
  return best !== undefined && best.edits <= Math.max(1, Math.floor(text.length / 3)) ? best.name : undefined;
}
