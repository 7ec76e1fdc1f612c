import type { ContentDetectors } from './detectors.ts';
import { MaskError } from './errors.ts';
import type { FieldMasks } from './fields.ts';
import type { ByteSink, ColumnTreatment, CountMask, MaskCounts } from './port.ts';
import { compileTransform } from './transforms.ts';
import { type ColumnMask, columnMask, contentMask, type ValueMask } from './values.ts';

/** Masks the rows of one result. Not shared between results: it counts. */
export interface RowMasker extends MaskCounts {
  /** False when no row can change: the caller need not ask. */
  readonly active: boolean;
  /**
   * Takes the body of one DataRow (PostgreSQL protocol, section Message Formats: Int16 columns, then per column Int32 length, -1 for
   * NULL, and bytes), which is `source[bodyStart..bodyEnd)`, and writes the whole rewritten message, type and length included, to
   * the sink. Returns false, with nothing written, when the row stays as it is.
   * @throws MaskError SPM001, SPM002 when the row is not well-formed: nothing is written, and the session must end
   */
  mask(source: Buffer, bodyStart: number, bodyEnd: number, sink: ByteSink): boolean;
  /**
   * Takes whole DataRow messages, type and length included, that stand one behind the other from `start`, and writes them all to the
   * sink, changed or not. Stops at `end`, at a message of another type, at one that is not whole, and at one of impossible length;
   * returns where.
   * @throws MaskError SPM001, SPM002 as `mask`: none of these rows is written
   */
  maskRun(source: Buffer, start: number, end: number, sink: ByteSink): number;
  /** How many rows the last run had. */
  readonly ranRows: number;
  /** The counts so far by name, set back to zero. */
  takeCounts(): Map<string, number>;
}

/** `D`, the message type of DataRow. */
const DATA_ROW = 0x44;
const HEADER = 5;
/** Up to here a loop is faster than a call into the engine's copy. */
const SHORT_COPY = 48;

function copyInto(target: Buffer, at: number, source: Buffer, from: number, to: number): void {
  if (to - from > SHORT_COPY) {
    source.copy(target, at, from, to);
    return;
  }
  for (let i = from; i < to; i++) target[at++] = source[i]!;
}

function writeInt32(target: Buffer, at: number, value: number): void {
  target[at] = value >> 24;
  target[at + 1] = value >> 16;
  target[at + 2] = value >> 8;
  target[at + 3] = value;
}

function readInt32(source: Buffer, at: number): number {
  return (source[at]! << 24) | (source[at + 1]! << 16) | (source[at + 2]! << 8) | source[at + 3]!;
}

/** One column as the walk over a row sees it. */
interface Column {
  readonly treated: boolean;
  /** Exactly one of the two is set for a treated column, none for one that is passed over. */
  readonly protect: ColumnMask | undefined;
  readonly search: ValueMask | undefined;
  /** A replacement that is the same for every value; null is NULL. */
  readonly fixed: Buffer | null | undefined;
  readonly rules: readonly string[];
  replaced: number;
}

const NO_RULES: readonly string[] = [];

function compileColumn(
  treatment: ColumnTreatment,
  content: ContentDetectors | undefined,
  fields: FieldMasks | undefined,
): Column {
  const { transform, typeOid, format, holdsText = false, rules = NO_RULES } = treatment;
  if (transform === undefined) {
    const search = contentMask({ content, fields }, typeOid, holdsText, format);
    return { treated: search !== undefined, protect: undefined, search, fixed: undefined, rules, replaced: 0 };
  }
  const apply = compileTransform(transform, treatment.tokenKey, rules[0] ?? 'the masking rule');
  const protect = columnMask(transform, apply, typeOid, holdsText, format);
  const empty = Buffer.alloc(0);
  const same = transform.type === 'redact' || transform.type === 'nullify';
  const fixed = same ? protect(empty, 0, 0) : undefined;
  return { treated: true, protect, search: undefined, fixed, rules, replaced: 0 };
}

class DataRowMasker implements RowMasker {
  readonly active: boolean;
  ranRows = 0;
  readonly #columns: readonly Column[];
  /** Up to where the source stands in the sink. */
  #copied = 0;
  readonly #found = new Map<string, number>();
  readonly #count: CountMask = (name) => {
    this.#found.set(name, (this.#found.get(name) ?? 0) + 1);
  };

  constructor(columns: readonly Column[]) {
    this.#columns = columns;
    this.active = columns.some((column) => column.treated);
  }

  mask(source: Buffer, bodyStart: number, bodyEnd: number, sink: ByteSink): boolean {
    const began = sink.length;
    try {
      sink.reserve(HEADER);
      sink.bytes[began] = DATA_ROW;
      sink.length += HEADER;
      this.#copied = bodyStart;
      this.#row(source, bodyStart, bodyEnd, sink);
      if (this.#copied === bodyStart) {
        sink.length = began;
        return false;
      }
      this.#copyTo(source, bodyEnd, sink);
      writeInt32(sink.bytes, began + 1, sink.length - began - 1);
      return true;
    } catch (error) {
      // What was written of the row so far may hold values that were still to be masked.
      sink.length = began;
      throw error;
    }
  }

  maskRun(source: Buffer, start: number, end: number, sink: ByteSink): number {
    const began = sink.length;
    let at = start;
    let rows = 0;
    this.#copied = start;
    try {
      while (end - at >= HEADER && source[at] === DATA_ROW) {
        const length = readInt32(source, at + 1);
        if (length < 4 || length >= end - at) break;
        const next = at + 1 + length;
        // Where this row's header will be once what stands before its first replaced value is copied.
        const header = sink.length + at - this.#copied;
        const grown = this.#row(source, at + HEADER, next, sink);
        if (grown !== 0) writeInt32(sink.bytes, header + 1, length + grown);
        at = next;
        rows++;
      }
      this.#copyTo(source, at, sink);
    } catch (error) {
      sink.length = began;
      throw error;
    }
    this.ranRows = rows;
    return at;
  }

  /**
   * Writes what stands before each replaced value, from `#copied` on, and the replacement: what is not replaced is copied as late, and as much at
   * once, as can be, over the ends of rows. Returns by how much the row has grown.
   */
  #row(source: Buffer, bodyStart: number, bodyEnd: number, sink: ByteSink): number {
    const columns = this.#columns;
    if (bodyEnd - bodyStart < 2) throw new MaskError('SPM001', 'DataRow');
    const announced = (source[bodyStart]! << 8) | source[bodyStart + 1]!;
    if (announced !== columns.length) throw new MaskError('SPM002', `${announced} instead of ${columns.length}`);
    let grown = 0;
    let at = bodyStart + 2;
    for (let i = 0; i < announced; i++) {
      const value = at + 4;
      if (value > bodyEnd) throw new MaskError('SPM001', 'DataRow');
      const length = readInt32(source, at);
      if (length < 0) {
        if (length !== -1) throw new MaskError('SPM001', 'DataRow');
        at = value;
        continue;
      }
      const end = value + length;
      if (end > bodyEnd) throw new MaskError('SPM001', 'DataRow');
      const column = columns[i]!;
      if (column.treated) {
        const shown = this.#shown(column, source, value, end);
        if (shown !== undefined) {
          column.replaced++;
          this.#replace(source, at, end, shown, sink);
          grown += (shown === null ? 0 : shown.length) - length;
        }
      }
      at = end;
    }
    if (at !== bodyEnd) throw new MaskError('SPM001', 'DataRow');
    return grown;
  }

  #shown(column: Column, source: Buffer, start: number, end: number): Buffer | null | undefined {
    if (column.fixed !== undefined) return column.fixed;
    if (column.protect !== undefined) return column.protect(source, start, end);
    return column.search?.(source, start, end, this.#count);
  }

  /** The value whose length stands at `at`, and that ends at `end`. */
  #replace(source: Buffer, at: number, end: number, shown: Buffer | null, sink: ByteSink): void {
    const from = this.#copied;
    const size = shown === null ? 0 : shown.length;
    sink.reserve(at - from + 4 + size);
    const target = sink.bytes;
    copyInto(target, sink.length, source, from, at);
    const into = sink.length + at - from;
    writeInt32(target, into, shown === null ? -1 : size);
    if (shown !== null) copyInto(target, into + 4, shown, 0, size);
    sink.length = into + 4 + size;
    this.#copied = end;
  }

  #copyTo(source: Buffer, to: number, sink: ByteSink): void {
    const from = this.#copied;
    sink.reserve(to - from);
    copyInto(sink.bytes, sink.length, source, from, to);
    sink.length += to - from;
  }

  get byName(): ReadonlyMap<string, number> {
    return this.#counts();
  }

  #counts(): Map<string, number> {
    const counts = new Map(this.#found);
    for (const column of this.#columns) {
      if (column.protect === undefined || column.replaced === 0) continue;
      for (const rule of column.rules) counts.set(rule, (counts.get(rule) ?? 0) + column.replaced);
    }
    return counts;
  }

  takeCounts(): Map<string, number> {
    const counts = this.#counts();
    this.#found.clear();
    for (const column of this.#columns) column.replaced = 0;
    return counts;
  }
}

/**
 * @param columns in the order of RowDescription, with the format codes of the portal
 * @param content detectors for what no column rule covers
 * @param fields field paths for JSON in what no column rule covers
 * @throws MaskError SPM003 when a tokenize column has no key
 */
export function createRowMasker(
  columns: readonly ColumnTreatment[],
  content: ContentDetectors | undefined,
  fields?: FieldMasks,
): RowMasker {
  return new DataRowMasker(columns.map((column) => compileColumn(column, content, fields)));
}
