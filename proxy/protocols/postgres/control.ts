import type { Wire } from '../../listener/wire.ts';
import { errorFields, ProtocolViolation } from './wire/decode.ts';
import * as encode from './wire/encode.ts';
import { B } from './wire/messages.ts';

/** Largest answer of one control query: a catalog of tens of thousands of relations has less. */
const MAX_ANSWER = 512 * 1024 * 1024;

/** Parameters of a query of the gateway's own. */
export interface QueryParameters {
  readonly values: readonly (Uint8Array | null)[];
  /** 0 text, 1 binary, one for each value. */
  readonly formats: readonly (0 | 1)[];
  /** Type OIDs, 0 where the server shall find out. */
  readonly types: readonly number[];
}

/** The server refused a query. What it says stays in the log: it may name roles and objects. */
export class ControlError extends Error {
  override readonly name = 'ControlError';
  /** SQLSTATE. */
  readonly state: string;
  constructor(message: string, state: string) {
    super(message);
    this.state = state;
  }
}

/**
/**
 * The control connection's whole protocol: queries one at a time, answers as text. It reads the catalog, or makes roles; commands of
 * agents never go through it.
 */
export interface ControlConnection {
  /** Rows of a query, NULL as the empty string. With parameters it goes by the extended protocol. @throws ControlError, and another error when the connection broke */
  query(sql: string, parameters?: QueryParameters): Promise<string[][]>;
  close(): void;
  readonly closed: boolean;
}

interface Pending {
  readonly bytes: Buffer;
  readonly resolve: (rows: string[][]) => void;
  readonly reject: (error: Error) => void;
}

function dataRow(bytes: Buffer, start: number): string[] {
  const count = bytes.readUInt16BE(start);
  const row: string[] = [];
  let at = start + 2;
  for (let i = 0; i < count; i++) {
    const length = bytes.readInt32BE(at);
    at += 4;
    row.push(length < 0 ? '' : bytes.toString('utf8', at, at + length));
    if (length > 0) at += length;
  }
  return row;
}

function queryBytes(sql: string, parameters: QueryParameters | undefined): Buffer {
  if (parameters === undefined) return encode.query(sql);
  const { values, formats, types } = parameters;
  const oids = Buffer.alloc(2 + types.length * 4);
  oids.writeUInt16BE(types.length);
  for (const [index, type] of types.entries()) oids.writeUInt32BE(type, 2 + index * 4);
  return Buffer.concat([
    encode.parse('', sql, oids),
    encode.bindValues('', '', { parameters: values, formats, resultFormats: [] }),
    encode.execute(''),
    encode.sync(),
  ]);
}

/** Runs queries over a wire on which the session is ready. The wire's callbacks become its own. */
export function createControlConnection(wire: Wire): ControlConnection {
  const waiting: Pending[] = [];
  let current: Pending | undefined;
  let rows: string[][] = [];
  let failure: Error | undefined;
  let chunks: Buffer[] = [];
  let held = 0;
  let wanted = 5;

  function next(): void {
    if (current !== undefined) return;
    current = waiting.shift();
    if (current === undefined) return;
    rows = [];
    failure = undefined;
    wire.write(current.bytes);
  }

  function settle(): void {
    const done = current;
    current = undefined;
    if (done !== undefined) failure === undefined ? done.resolve(rows) : done.reject(failure);
    next();
  }

  function message(type: number, bytes: Buffer, start: number, end: number): void {
    if (type === B.DataRow) rows.push(dataRow(bytes, start));
    else if (type === B.Error) {
      const { M: text = 'unknown error', C: state = '' } = errorFields(bytes, start, end);
      failure = new ControlError(text, state);
    } else if (type === B.ReadyForQuery) settle();
  }

  function broken(error: Error): void {
    const all = current === undefined ? waiting.splice(0) : [current, ...waiting.splice(0)];
    current = undefined;
    for (const pending of all) pending.reject(error);
  }

  function walk(bytes: Buffer): void {
    let at = 0;
    while (bytes.length - at >= 5) {
      const length = bytes.readUInt32BE(at + 1);
      const end = at + 1 + length;
      if (length < 4 || length > MAX_ANSWER) throw new ProtocolViolation('a message of impossible length');
      if (end > bytes.length) {
        wanted = end - at;
        break;
      }
      message(bytes[at]!, bytes, at + 5, end);
      at = end;
      wanted = 5;
    }
    chunks = at < bytes.length ? [bytes.subarray(at)] : [];
    held = bytes.length - at;
  }

  wire.onBytes = (chunk) => {
    chunks.push(Buffer.from(chunk));
    held += chunk.length;
    if (held < wanted) return;
    try {
      walk(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, held));
    } catch (error) {
      wire.destroy(error instanceof Error ? error : new Error(String(error)));
    }
  };
  wire.onEnd = () => wire.end();
  wire.onClose = (error) => broken(error ?? new Error('the target closed the control connection'));
  wire.resume();

  return {
    query(sql, parameters) {
      if (wire.closed) return Promise.reject(new Error('the control connection is closed'));
      return new Promise((resolve, reject) => {
        waiting.push({ bytes: queryBytes(sql, parameters), resolve, reject });
        next();
      });
    },
    close() {
      if (wire.closed) return;
      wire.write(encode.terminate());
      wire.end();
    },
    get closed() {
      return wire.closed;
    },
  };
}
