import { type FieldMask, TRANSFORM_STRICTNESS } from '../../policy/masking.ts';
import { MaskError } from './errors.ts';
import { type JsonTransform, rewriteJson } from './json.ts';
import { KeyIndex } from './key-index.ts';
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
  /** As `step`, of the key bytes[from, to), and of the element with this index: without a string made of it. */
  stepBytes?(bytes: Buffer, from: number, to: number): PathNode | undefined;
  stepIndex?(index: number): PathNode | undefined;
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
class Automaton {
  readonly keys: KeyIndex;
  readonly #paths: readonly CompiledPath[];
  readonly #places = new Map<string, Place>();

  constructor(paths: readonly CompiledPath[]) {
    this.#paths = paths;
    this.keys = new KeyIndex(paths.flatMap((path) => path.segments.filter((segment) => !segment.startsWith('*'))));
  }

  start(): Place | undefined {
    const start = new Set<Position>();
    for (let path = 0; path < this.#paths.length; path++) this.#add(start, path, 0);
    return this.#place(start);
  }

  /** Where a key with this number leads from these positions. */
  after(positions: readonly Position[], key: number): Place | undefined {
    const reached = new Set<Position>();
    for (const position of positions) {
      const path = Math.floor(position / 256);
      const segment = position % 256;
      const pattern = this.#paths[path]!.segments[segment];
      if (pattern === '**') this.#add(reached, path, segment);
      else if (pattern === '*' || (pattern !== undefined && key !== 0 && this.keys.ofText(pattern) === key))
        this.#add(reached, path, segment + 1);
    }
    return this.#place(reached);
  }

  #add(positions: Set<Position>, path: number, segment: number): void {
    positions.add(path * 256 + segment);
    if (this.#paths[path]!.segments[segment] === '**') this.#add(positions, path, segment + 1);
  }

  #place(positions: ReadonlySet<Position>): Place | undefined {
    if (positions.size === 0) return undefined;
    const sorted = [...positions].sort((a, b) => a - b);
    const name = sorted.join();
    let place = this.#places.get(name);
    if (place === undefined) {
      const matched = sorted.filter((at) => at % 256 === this.#paths[Math.floor(at / 256)]!.segments.length);
      place = new Place(this, sorted, combine(matched.map((at) => this.#paths[Math.floor(at / 256)]!.mask)));
      if (this.#places.size >= MOST_PLACES) this.#places.clear();
      this.#places.set(name, place);
    }
    return place;
  }
}

/** A class for the sake of speed: every key of every document goes by here. */
class Place implements PathNode {
  readonly mask: PathMask | undefined;
  readonly #automaton: Automaton;
  readonly #keys: KeyIndex;
  readonly #positions: readonly Position[];
  /** By number of the key. */
  readonly #next = new Map<number, Place | undefined>();
  /** Keys that no path names all lead to the same place. Null: nothing is masked there. */
  #others: Place | null | undefined;

  constructor(automaton: Automaton, positions: readonly Position[], mask: PathMask | undefined) {
    this.mask = mask;
    this.#automaton = automaton;
    this.#keys = automaton.keys;
    this.#positions = positions;
  }

  step(key: string): Place | undefined {
    return this.#step(this.#keys.ofText(key));
  }

  stepBytes(bytes: Buffer, from: number, to: number): Place | undefined {
    return this.#step(this.#keys.ofBytes(bytes, from, to));
  }

  stepIndex(index: number): Place | undefined {
    return this.#step(this.#keys.ofIndex(index));
  }

  #step(key: number): Place | undefined {
    if (key === 0) {
      this.#others ??= this.#automaton.after(this.#positions, 0) ?? null;
      return this.#others ?? undefined;
    }
    const known = this.#next.get(key);
    if (known !== undefined || this.#next.has(key)) return known;
    const made = this.#automaton.after(this.#positions, key);
    this.#next.set(key, made);
    return made;
  }
}

/**
 * @returns undefined when there are no fields
 * @throws MaskError SPM003 a key is missing, SPM007 a path cannot be read
 */
export function createFieldMasks(fields: readonly FieldMask[], keys: TokenKeys): FieldMasks | undefined {
  const paths = fields.map((field) => compilePath(field, keys));
  const root = new Automaton(paths).start();
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
