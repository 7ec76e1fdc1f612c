import { createRowReader, type RecordedRow, type RowReader } from './postgres-rows.ts';
import { valueText } from './postgres-values.ts';

/** Some rows of a result, in order. */
export interface ResultRows {
  /** Names of the columns; `col1`, `col2`, … where the record does not hold them; one, `COPY`, for the lines of a COPY. */
  readonly columns: readonly string[];
  /** Null for NULL. */
  readonly rows: readonly (readonly (string | null)[])[];
  /** The first rows of their result. */
  readonly first: boolean;
}

/** What a result was as a whole, once all that is recorded of it was read. */
export interface ResultEnd {
  /** Rows that were read, of those recorded. */
  readonly rows: number;
  /** Bytes of the response as the client got it. */
  readonly bytes?: number;
  /** Bytes of it that are recorded, when not all are; `sha256` is then of all. */
  readonly recorded?: number;
  readonly sha256?: string;
  /** Why rows are missing here though they were recorded. */
  readonly problem?: string;
}

export interface ResultReader {
  /** Enters a `result.chunk`, or the `result` of an outcome. Rows come in batches, so that a result of any size needs little memory. */
  enter(part: Readonly<Record<string, unknown>>): { readonly rows: readonly ResultRows[]; readonly end?: ResultEnd };
}

const ENCODING = 'postgres-messages+base64';
const BATCH_ROWS = 256;
const BATCH_CHARACTERS = 64 * 1024;
/** What begins the data of COPY … WITH (FORMAT binary). */
const BINARY_COPY = Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1');
const LONGEST_LINE = 16 * 1024;
const NO_BYTES = Buffer.alloc(0);

interface Running {
  readonly reader: RowReader;
  readonly names: readonly string[] | undefined;
  readonly types: readonly number[];
  readonly formats: readonly number[];
  offset: number;
  rows: number;
  given: boolean;
  problem: string | undefined;
  /** A COPY: bytes of a line that is not complete; 'binary' once it is known to be. */
  copy: 'no' | 'text' | 'binary';
  line: Buffer;
  batch: (readonly (string | null)[])[];
  characters: number;
}

/** Reads the results of one session, one after another, as the lane records them. Total: damage is reported, never thrown. */
export function createResultReader(): ResultReader {
  let running: Running | undefined;

  return {
    enter(part) {
      const { offset, data, encoding, bytes, recorded, sha256 } = part;
      if (offset === 0 || running === undefined) running = begin(part);
      const result = running;
      const out: ResultRows[] = [];
      if (typeof data === 'string') {
        if (encoding !== ENCODING) result.problem ??= `its encoding, ${String(encoding)}, is not known here`;
        else if (offset !== result.offset) result.problem ??= 'a part of it is missing in the record';
        if (result.problem === undefined) {
          const bytesOfPart = Buffer.from(data, 'base64');
          result.offset += bytesOfPart.length;
          take(result, result.reader.feed(bytesOfPart), out);
        }
      }
      if (typeof bytes !== 'number') return { rows: out };
      running = undefined;
      if (result.problem === undefined) take(result, result.reader.end(), out);
      if (result.line.length > 0) endLine(result, out);
      giveBatch(result, out);
      return {
        rows: out,
        end: {
          rows: result.rows,
          bytes,
          ...(typeof recorded === 'number' ? { recorded } : {}),
          ...(typeof sha256 === 'string' ? { sha256 } : {}),
          ...(result.problem === undefined ? {} : { problem: result.problem }),
        },
      };
    },
  };
}

function begin({ columns, formats }: Readonly<Record<string, unknown>>): Running {
  const described = Array.isArray(columns) ? columns.map(columnOf) : undefined;
  return {
    reader: createRowReader(),
    names: described?.map(([name]) => name),
    types: described?.map(([, type]) => type) ?? [],
    formats: Array.isArray(formats) ? formats.map((format) => (format === 1 ? 1 : 0)) : [],
    offset: 0,
    rows: 0,
    given: false,
    problem: undefined,
    copy: 'no',
    line: NO_BYTES,
    batch: [],
    characters: 0,
  };
}

function columnOf(column: unknown, index: number): [string, number] {
  const [name, type]: unknown[] = Array.isArray(column) ? column : [];
  return [typeof name === 'string' ? name : `col${index + 1}`, typeof type === 'number' ? type : 0];
}

function take(result: Running, rows: readonly RecordedRow[], out: ResultRows[]): void {
  for (const row of rows) {
    switch (row.type) {
      case 'row':
        add(result, cellsOf(result, row), out);
        break;
      case 'copy':
        takeCopy(result, row.bytes, out);
        break;
      case 'unreadable':
        result.problem = 'its bytes are not rows';
        return;
      default:
        row satisfies never;
    }
  }
}

function cellsOf(result: Running, { cells, cut }: { cells: readonly (Buffer | null)[]; cut: boolean }) {
  const texts = cells.map((cell, index) => shown(result, cell, index));
  if (!cut) return texts;
  const last = texts.pop();
  return [...texts, `${last ?? ''}…`];
}

function shown({ types, formats }: Running, cell: Buffer | null, index: number): string | null {
  if (cell === null) return null;
  // As in Bind: none, all are text; one, it is for all of them.
  const format = formats.length === 1 ? formats[0] : formats[index];
  return valueText(cell, types[index], format ?? 0);
}

/** Lines as they came: what separates columns in them is up to the statement's options. */
function takeCopy(result: Running, bytes: Buffer, out: ResultRows[]): void {
  if (result.copy === 'no') result.copy = bytes.indexOf(BINARY_COPY) === 0 ? 'binary' : 'text';
  if (result.copy === 'binary') {
    result.problem ??= 'COPY in binary format is not read here';
    return;
  }
  let start = 0;
  for (let end = bytes.indexOf(0x0a); end !== -1; end = bytes.indexOf(0x0a, start)) {
    lengthen(result, bytes.subarray(start, end));
    endLine(result, out);
    start = end + 1;
  }
  lengthen(result, bytes.subarray(start));
}

function lengthen(result: Running, bytes: Buffer): void {
  const room = LONGEST_LINE + 1 - result.line.length;
  if (room > 0 && bytes.length > 0) result.line = Buffer.concat([result.line, bytes.subarray(0, room)]);
}

function endLine(result: Running, out: ResultRows[]): void {
  const { line } = result;
  result.line = NO_BYTES;
  add(result, [valueText(line, undefined, 0)], out);
}

function add(result: Running, cells: readonly (string | null)[], out: ResultRows[]): void {
  result.rows++;
  result.batch.push(cells);
  for (const cell of cells) result.characters += cell?.length ?? 0;
  if (result.batch.length >= BATCH_ROWS || result.characters >= BATCH_CHARACTERS) giveBatch(result, out);
}

function giveBatch(result: Running, out: ResultRows[]): void {
  if (result.batch.length === 0) return;
  const width = result.batch[0]?.length ?? 0;
  const columns =
    result.names ?? (result.copy === 'no' ? Array.from({ length: width }, (_, index) => `col${index + 1}`) : ['COPY']);
  out.push({ columns, rows: result.batch, first: !result.given });
  result.given = true;
  result.batch = [];
  result.characters = 0;
}
