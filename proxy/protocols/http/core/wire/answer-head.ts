import { STATUS_CODES } from 'node:http';
import { LENGTH, NOT_OF_A_VALUE, TOKEN } from '../field-syntax.ts';
import type { HeaderFields } from '../port.ts';

/** Heads of answers of HTTP/1.1, without what is said of the connection. */

export interface AnswerHead {
  /** Status line and fields, each with its line end; without the empty line. Latin-1. */
  readonly text: string;
  /** Content-Length; undefined: there is none. */
  readonly length: number | undefined;
}

type Kind = 'plain' | 'length' | 'date' | 'ours';

/** What is said of the connection is written where the connection is known. */
const KINDS: ReadonlyMap<string, Kind> = new Map([
  ['content-length', 'length'],
  ['date', 'date'],
  ['connection', 'ours'],
  ['keep-alive', 'ours'],
  ['transfer-encoding', 'ours'],
]);

/** Names repeat; a target cannot make this grow without end. */
const MAX_NAMES = 2048;
const names = new Map<string, Kind>();

function kindOf(name: string): Kind {
  const seen = names.get(name);
  if (seen !== undefined) return seen;
  if (!TOKEN.test(name)) throw new Error('the name of a field cannot be sent');
  const kind = KINDS.get(name.toLowerCase()) ?? 'plain';
  if (names.size >= MAX_NAMES) names.clear();
  names.set(name, kind);
  return kind;
}

const statusLines: string[] = [];

function statusLine(status: number): string {
  let line = statusLines[status];
  if (line === undefined) {
    if (!Number.isInteger(status) || status < 100 || status > 999) throw new Error(`${status} is no status`);
    line = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'unknown'}\r\n`;
    statusLines[status] = line;
  }
  return line;
}

let dateSecond = -1;
let dateLine = '';

/** The same for a second (RFC 9110, section 6.6.1). */
function date(): string {
  const now = Date.now();
  const second = Math.floor(now / 1000);
  if (second !== dateSecond) {
    dateSecond = second;
    dateLine = `Date: ${new Date(now).toUTCString()}\r\n`;
  }
  return dateLine;
}

/** @throws Error when a field cannot be sent; its value is not in the message */
export function answerHead(status: number, headers: HeaderFields): AnswerHead {
  let text = statusLine(status);
  let length: number | undefined;
  let dated = false;
  for (let index = 0; index + 1 < headers.length; index += 2) {
    const name = headers[index] ?? '';
    const value = headers[index + 1] ?? '';
    const kind = kindOf(name);
    if (kind === 'ours') continue;
    if (NOT_OF_A_VALUE.test(value)) throw new Error(`the value of ${name} cannot be sent`);
    if (kind === 'length') {
      if (length !== undefined || !LENGTH.test(value)) throw new Error('the length of the body is not clear');
      length = Number(value);
    } else if (kind === 'date') dated = true;
    text += `${name}: ${value}\r\n`;
  }
  return { text: dated ? text : text + date(), length };
}

/** Trailers as they stand behind the last chunk, with the empty line. @throws as `answerHead` */
export function trailerLines(trailers: HeaderFields): string {
  let text = '';
  for (let index = 0; index + 1 < trailers.length; index += 2) {
    const name = trailers[index] ?? '';
    const value = trailers[index + 1] ?? '';
    if (kindOf(name) !== 'plain' || NOT_OF_A_VALUE.test(value)) throw new Error(`the trailer ${name} cannot be sent`);
    text += `${name}: ${value}\r\n`;
  }
  return `${text}\r\n`;
}

/** An answer that is the last one on its connection, as bytes. @throws as `answerHead` */
export function lastAnswer(status: number, headers: HeaderFields, body: Buffer): Buffer {
  const { text } = answerHead(status, [...headers, 'Content-Length', String(body.length)]);
  return Buffer.concat([Buffer.from(`${text}Connection: close\r\n\r\n`, 'latin1'), body]);
}
