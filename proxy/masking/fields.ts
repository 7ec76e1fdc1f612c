import { type FieldMask, TRANSFORM_STRICTNESS } from '../../policy/masking.ts';
import { MaskError } from './errors.ts';
import { type JsonTransform, rewriteJson } from './json.ts';
import type { CountMask, TokenKeys } from './port.ts';
import { compileTransform, tokenKeyFor, wholeReplacement } from './transforms.ts';

/** The mask of one path: the strictest of those that match, and the rules behind all of them. */
export interface PathMask extends JsonTransform {
  readonly rules: readonly string[];
}

/** A place in a document, as far as the paths tell places apart. Undefined stands for a place under which nothing is masked. */
export interface PathNode {
  readonly mask: PathMask | undefined;
  step(key: string): PathNode | undefined;
}

/** Field paths of masking rules made ready. Knows JSON and nothing of the protocol that carries it. */
export interface FieldMasks {
  readonly root: PathNode;
  /**
   * Masks the fields of one JSON document, the rest byte for byte.
   * @returns undefined when nothing changed; null when all of it becomes null; a document that is not JSON is replaced whole
   */
  mask(source: Buffer, start: number, end: number, count: CountMask): Buffer | null | undefined;
  /** What stands in place of a document that cannot be read: JSON text, or null. */
  withhold(count: CountMask): Buffer | null;
}

interface CompiledPath {
  readonly segments: readonly string[];
  readonly mask: PathMask;
}

/** A place is a set of positions in paths: `path * 256 + segment`. A match has at most 256 characters, so fewer segments. */
type Position = number;

/** Places that are remembered. There are few, unless paths were written to make many: then they are made again. */
const MOST_PLACES = 4096;

function compilePath(field: FieldMask, keys: TokenKeys): CompiledPath {
  const segments = field.match.split('.');
  if (segments.length > 255 || segments.some((segment) => segment === '')) throw new MaskError('SPM007', field.match);
  const apply = compileTransform(field.transform, tokenKeyFor(field.transform, keys, field.rule), field.rule);
  return { segments, mask: { transform: field.transform, apply, rules: [field.rule] } };
}

function combine(masks: readonly PathMask[]): PathMask | undefined {
  if (masks.length < 2) return masks[0];
  const strictest = masks.reduce((a, b) =>
    TRANSFORM_STRICTNESS[b.transform.type] > TRANSFORM_STRICTNESS[a.transform.type] ? b : a,
  );
  return { ...strictest, rules: [...new Set(masks.flatMap((mask) => mask.rules))] };
}

/** The automaton of all paths: `*` is one key or index, `**` any number of them, also none. Places are made when first met. */
function createPlaces(paths: readonly CompiledPath[]): PathNode | undefined {
  const literals = new Set(paths.flatMap((path) => path.segments.filter((segment) => !segment.startsWith('*'))));
  const places = new Map<string, PathNode>();

  const add = (positions: Set<Position>, path: number, segment: number): void => {
    positions.add(path * 256 + segment);
    if (paths[path]!.segments[segment] === '**') add(positions, path, segment + 1);
  };

  const place = (positions: Set<Position>): PathNode | undefined => {
    if (positions.size === 0) return undefined;
    const sorted = [...positions].sort((a, b) => a - b);
    const name = sorted.join();
    let node = places.get(name);
    if (node === undefined) {
      node = makePlace(sorted);
      if (places.size >= MOST_PLACES) places.clear();
      places.set(name, node);
    }
    return node;
  };

  const makePlace = (positions: readonly Position[]): PathNode => {
    const matched = positions.filter(
      (position) => position % 256 === paths[Math.floor(position / 256)]!.segments.length,
    );
    // Keys that no path names all lead to the same place.
    const next = new Map<string | undefined, PathNode | undefined>();
    return {
      mask: combine(matched.map((position) => paths[Math.floor(position / 256)]!.mask)),
      step(key) {
        const name = literals.has(key) ? key : undefined;
        if (next.has(name)) return next.get(name);
        const reached = new Set<Position>();
        for (const position of positions) {
          const path = Math.floor(position / 256);
          const segment = position % 256;
          const pattern = paths[path]!.segments[segment];
          if (pattern === '**') add(reached, path, segment);
          else if (pattern === '*' || (pattern !== undefined && pattern === name)) add(reached, path, segment + 1);
        }
        const node = place(reached);
        next.set(name, node);
        return node;
      },
    };
  };

  const start = new Set<Position>();
  for (let path = 0; path < paths.length; path++) add(start, path, 0);
  return place(start);
}

/**
 * @returns undefined when there are no fields
 * @throws MaskError SPM003 a key is missing, SPM007 a path cannot be read
 */
export function createFieldMasks(fields: readonly FieldMask[], keys: TokenKeys): FieldMasks | undefined {
  const paths = fields.map((field) => compilePath(field, keys));
  const root = createPlaces(paths);
  if (root === undefined) return undefined;
  const strictest = combine(paths.map((path) => path.mask))!;
  const text = wholeReplacement(strictest.transform);
  const withheld = text === null ? null : Buffer.from(JSON.stringify(text.toString('utf8')), 'utf8');
  const withhold = (count: CountMask): Buffer | null => {
    count(strictest.rules[0]!);
    return withheld;
  };
  return {
    root,
    withhold,
    mask(source, start, end, count) {
      const shown = rewriteJson(source, start, end, { root, content: undefined }, count);
      return shown === 'invalid' ? withhold(count) : shown;
    },
  };
}
