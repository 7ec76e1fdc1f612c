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

/** One column as the walk over a row sees it. */
interface Column {
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
    return { protect: undefined, search, fixed: undefined, rules, replaced: 0 };
  }
  const apply = compileTransform(transform, treatment.tokenKey, rules[0] ?? 'the masking rule');
  const protect = columnMask(transform, apply, typeOid, holdsText, format);
  const empty = Buffer.alloc(0);
  const same = transform.type === 'redact' || transform.type === 'nullify';
  return { protect, search: undefined, fixed: same ? protect(empty, 0, 0) : undefined, rules, replaced: 0 };
}

class DataRowMasker implements RowMasker {
  readonly active: boolean;
  readonly #columns: readonly Column[];
  readonly #found = new Map<string, number>();
  readonly #count: CountMask = (name) => {
    this.#found.set(name, (this.#found.get(name) ?? 0) + 1);
  };

  constructor(columns: readonly Column[]) {
    this.#columns = columns;
    this.active = columns.some((column) => column.protect !== undefined || column.search !== undefined);
  }

  mask(source: Buffer, bodyStart: number, bodyEnd: number, sink: ByteSink): boolean {
    const began = sink.length;
    try {
      return this.#mask(source, bodyStart, bodyEnd, sink);
    } catch (error) {
      // What was written of the row so far may hold values that were still to be masked.
      sink.length = began;
      throw error;
    }
  }

  #mask(source: Buffer, bodyStart: number, bodyEnd: number, sink: ByteSink): boolean {
    const columns = this.#columns;
    if (bodyEnd - bodyStart < 2) throw new MaskError('SPM001', 'DataRow');
    const announced = (source[bodyStart]! << 8) | source[bodyStart + 1]!;
    if (announced !== columns.length) throw new MaskError('SPM002', `${announced} instead of ${columns.length}`);
    const began = sink.length;
    let copied = bodyStart;
    let at = bodyStart + 2;
    for (let i = 0; i < columns.length; i++) {
      const value = at + 4;
      if (value > bodyEnd) throw new MaskError('SPM001', 'DataRow');
      const length = (source[at]! << 24) | (source[at + 1]! << 16) | (source[at + 2]! << 8) | source[at + 3]!;
      if (length < 0) {
        if (length !== -1) throw new MaskError('SPM001', 'DataRow');
        at = value;
        continue;
      }
      const end = value + length;
      if (end > bodyEnd) throw new MaskError('SPM001', 'DataRow');
      const column = columns[i]!;
      let shown: Buffer | null | undefined = column.fixed;
      if (shown === undefined) {
        if (column.protect !== undefined) shown = column.protect(source, value, end);
        else if (column.search !== undefined) shown = column.search(source, value, end, this.#count);
      }
      if (shown !== undefined) {
        column.replaced++;
        this.#write(source, copied, at, bodyStart, shown, sink);
        copied = end;
      }
      at = end;
    }
    if (at !== bodyEnd) throw new MaskError('SPM001', 'DataRow');
    if (copied === bodyStart) return false;
    sink.reserve(bodyEnd - copied);
    copyInto(sink.bytes, sink.length, source, copied, bodyEnd);
    sink.length += bodyEnd - copied;
    writeInt32(sink.bytes, began + 1, sink.length - began - 1);
    return true;
  }

  /** Copies what stands before a replaced value, after the message's header if it is the first, and writes the replacement. */
  #write(source: Buffer, from: number, to: number, bodyStart: number, shown: Buffer | null, sink: ByteSink): void {
    const size = shown === null ? 0 : shown.length;
    sink.reserve(HEADER + to - from + 4 + size);
    const target = sink.bytes;
    let at = sink.length;
    if (from === bodyStart) {
      target[at] = DATA_ROW;
      at += HEADER;
    }
    copyInto(target, at, source, from, to);
    at += to - from;
    writeInt32(target, at, shown === null ? -1 : size);
    at += 4;
    if (shown !== null) {
      copyInto(target, at, shown, 0, size);
      at += size;
    }
    sink.length = at;
  }

  get byName(): ReadonlyMap<string, number> {
    const counts = new Map(this.#found);
    for (const column of this.#columns) {
      if (column.protect === undefined || column.replaced === 0) continue;
      for (const rule of column.rules) counts.set(rule, (counts.get(rule) ?? 0) + column.replaced);
    }
    return counts;
  }

  takeCounts(): Map<string, number> {
    const counts = new Map(this.byName);
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
