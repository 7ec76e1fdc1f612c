import * as n from './constants.ts';
import { FileProtocolError } from './errors.ts';
import { packet, readFields, textOf } from './fields.ts';

/** Answers of the server, as far as they are looked at. */
const SERVER = 'SPS071';

export interface StatusAnswer {
  readonly code: number;
  readonly message: string;
}

/** STATUS (section 7); servers before version 3 sent no message. */
export function statusOf(frame: Buffer): StatusAnswer {
  const fields = readFields(frame, 9, SERVER);
  const code = fields.uint32();
  const message = fields.left === 0 ? '' : (textOf(fields.string(n.MAX_PACKET)) ?? '');
  return { code, message };
}

/** The handle of HANDLE, as Latin-1 text. */
export function handleOf(frame: Buffer): string {
  const fields = readFields(frame, 9, SERVER);
  const handle = fields.string(n.MAX_HANDLE).toString('latin1');
  fields.end();
  return handle;
}

/** The bytes of DATA. */
export function dataOf(frame: Buffer): Buffer {
  const fields = readFields(frame, 9, SERVER);
  const data = fields.string(n.MAX_PACKET);
  fields.end();
  return data;
}

/** The first name of NAME, undefined where it is not UTF-8. @throws FileProtocolError when there is none */
export function nameOf(frame: Buffer): string | undefined {
  const fields = readFields(frame, 9, SERVER);
  if (fields.uint32() < 1) throw new FileProtocolError(SERVER, 'no name where there has to be one');
  return textOf(fields.string(n.MAX_PACKET));
}

const FOLDER = 0o040000;
const FILE_TYPE = 0o170000;

/** Whether ATTRS are those of a folder; where they do not say what it is, it may be one. */
export function mayBeFolder(frame: Buffer): boolean {
  const fields = readFields(frame, 9, SERVER);
  const flags = fields.uint32();
  if ((flags & n.ATTR_SIZE) !== 0) fields.uint64();
  if ((flags & n.ATTR_UIDGID) !== 0) fields.uint64();
  if ((flags & n.ATTR_PERMISSIONS) === 0) return true;
  return (fields.uint32() & FILE_TYPE) === FOLDER;
}

/** A STATUS of our own. */
export function statusAnswer(id: number, code: number, message: string): Buffer {
  return packet(n.STATUS, id, code, message, 'en');
}

/** A NAME of our own with one path and no attributes, as REALPATH has it (section 6.11). */
export function nameAnswer(id: number, path: string): Buffer {
  return packet(n.NAME, id, 1, path, path, 0);
}

/** Types that may answer a request of the given type besides STATUS. */
export function answersWith(requestType: number): number | undefined {
  switch (requestType) {
    case n.OPEN:
    case n.OPENDIR:
      return n.HANDLE;
    case n.READ:
      return n.DATA;
    case n.READDIR:
    case n.REALPATH:
    case n.READLINK:
      return n.NAME;
    case n.STAT:
    case n.LSTAT:
    case n.FSTAT:
      return n.ATTRS;
    default:
      return undefined;
  }
}
