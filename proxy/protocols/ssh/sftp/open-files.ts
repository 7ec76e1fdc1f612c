import { createHash, type Hash } from 'node:crypto';
import type { MaskedRead } from './masked-read.ts';
import type { FileGrant, FileOutcome } from './port.ts';

/** A file or folder that the server has opened for a client, by its handle. */
export interface OpenFile {
  readonly kind: 'file' | 'folder';
  readonly path: string;
  readonly reads: boolean;
  readonly writes: boolean;
  readonly grant: FileGrant;
  readonly transfer: Transfer;
  /** Its contents are masked: they are read by this alone. */
  readonly masked: MaskedRead | undefined;
}

/** Counts the contents that pass, and makes their digest while they pass in order. */
export interface Transfer {
  readonly bytesRead: number;
  readonly bytesWritten: number;
  read(offset: bigint, data: Buffer): void;
  written(offset: bigint, data: Buffer): void;
  /** Something that was counted did not take place. */
  failed(): void;
  /** The part of an outcome that says what was transferred. Called once. */
  outcome(): Pick<FileOutcome, 'bytesRead' | 'bytesWritten' | 'sha256'>;
}

export function createTransfer(): Transfer {
  let bytesRead = 0;
  let bytesWritten = 0;
  /** Of the one direction that is used; undefined when there is nothing to say of the whole any more. */
  let hash: Hash | undefined = createHash('sha256');
  let next = 0n;

  function add(offset: bigint, data: Buffer, other: number): void {
    if (hash === undefined) return;
    if (offset !== next || other > 0) hash = undefined;
    else {
      hash.update(data);
      next += BigInt(data.length);
    }
  }

  return {
    get bytesRead() {
      return bytesRead;
    },
    get bytesWritten() {
      return bytesWritten;
    },
    read(offset, data) {
      add(offset, data, bytesWritten);
      bytesRead += data.length;
    },
    written(offset, data) {
      add(offset, data, bytesRead);
      bytesWritten += data.length;
    },
    failed() {
      hash = undefined;
    },
    outcome() {
      const sha256 = bytesRead + bytesWritten > 0 ? hash?.digest('hex') : undefined;
      return { bytesRead, bytesWritten, ...(sha256 === undefined ? {} : { sha256 }) };
    },
  };
}
