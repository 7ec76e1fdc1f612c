import { isHex } from './detect/bytes.ts';
import type { ContentDetectors } from './detectors.ts';
import { MaskError } from './errors.ts';
import type { FieldMasks } from './fields.ts';
import type { ByteSink, CountMask, MaskCounts } from './port.ts';
import { contentMask, type ValueMask } from './values.ts';

/** How COPY TO STDOUT writes rows (PostgreSQL manual, COPY, File Formats). Single bytes. */
export interface CopyFormat {
  readonly format: 'text' | 'csv' | 'binary';
  /** Default: tab for text, comma for CSV. */
  readonly delimiter?: string;
  /** CSV only. Default: the double quote. */
  readonly quote?: string;
  /** CSV only. Default: the same as quote. */
  readonly escape?: string;
  /** Text that stands for NULL. Default: `\N` for text, nothing for CSV. */
  readonly nullText?: string;
}

/** Masks the rows of one COPY TO STDOUT by what they hold: columns are not known here, the guard refuses protected ones. */
export interface CopyMasker extends MaskCounts {
  /**
   * Takes the body of one CopyData message, `source[bodyStart..bodyEnd)`. Returns false, with nothing written, when the message stays
   * as it is. Otherwise the sink has the whole message to send instead, or nothing yet when the row goes on in the next message.
   * @throws MaskError SPM005 when a row is larger than can be searched
   */
  mask(source: Buffer, bodyStart: number, bodyEnd: number, sink: ByteSink): boolean;
  /** At CopyDone: writes what is still held back, if anything. */
  finish(sink: ByteSink): void;
  takeCounts(): Map<string, number>;
}

const COPY_DATA = 0x64;
const HEADER = 5;
const NEWLINE = 0x0a;
const RETURN = 0x0d;
const BACKSLASH = 0x5c;
/** Most bytes of one message, or of one row that is split over messages. */
export const COPY_ROW_LIMIT = 16 * 1024 * 1024;
const ROW_LIMIT_TEXT = '16 MiB';

/** OIDs whose treatment fits: any text, and bytea in hex. */
const TEXT_OID = 25;
const BYTEA_OID = 17;

/** Escapes of COPY's text format. */
const UNESCAPED: ReadonlyMap<number, number> = new Map([
  [0x62, 0x08], // \b
  [0x66, 0x0c], // \f
  [0x6e, 0x0a], // \n
  [0x72, 0x0d], // \r
  [0x74, 0x09], // \t
  [0x76, 0x0b], // \v
]);
const ESCAPED: ReadonlyMap<number, number> = new Map([...UNESCAPED].map(([letter, byte]) => [byte, letter]));

interface Dialect {
  readonly csv: boolean;
  readonly delimiter: number;
  readonly quote: number;
  readonly escape: number;
  readonly nullText: Buffer;
}

function dialectOf(format: CopyFormat): Dialect {
  if (format.format === 'binary') throw new MaskError('SPM006', 'rows cannot be told apart without their types');
  const csv = format.format === 'csv';
  const quote = (format.quote ?? '"').charCodeAt(0);
  return {
    csv,
    delimiter: (format.delimiter ?? (csv ? ',' : '\t')).charCodeAt(0),
    quote,
    escape: format.escape === undefined ? quote : format.escape.charCodeAt(0),
    nullText: Buffer.from(format.nullText ?? (csv ? '' : '\\N'), 'utf8'),
  };
}

/** The value of one field in text format, and whether it had escapes. */
function decodeText(source: Buffer, from: number, to: number): Buffer {
  const value = Buffer.allocUnsafe(to - from);
  let length = 0;
  for (let at = from; at < to; at++) {
    let byte = source[at]!;
    if (byte === BACKSLASH && at + 1 < to) {
      at++;
      byte = UNESCAPED.get(source[at]!) ?? source[at]!;
    }
    value[length++] = byte;
  }
  return value.subarray(0, length);
}

function encodeText(value: Buffer, delimiter: number): Buffer {
  const bytes: number[] = [];
  for (const byte of value) {
    const letter = ESCAPED.get(byte);
    if (letter !== undefined) bytes.push(BACKSLASH, letter);
    else if (byte === BACKSLASH || byte === delimiter) bytes.push(BACKSLASH, byte);
    else bytes.push(byte);
  }
  return Buffer.from(bytes);
}

/** The value of one quoted CSV field, quotes excluded from the range. */
function decodeCsv(source: Buffer, from: number, to: number, dialect: Dialect): Buffer {
  const value = Buffer.allocUnsafe(to - from);
  let length = 0;
  for (let at = from; at < to; at++) {
    const next = source[at + 1];
    if (source[at] === dialect.escape && at + 1 < to && (next === dialect.quote || next === dialect.escape)) at++;
    value[length++] = source[at]!;
  }
  return value.subarray(0, length);
}

function encodeCsv(value: Buffer, dialect: Dialect): Buffer {
  const bytes: number[] = [dialect.quote];
  for (const byte of value) {
    if (byte === dialect.quote || byte === dialect.escape) bytes.push(dialect.escape);
    bytes.push(byte);
  }
  bytes.push(dialect.quote);
  return Buffer.from(bytes);
}

/**
 * @returns undefined when there is nothing to look for
 * @throws MaskError SPM006 for the binary format
 */
export function createCopyMasker(
  format: CopyFormat,
  content: ContentDetectors | undefined,
  fields?: FieldMasks,
): CopyMasker | undefined {
  const text = contentMask({ content, fields }, TEXT_OID, false, 0);
  const bytea = contentMask({ content, fields }, BYTEA_OID, false, 0);
  if (text === undefined || bytea === undefined) return undefined;
  const dialect = dialectOf(format);
  let counts = new Map<string, number>();
  let held: Buffer[] = [];
  let heldBytes = 0;
  const count: CountMask = (name) => {
    counts.set(name, (counts.get(name) ?? 0) + 1);
  };

  const send = (body: Buffer, sink: ByteSink): void => {
    sink.reserve(HEADER + body.length);
    sink.bytes[sink.length] = COPY_DATA;
    sink.bytes.writeUInt32BE(body.length + 4, sink.length + 1);
    body.copy(sink.bytes, sink.length + HEADER);
    sink.length += HEADER + body.length;
  };

  /** Whole rows, or undefined when they stay as they are. */
  const maskRows = (source: Buffer, start: number, end: number): Buffer | undefined =>
    dialect.csv
      ? maskCsv(source, start, end, dialect, fieldMask(text, bytea), count)
      : maskText(source, start, end, dialect, fieldMask(text, bytea), count);

  return {
    mask(source, bodyStart, bodyEnd, sink) {
      if (heldBytes + bodyEnd - bodyStart > COPY_ROW_LIMIT) throw new MaskError('SPM005', ROW_LIMIT_TEXT);
      if (held.length === 0 && endsRow(source, bodyStart, bodyEnd, dialect)) {
        const shown = maskRows(source, bodyStart, bodyEnd);
        if (shown !== undefined) send(shown, sink);
        return shown !== undefined;
      }
      // A row that goes on in the next message: only a whole one can be searched.
      held.push(Buffer.from(source.subarray(bodyStart, bodyEnd)));
      heldBytes += bodyEnd - bodyStart;
      const rows = held.length === 1 ? held[0]! : Buffer.concat(held);
      if (endsRow(rows, 0, rows.length, dialect)) {
        held = [];
        heldBytes = 0;
        send(maskRows(rows, 0, rows.length) ?? rows, sink);
      } else if (held.length > 1) held = [rows];
      return true;
    },
    finish(sink) {
      if (held.length === 0) return;
      const rows = Buffer.concat(held);
      held = [];
      heldBytes = 0;
      send(maskRows(rows, 0, rows.length) ?? rows, sink);
    },
    get byName() {
      return counts;
    },
    takeCounts() {
      const taken = counts;
      counts = new Map();
      return taken;
    },
  };
}

/** bytea shows as `\x` and hex, everything else as text; which columns are bytea is not known here. */
function fieldMask(text: ValueMask, bytea: ValueMask): ValueMask {
  return (source, start, end, count) => {
    const shown = text(source, start, end, count);
    if (shown !== undefined) return shown;
    return looksLikeHex(source, start, end) ? bytea(source, start, end, count) : undefined;
  };
}

/** `\x` and pairs of hexadecimal digits: what bytea looks like, and then only if it is all of that. */
function looksLikeHex(source: Buffer, start: number, end: number): boolean {
  if (end - start < 4 || (end - start) % 2 !== 0 || source[start] !== BACKSLASH || source[start + 1] !== 0x78)
    return false;
  for (let at = start + 2; at < end; at++) if (!isHex(source[at]!)) return false;
  return true;
}

/** Whether the bytes end where a row ends: a line break that no quote holds open. */
function endsRow(source: Buffer, start: number, end: number, dialect: Dialect): boolean {
  if (end === start) return true;
  if (source[end - 1] !== NEWLINE) return false;
  if (!dialect.csv) {
    // A line break behind a backslash is part of a value.
    let backslashes = 0;
    while (end - 2 - backslashes >= start && source[end - 2 - backslashes] === BACKSLASH) backslashes++;
    return backslashes % 2 === 0;
  }
  let open = false;
  for (let at = start; at < end; at++) {
    if (open && source[at] === dialect.escape && dialect.escape !== dialect.quote && at + 1 < end) at++;
    else if (source[at] === dialect.quote) open = !open;
  }
  return !open;
}

/** Collects the rows with the fields replaced; undefined as long as none was. */
class Rewrite {
  readonly #source: Buffer;
  readonly #parts: Buffer[] = [];
  #copied: number;

  constructor(source: Buffer, start: number) {
    this.#source = source;
    this.#copied = start;
  }

  replace(from: number, to: number, by: Buffer): void {
    this.#parts.push(this.#source.subarray(this.#copied, from), by);
    this.#copied = to;
  }

  end(end: number): Buffer | undefined {
    if (this.#parts.length === 0) return undefined;
    this.#parts.push(this.#source.subarray(this.#copied, end));
    return Buffer.concat(this.#parts);
  }
}

function isNull(source: Buffer, from: number, to: number, dialect: Dialect): boolean {
  return source.compare(dialect.nullText, 0, dialect.nullText.length, from, to) === 0;
}

function maskText(
  source: Buffer,
  start: number,
  end: number,
  dialect: Dialect,
  mask: ValueMask,
  count: CountMask,
): Buffer | undefined {
  const rewrite = new Rewrite(source, start);
  let from = start;
  while (from < end) {
    let to = from;
    let escaped = false;
    while (to < end && source[to] !== dialect.delimiter && source[to] !== NEWLINE) {
      if (source[to] === BACKSLASH) {
        escaped = true;
        to++;
      }
      to++;
    }
    to = Math.min(to, end);
    if (!isNull(source, from, to, dialect)) {
      const value = escaped ? decodeText(source, from, to) : undefined;
      const shown = value === undefined ? mask(source, from, to, count) : mask(value, 0, value.length, count);
      if (shown === null) rewrite.replace(from, to, dialect.nullText);
      else if (shown !== undefined) rewrite.replace(from, to, encodeText(shown, dialect.delimiter));
    }
    from = to + 1;
  }
  return rewrite.end(end);
}

function maskCsv(
  source: Buffer,
  start: number,
  end: number,
  dialect: Dialect,
  mask: ValueMask,
  count: CountMask,
): Buffer | undefined {
  const rewrite = new Rewrite(source, start);
  let from = start;
  while (from < end) {
    const quoted = source[from] === dialect.quote;
    let to = quoted ? endOfQuoted(source, from + 1, end, dialect) : from;
    while (to < end && source[to] !== dialect.delimiter && source[to] !== NEWLINE && source[to] !== RETURN) to++;
    if (quoted || !isNull(source, from, to, dialect)) {
      const value = quoted
        ? decodeCsv(source, from + 1, Math.max(from + 1, to - 1), dialect)
        : source.subarray(from, to);
      const shown = mask(value, 0, value.length, count);
      if (shown === null) rewrite.replace(from, to, dialect.nullText);
      else if (shown !== undefined) rewrite.replace(from, to, encodeCsv(shown, dialect));
    }
    from = to + 1;
  }
  return rewrite.end(end);
}

/** The place after the quote that closes the field. */
function endOfQuoted(source: Buffer, from: number, end: number, dialect: Dialect): number {
  let at = from;
  while (at < end) {
    const byte = source[at]!;
    const next = at + 1 < end ? source[at + 1] : undefined;
    if (byte === dialect.escape && (next === dialect.quote || next === dialect.escape)) at += 2;
    else if (byte === dialect.quote) return at + 1;
    else at++;
  }
  return end;
}
