import * as n from './constants.ts';
import { FileProtocolError } from './errors.ts';
import { readFields, textOf } from './fields.ts';

/** Requests with one path. */
export type PathOperation = 'opendir' | 'stat' | 'lstat' | 'readlink' | 'remove' | 'rmdir' | 'statvfs';

/** Undefined where the bytes are not UTF-8. */
type Path = string | undefined;

/** What a client asks. Handles are as the server gave them, as Latin-1 text so that they can be keys. */
export type SftpRequest =
  | { readonly type: 'open'; readonly path: Path; readonly flags: number; readonly attributes: Buffer }
  | { readonly type: PathOperation; readonly path: Path }
  | { readonly type: 'realpath'; readonly path: Path }
  | {
      readonly type: 'setstat' | 'lsetstat' | 'mkdir';
      readonly path: Path;
      readonly attributes: Buffer;
    }
  | { readonly type: 'rename' | 'posix-rename' | 'hardlink'; readonly from: Path; readonly to: Path }
  /** `target` is what the link will say. OpenSSH has the two paths in this order, against the draft; so have its clients. */
  | { readonly type: 'symlink'; readonly target: Path; readonly link: Path }
  | { readonly type: 'close' | 'fstat' | 'readdir' | 'fsync' | 'fstatvfs'; readonly handle: string }
  | { readonly type: 'fsetstat'; readonly handle: string; readonly attributes: Buffer }
  | { readonly type: 'read'; readonly handle: string; readonly offset: bigint; readonly length: number }
  | { readonly type: 'write'; readonly handle: string; readonly offset: bigint; readonly data: Buffer }
  | { readonly type: 'copy-data'; readonly source: string; readonly destination: string }
  /** `~`, `~/file` or `~user`; and a user's name. */
  | { readonly type: 'expand-path' | 'home-directory'; readonly path: Path }
  /** Limits of the server; names of user and group ids: nothing that belongs to a file. */
  | { readonly type: 'limits' | 'users-groups-by-id' }
  | { readonly type: 'unknown'; readonly name: string };

/** Longest field that is not contents; a list of ids may fill its packet. */
const MAX_FIELD = n.MAX_PACKET;
const CLIENT = 'SPS070';

/**
 * The request in a packet with its length field, other than INIT.
 * @throws FileProtocolError when it is not exactly what its type says
 */
export function parseRequest(frame: Buffer): SftpRequest {
  const type = frame[4];
  const fields = readFields(frame, 9, CLIENT);
  const path = (): Path => textOf(fields.string(MAX_FIELD));
  const handle = (): string => fields.string(n.MAX_HANDLE).toString('latin1');
  const request = ((): SftpRequest => {
    switch (type) {
      case n.OPEN:
        return { type: 'open', path: path(), flags: fields.uint32(), attributes: fields.attributes() };
      case n.CLOSE:
        return { type: 'close', handle: handle() };
      case n.READ:
        return { type: 'read', handle: handle(), offset: fields.uint64(), length: fields.uint32() };
      case n.WRITE:
        return { type: 'write', handle: handle(), offset: fields.uint64(), data: fields.string(MAX_FIELD) };
      case n.LSTAT:
        return { type: 'lstat', path: path() };
      case n.FSTAT:
        return { type: 'fstat', handle: handle() };
      case n.SETSTAT:
        return { type: 'setstat', path: path(), attributes: fields.attributes() };
      case n.FSETSTAT:
        return { type: 'fsetstat', handle: handle(), attributes: fields.attributes() };
      case n.OPENDIR:
        return { type: 'opendir', path: path() };
      case n.READDIR:
        return { type: 'readdir', handle: handle() };
      case n.REMOVE:
        return { type: 'remove', path: path() };
      case n.MKDIR:
        return { type: 'mkdir', path: path(), attributes: fields.attributes() };
      case n.RMDIR:
        return { type: 'rmdir', path: path() };
      case n.REALPATH:
        return { type: 'realpath', path: path() };
      case n.STAT:
        return { type: 'stat', path: path() };
      case n.RENAME:
        return { type: 'rename', from: path(), to: path() };
      case n.READLINK:
        return { type: 'readlink', path: path() };
      case n.SYMLINK:
        return { type: 'symlink', target: path(), link: path() };
      case n.EXTENDED:
        return extended(fields.string(MAX_FIELD).toString('latin1'));
      default:
        throw new FileProtocolError(CLIENT, `a packet of type ${type}`);
    }
  })();
  if (request.type !== 'unknown') fields.end();
  return request;

  function extended(name: string): SftpRequest {
    switch (name) {
      case 'posix-rename@openssh.com':
        return { type: 'posix-rename', from: path(), to: path() };
      case 'hardlink@openssh.com':
        return { type: 'hardlink', from: path(), to: path() };
      case 'statvfs@openssh.com':
        return { type: 'statvfs', path: path() };
      case 'fstatvfs@openssh.com':
        return { type: 'fstatvfs', handle: handle() };
      case 'fsync@openssh.com':
        return { type: 'fsync', handle: handle() };
      case 'lsetstat@openssh.com':
        return { type: 'lsetstat', path: path(), attributes: fields.attributes() };
      case 'limits@openssh.com':
        return { type: 'limits' };
      case 'expand-path@openssh.com':
        return { type: 'expand-path', path: path() };
      case 'home-directory':
        return { type: 'home-directory', path: path() };
      case 'users-groups-by-id@openssh.com':
        fields.string(MAX_FIELD);
        fields.string(MAX_FIELD);
        return { type: 'users-groups-by-id' };
      case 'copy-data': {
        const source = handle();
        fields.uint64();
        fields.uint64();
        const destination = handle();
        fields.uint64();
        return { type: 'copy-data', source, destination };
      }
      default:
        return { type: 'unknown', name };
    }
  }
}
