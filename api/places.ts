import { type Document, isMap, isNode, isScalar, isSeq, type LineCounter, type Node, type Pair } from 'yaml';

/** A place that an editor can jump to. Lines and columns count from 1. */
export interface Place {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** Where an object, or a field of it, stands. */
export type Locate = (path: readonly (string | number)[]) => Place;

/** The pair of a key in a map, or the item of a list. */
function step(
  node: unknown,
  key: string | number,
): { readonly at: Node | undefined; readonly value: unknown } | undefined {
  if (isSeq(node)) {
    const item = node.items[Number(key)];
    return item === undefined ? undefined : { at: isNode(item) ? item : undefined, value: item };
  }
  if (!isMap(node)) return undefined;
  const pair = node.items.find((each: Pair) => isScalar(each.key) && String(each.key.value) === String(key));
  return pair === undefined ? undefined : { at: isNode(pair.key) ? pair.key : undefined, value: pair.value };
}

/**
 * Place of a field: that of its key, or of the deepest part of the path that is written down, since a missing field has none.
 * @param root the document, or the part of it that is the object
 */
export function locator(
  file: string,
  document: Document,
  lines: LineCounter,
  root: readonly (string | number)[],
): Locate {
  return (path) => {
    let node: unknown = document.contents;
    let at: Node | undefined = isNode(node) ? node : undefined;
    for (const key of [...root, ...path]) {
      const next = step(node, key);
      if (next === undefined) break;
      node = next.value;
      at = next.at ?? at;
    }
    if (at?.range == null) return { file, line: 1, column: 1 };
    const { line, col } = lines.linePos(at.range[0]);
    return { file, line, column: col };
  };
}
