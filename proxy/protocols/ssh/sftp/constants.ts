/** Numbers of SFTP version 3 (draft-ietf-secsh-filexfer-02) and the limits of OpenSSH's implementation. */

export const VERSION = 3;

/** Largest packet without its length field: SFTP_MAX_MSG_LENGTH of OpenSSH, in both directions. */
export const MAX_PACKET = 256 * 1024;

/** Longest handle that a server may give (section 6.2). */
export const MAX_HANDLE = 256;

/** PATH_MAX of Linux: no server opens a longer one. */
export const MAX_PATH = 4096;

/** Requests (section 3). */
export const INIT = 1;
export const OPEN = 3;
export const CLOSE = 4;
export const READ = 5;
export const WRITE = 6;
export const LSTAT = 7;
export const FSTAT = 8;
export const SETSTAT = 9;
export const FSETSTAT = 10;
export const OPENDIR = 11;
export const READDIR = 12;
export const REMOVE = 13;
export const MKDIR = 14;
export const RMDIR = 15;
export const REALPATH = 16;
export const STAT = 17;
export const RENAME = 18;
export const READLINK = 19;
export const SYMLINK = 20;
export const EXTENDED = 200;

/** Answers. */
export const VERSION_REPLY = 2;
export const STATUS = 101;
export const HANDLE = 102;
export const DATA = 103;
export const NAME = 104;
export const ATTRS = 105;
export const EXTENDED_REPLY = 201;

/** Status codes (section 7). */
export const FX_OK = 0;
export const FX_EOF = 1;
export const FX_NO_SUCH_FILE = 2;
export const FX_PERMISSION_DENIED = 3;
export const FX_FAILURE = 4;
export const FX_OP_UNSUPPORTED = 8;

/** `pflags` of OPEN (section 6.3). */
export const READ_FLAG = 0x01;
export const WRITE_FLAG = 0x02;
export const APPEND_FLAG = 0x04;
export const CREATE_FLAG = 0x08;
export const TRUNCATE_FLAG = 0x10;
export const EXCLUSIVE_FLAG = 0x20;
export const ALL_OPEN_FLAGS = 0x3f;

/** `flags` of ATTRS (section 5). */
export const ATTR_SIZE = 0x01;
export const ATTR_UIDGID = 0x02;
export const ATTR_PERMISSIONS = 0x04;
export const ATTR_ACMODTIME = 0x08;
export const ATTR_EXTENDED = 0x8000_0000;
