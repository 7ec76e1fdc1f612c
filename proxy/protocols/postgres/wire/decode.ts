/** Readers of protocol messages: small pure functions over a range of bytes. They throw ProtocolViolation, never read past `end`. */

export class ProtocolViolation extends Error {
  override readonly name = 'ProtocolViolation';
}

/** Names are shorter: up to here a loop is faster than a call into the engine's search. */
const SHORT_STRING = 32;

/** Position of the NUL that ends the string at `start`. */
export function endOfString(bytes: Buffer, start: number, end: number): number {
  const near = Math.min(end, start + SHORT_STRING);
  for (let at = start; at < near; at++) if (bytes[at] === 0) return at;
  const at = near < end ? bytes.indexOf(0, near) : -1;
  if (at < 0 || at >= end) throw new ProtocolViolation('a string without its terminating NUL');
  return at;
}

/** Names seen lately, by length: a session says the same few over and over, and a string that is there need not be made. */
const recentNames: string[] = [];

/** The name in bytes[start, end). */
export function nameOf(bytes: Buffer, start: number, end: number): string {
  const length = end - start;
  if (length === 0) return '';
  if (length >= SHORT_STRING) return bytes.toString('utf8', start, end);
  const recent = recentNames[length];
  if (recent !== undefined && isAt(bytes, start, recent)) return recent;
  const name = bytes.toString('utf8', start, end);
  recentNames[length] = name;
  return name;
}

/** Whether the text, one byte for each of its characters, is at `start`. What is not ASCII differs in length, or here. */
function isAt(bytes: Buffer, start: number, text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 127 || bytes[start + i] !== code) return false;
  }
  return true;
}

/** Descriptions of a few columns are shorter: up to here a loop is faster than a call into the engine's comparison. */
const SHORT_DESCRIPTION = 128;

/** Whether bytes[start, end) are these. */
export function sameBytes(bytes: Buffer, start: number, end: number, known: Buffer): boolean {
  const length = end - start;
  if (known.length !== length) return false;
  if (length > SHORT_DESCRIPTION) return bytes.compare(known, 0, length, start, end) === 0;
  for (let i = 0; i < length; i++) if (bytes[start + i] !== known[i]) return false;
  return true;
}

export interface ColumnDescription {
  readonly name: string;
  readonly tableOid: number;
  readonly attnum: number;
  readonly typeOid: number;
  readonly format: 0 | 1;
}

/** RowDescription body ('T'): Int16 count, then per column name, table OID, attnum, type OID, typlen, typmod, format. */
export function rowDescription(bytes: Buffer, start: number, end: number): ColumnDescription[] {
  if (end - start < 2) throw new ProtocolViolation('RowDescription is too short');
  const count = bytes.readUInt16BE(start);
  const columns: ColumnDescription[] = [];
  let at = start + 2;
  for (let i = 0; i < count; i++) {
    const nameEnd = endOfString(bytes, at, end);
    if (nameEnd + 19 > end) throw new ProtocolViolation('RowDescription is too short');
    columns.push({
      name: bytes.toString('utf8', at, nameEnd),
      tableOid: bytes.readUInt32BE(nameEnd + 1),
      attnum: bytes.readInt16BE(nameEnd + 5),
      typeOid: bytes.readUInt32BE(nameEnd + 7),
      format: bytes.readInt16BE(nameEnd + 17) === 1 ? 1 : 0,
    });
    at = nameEnd + 19;
  }
  return columns;
}

/** OIDs of a list as Parse ends with and ParameterDescription ('t') consists of: Int16 count, then Int32 each. */
export function parameterTypes(bytes: Buffer, start: number, end: number): number[] {
  if (end - start < 2 || end - start !== 2 + 4 * bytes.readUInt16BE(start))
    throw new ProtocolViolation('a list of types of another length than it says');
  const types: number[] = [];
  for (let at = start + 2; at < end; at += 4) types.push(bytes.readUInt32BE(at));
  return types;
}

/** SQLSTATE of an ErrorResponse or NoticeResponse body. */
export function sqlState(bytes: Buffer, start: number, end: number): string {
  let at = start;
  while (at < end && bytes[at] !== 0) {
    const stop = endOfString(bytes, at + 1, end);
    if (bytes[at] === 67) return bytes.toString('latin1', at + 1, stop);
    at = stop + 1;
  }
  return 'XX000';
}

export interface BindHeader {
  readonly portal: string;
  readonly statement: string;
  /** Where each parameter's value lies: start and length, -1 for NULL. */
  readonly parameters: readonly { readonly start: number; readonly length: number; readonly format: 0 | 1 }[];
  /** As in the message: none (all text), one for all, or one per column. */
  readonly resultFormats: readonly number[];
}

/** Bind body ('B'). Every length is checked against the message. */
export function bindMessage(bytes: Buffer, start: number, end: number): BindHeader {
  const portalEnd = endOfString(bytes, start, end);
  const statementEnd = endOfString(bytes, portalEnd + 1, end);
  let at = statementEnd + 1;
  const formats = int16List(bytes, at, end);
  at += 2 + formats.length * 2;
  if (at + 2 > end) throw new ProtocolViolation(BIND_TOO_SHORT);
  const parameterCount = bytes.readUInt16BE(at);
  at += 2;
  // Each has a length: so many are there, and their places can be made in one piece.
  if (at + 4 * parameterCount > end) throw new ProtocolViolation(BIND_TOO_SHORT);
  const parameters = parameterCount === 0 ? NO_PLACES : new Array<BindHeader['parameters'][number]>(parameterCount);
  for (let i = 0; i < parameterCount; i++) {
    if (at + 4 > end) throw new ProtocolViolation(BIND_TOO_SHORT);
    const length = bytes.readInt32BE(at);
    at += 4;
    if (length < -1) throw new ProtocolViolation('Bind has a parameter of negative length');
    if (length > 0 && at + length > end) throw new ProtocolViolation(BIND_TOO_SHORT);
    const format = (formats.length === 1 ? formats[0] : formats[i]) === 1 ? 1 : 0;
    parameters[i] = { start: at, length, format };
    if (length > 0) at += length;
  }
  const resultFormats = int16List(bytes, at, end);
  at += 2 + resultFormats.length * 2;
  if (at !== end) throw new ProtocolViolation('Bind is longer than its own counts say');
  return {
    portal: nameOf(bytes, start, portalEnd),
    statement: nameOf(bytes, portalEnd + 1, statementEnd),
    parameters,
    resultFormats,
  };
}

const BIND_TOO_SHORT = 'Bind is shorter than its own counts say';
const NONE: readonly number[] = [];
const NO_PLACES: BindHeader['parameters'][number][] = [];

/** An Int16 count and as many Int16 values. */
function int16List(bytes: Buffer, start: number, end: number): readonly number[] {
  if (start + 2 > end) throw new ProtocolViolation(BIND_TOO_SHORT);
  const count = bytes.readUInt16BE(start);
  if (count === 0) return NONE;
  if (start + 2 + count * 2 > end) throw new ProtocolViolation(BIND_TOO_SHORT);
  const values: number[] = [];
  for (let i = 0; i < count; i++) values.push(bytes.readInt16BE(start + 2 + i * 2));
  return values;
}

/** Arguments of a FunctionCall ('F') behind its OID: formats, values, and the format of the result. */
export function functionArguments(
  bytes: Buffer,
  start: number,
  end: number,
): { readonly parameters: readonly (Buffer | null)[]; readonly formats: readonly (0 | 1)[] } {
  let at = start;
  const need = (count: number): void => {
    if (at + count > end) throw new ProtocolViolation('FunctionCall is shorter than its own counts say');
  };
  const count = (): number => {
    need(2);
    at += 2;
    return bytes.readUInt16BE(at - 2);
  };
  const given: number[] = [];
  for (let left = count(); left > 0; left--) given.push(count());
  const parameters: (Buffer | null)[] = [];
  for (let left = count(); left > 0; left--) {
    need(4);
    const length = bytes.readInt32BE(at);
    at += 4;
    if (length < -1) throw new ProtocolViolation('FunctionCall has an argument of negative length');
    if (length > 0) need(length);
    parameters.push(length < 0 ? null : Buffer.from(bytes.subarray(at, at + length)));
    at += Math.max(length, 0);
  }
  count();
  if (at !== end) throw new ProtocolViolation('FunctionCall is longer than its own counts say');
  const formats = parameters.map((_, index) => ((given.length === 1 ? given[0] : given[index]) === 1 ? 1 : 0));
  return { parameters, formats };
}

/** Rows in a command tag: `SELECT 5`, `INSERT 0 3`, `COPY 7`; 0 where there is none. */
export function rowsOfTag(bytes: Buffer, start: number, end: number): number {
  let at = end - 2;
  let rows = 0;
  let scale = 1;
  for (; at > start; at--) {
    const digit = bytes[at]! - 48;
    if (digit < 0 || digit > 9) break;
    rows += digit * scale;
    scale *= 10;
  }
  return bytes[at] === 32 ? rows : 0;
}

/** Fields of an ErrorResponse or NoticeResponse body by their letter (manual, section "Error and Notice Message Fields"). */
export function errorFields(bytes: Buffer, start: number, end: number): Partial<Record<string, string>> {
  const fields: Partial<Record<string, string>> = {};
  let at = start;
  while (at < end && bytes[at] !== 0) {
    const stop = endOfString(bytes, at + 1, end);
    fields[String.fromCharCode(bytes[at]!)] = bytes.toString('utf8', at + 1, stop);
    at = stop + 1;
  }
  return fields;
}
