import { linkOf } from '../chain.ts';

/** What the verification needs of a line; nothing else of it is decoded. */
export interface ChainedLine {
  readonly file: string;
  /** Line of the file, from 1. */
  readonly line: number;
  /** With the line feed. */
  readonly bytes: Buffer;
  readonly n: number;
  readonly time: string;
  readonly event: string;
  readonly prev: string;
  /** Its own hash: what `prev` of the next line must be. */
  readonly link: string;
}

const HEAD = /^\{"v":1,"n":(0|[1-9]\d{0,15}),"t":"([-\d:.TZ]{20,30})","e":"([a-z.]{1,40})"[,}]/;
const HEAD_BYTES = 160;
const TAIL = /^,"prev":"([\w-]{43})"\}\n$/;
const TAIL_BYTES = ',"prev":""}\n'.length + 43;

/** Undefined when the bytes are no line that the writer makes. */
export function chainedLine(file: string, line: number, bytes: Buffer): ChainedLine | undefined {
  const head = HEAD.exec(bytes.toString('latin1', 0, HEAD_BYTES));
  const tail = bytes.length < TAIL_BYTES ? null : TAIL.exec(bytes.toString('latin1', bytes.length - TAIL_BYTES));
  if (head === null || tail === null) return undefined;
  const [, n = '', time = '', event = ''] = head;
  return { file, line, bytes, n: Number(n), time, event, prev: tail[1] ?? '', link: linkOf(bytes) };
}

/** The members of a line, or undefined when it is no JSON object. */
export function membersOf(line: ChainedLine): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(line.bytes.toString('utf8'));
    return typeof value === 'object' && value !== null ? { ...value } : undefined;
  } catch {
    // Only lines that were altered: the caller names them.
    return undefined;
  }
}
