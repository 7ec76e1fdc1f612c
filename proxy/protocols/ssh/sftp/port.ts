/**
 * What the file lanes (SFTP, legacy scp) need of whoever runs a session: a judgement for each request, made and recorded before the
 * request goes on, and two byte streams. They know neither policy's engine nor the record's format nor SSH's channels.
 */

import type { TextMasker } from '../../../masking/stream/port.ts';

export type FileAccess = 'ReadFile' | 'WriteFile';

/** Operations as the record names them: those of SFTP, of its extensions, and the two of legacy scp (`send`, `receive`). */
export type FileOperation =
  | 'open'
  | 'opendir'
  | 'stat'
  | 'lstat'
  | 'realpath'
  | 'readlink'
  | 'setstat'
  | 'fsetstat'
  | 'remove'
  | 'mkdir'
  | 'rmdir'
  | 'rename'
  | 'symlink'
  | 'hardlink'
  | 'statvfs'
  | 'copy-data'
  | 'send'
  | 'receive';

/** One thing that a request does to one path. Paths are absolute and normalised; symbolic links in them were followed where the operation does. */
export interface FileAccessTo {
  readonly access: FileAccess;
  readonly path: string;
  /** Everything below the path as well. */
  readonly tree?: true;
}

/** One request, judged as one command. */
export interface FileRequest {
  readonly operation: FileOperation;
  /** Never empty. Each has to be granted, unless `metadata`. */
  readonly accesses: readonly FileAccessTo[];
  /**
   * It tells only that the path is there, its size and its times: one of `accesses` is enough, also one that people would have to
   * approve, and nothing is held for it.
   */
  readonly metadata?: true;
  /** What else the record says of it, in words, such as `mode 0644`, or the path as the client wrote it where that is another. */
  readonly detail?: string;
}

/** How a request that was passed on ended. */
export interface FileOutcome {
  /** Status code of SFTP: 0 OK, 1 EOF, 2 no such file, 3 permission denied, 4 failure, …; undefined when the channel ended before an answer. */
  readonly status: number | undefined;
  /** Of a file that was opened, when it is closed: contents that went to the client and came from it, in bytes. */
  readonly bytesRead?: number;
  readonly bytesWritten?: number;
  /** SHA-256 in hex of what was read or written, where that was the whole in order from the first byte, without gap or repeat. */
  readonly sha256?: string;
  /** The channel ended with the file still open. */
  readonly interrupted?: true;
}

/** The request may be passed on: it is recorded, durably. */
export interface FileGrant {
  readonly granted: true;
  /** It waited for people: what its path means may have changed meanwhile, and is found out again. */
  readonly held: boolean;
  /** What is read of the file is masked by this; made anew for each reading from the start. Absent: it is shown as it is. */
  readonly masker?: () => TextMasker;
  /** Most bytes of contents that may be returned for it. */
  readonly maxBytesReturned?: number;
  /**
   * Asked while what was granted goes on, such as before each part of a file is read. Undefined: it holds. Otherwise policy has changed,
   * and it resolves to why it does not hold any more, in one line, or to undefined where it does.
   */
  changed(): Promise<string | undefined> | undefined;
  /** Called once, with what became of it. */
  done(outcome: FileOutcome): void;
}

export interface FileRefusal {
  readonly granted: false;
  /** For the client: what was denied, rule, reason, session. One line. */
  readonly message: string;
}

export type FileVerdict = FileGrant | FileRefusal;

export interface FileJudge {
  /**
   * Decides, waits for people where a rule asks for it, and records: durable when a grant is returned. Asked for one request after the
   * other.
   * @param signal aborted when the client gives up: a held request is withdrawn then
   * @throws when nothing can be recorded, or the signal's reason: the channel ends
   */
  judge(request: FileRequest, signal: AbortSignal): FileVerdict | Promise<FileVerdict>;
  /** What policy says, without recording, holding or waiting. */
  permits(access: FileAccessTo): 'Allow' | 'RequireApproval' | 'Deny';
  /** Whether the contents of the file, or of some file below it, are protected because of where they lie: they do not go elsewhere. */
  protects(access: Pick<FileAccessTo, 'path' | 'tree'>): boolean;
  /**
   * Records what an earlier grant covers already, such as setting the times of a file that was opened for writing.
   * @returns called with what became of it
   * @throws when nothing can be recorded
   */
  note(request: FileRequest): Promise<(outcome: FileOutcome) => void>;
  /** A line for the person or program at the client, beside the protocol (stderr of the channel): most clients do not show a status's text. */
  tell(line: string): void;
}

/** Where bytes go. Resolves, or returns, when there is room for more. */
export type ByteSink = (bytes: Buffer) => Promise<void> | undefined;

/** A session of a file protocol between one client and one server, as bytes. */
export interface FileSession {
  /**
   * Bytes from the client. Returns a promise when it cannot take more yet; the caller gives no more until that resolves. @throws
   * FileProtocolError when they are not the protocol: the channel has to end
   */
  fromClient(bytes: Buffer): Promise<void> | undefined;
  /** Bytes from the server; as `fromClient`. Never waits for the client's side. */
  fromServer(bytes: Buffer): Promise<void> | undefined;
  /**
   * The channel is over, for whatever reason, or the server says nothing any more: what is held is withdrawn, open files get their outcome,
   * and promises resolve. May be called twice.
   */
  close(): void;
}
