/** Builders of protocol messages (manual, section "Message Formats"). Not for the hot path: each makes a buffer. */

function message(type: string, ...parts: readonly Uint8Array[]): Buffer {
  let length = 4;
  for (const part of parts) length += part.length;
  const buffer = Buffer.allocUnsafe(1 + length);
  buffer[0] = type.charCodeAt(0);
  buffer.writeUInt32BE(length, 1);
  let at = 5;
  for (const part of parts) {
    buffer.set(part, at);
    at += part.length;
  }
  return buffer;
}

const text = (value: string): Buffer => Buffer.from(`${value.replaceAll('\0', '')}\0`, 'utf8');

function int16(value: number): Buffer {
  const buffer = Buffer.allocUnsafe(2);
  buffer.writeInt16BE(value);
  return buffer;
}

function int32(value: number): Buffer {
  const buffer = Buffer.allocUnsafe(4);
  buffer.writeInt32BE(value);
  return buffer;
}

/** Fields of an ErrorResponse or NoticeResponse (manual, section "Error and Notice Message Fields"). */
export interface Report {
  readonly severity: 'ERROR' | 'FATAL' | 'WARNING' | 'NOTICE';
  /** SQLSTATE, five characters. */
  readonly code: string;
  readonly message: string;
  readonly detail?: string | undefined;
  readonly hint?: string | undefined;
}

function report(type: 'E' | 'N', fields: Report): Buffer {
  const parts = [`S${fields.severity}`, `V${fields.severity}`, `C${fields.code}`, `M${fields.message}`];
  if (fields.detail) parts.push(`D${fields.detail}`);
  if (fields.hint) parts.push(`H${fields.hint}`);
  return message(type, ...parts.map(text), Buffer.from([0]));
}

export const errorResponse = (fields: Report): Buffer => report('E', fields);
export const noticeResponse = (fields: Report): Buffer => report('N', fields);

export function readyForQuery(status: number): Buffer {
  return message('Z', Buffer.from([status]));
}

export const query = (sql: string): Buffer => message('Q', text(sql));

export const parse = (statement: string, sql: string, parameterTypes: Uint8Array = int16(0)): Buffer =>
  message('P', text(statement), text(sql), parameterTypes);

/** Bind without parameters, all results in text. */
export const bind = (portal: string, statement: string): Buffer =>
  message('B', text(portal), text(statement), int16(0), int16(0), int16(0));

/** Values of a Bind, as they came or as they are to go. */
export interface BoundValues {
  readonly parameters: readonly (Uint8Array | null)[];
  /** 0 text, 1 binary, one for each parameter. */
  readonly formats: readonly (0 | 1)[];
  /** None (all text), one for all, or one for each column. */
  readonly resultFormats: readonly number[];
}

/** Bind with values. */
export function bindValues(portal: string, statement: string, values: BoundValues): Buffer {
  const { parameters, formats, resultFormats } = values;
  const written = parameters.flatMap((value) => (value === null ? [int32(-1)] : [int32(value.byteLength), value]));
  return message(
    'B',
    text(portal),
    text(statement),
    int16(formats.length),
    ...formats.map(int16),
    int16(parameters.length),
    ...written,
    int16(resultFormats.length),
    ...resultFormats.map(int16),
  );
}

export const describe = (kind: 'S' | 'P', name: string): Buffer => message('D', Buffer.from(kind), text(name));
export const execute = (portal: string, maxRows = 0): Buffer => message('E', text(portal), int32(maxRows));
export const close = (kind: 'S' | 'P', name: string): Buffer => message('C', Buffer.from(kind), text(name));
export const flush = (): Buffer => message('H');
export const sync = (): Buffer => message('S');
export const copyFail = (reason: string): Buffer => message('f', text(reason));
export const terminate = (): Buffer => message('X');

export const parameterStatus = (name: string, value: string): Buffer => message('S', text(name), text(value));

export const backendKeyData = (processId: number, secret: Uint8Array): Buffer => message('K', int32(processId), secret);

export const authenticationOk = (): Buffer => message('R', int32(0));
