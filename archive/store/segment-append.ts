import { constants, type FileHandle, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { makeFolder, syncFolder } from '../../delivery/durable-file.ts';

const { O_APPEND, O_CREAT, O_NOFOLLOW, O_RDWR } = constants;
const BLOCK_BYTES = 64 * 1024;

/** Opens a segment of the archive for adding to it; makes it, and its folder, when it is not there. @throws the system's error */
export async function openSegment(path: string): Promise<FileHandle> {
  const flags = O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW;
  try {
    return await open(path, flags, 0o600);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
    await makeFolder(dirname(path));
    return open(path, flags, 0o600);
  }
}

/** Bytes of whole lines; what a killed archive left of one behind them is cut off. */
export async function wholeSize(file: FileHandle): Promise<number> {
  const { size } = await file.stat();
  const block = Buffer.alloc(BLOCK_BYTES);
  let end = size;
  while (end > 0) {
    const start = Math.max(0, end - BLOCK_BYTES);
    const { bytesRead } = await file.read(block, 0, end - start, start);
    const last = block.subarray(0, bytesRead).lastIndexOf(0x0a);
    if (last !== -1) {
      end = start + last + 1;
      break;
    }
    end = start;
  }
  if (end < size) await file.truncate(end);
  return end;
}

/** Where the stored bytes first differ from these, or -1. Only as many are compared as are stored. */
export async function firstDifference(file: FileHandle, offset: number, bytes: Buffer, size: number): Promise<number> {
  const length = Math.min(bytes.length, size - offset);
  const stored = Buffer.allocUnsafe(BLOCK_BYTES);
  for (let at = 0; at < length; at += BLOCK_BYTES) {
    const part = Math.min(BLOCK_BYTES, length - at);
    const { bytesRead } = await file.read(stored, 0, part, offset + at);
    if (bytesRead === part && stored.compare(bytes, at, at + part, 0, part) === 0) continue;
    let same = 0;
    while (same < bytesRead && stored[same] === bytes[at + same]) same++;
    return offset + at + same;
  }
  return -1;
}

/**
 * Adds the bytes and makes them durable. Whatever fails, the segment is as it was before: the sender still has the bytes, and a later try
 * writes them again instead of trusting what a failed fdatasync left in memory. @throws the system's error
 */
export async function appendDurably(file: FileHandle, path: string, size: number, bytes: Buffer): Promise<void> {
  try {
    await file.appendFile(bytes);
    await file.datasync();
    if (size === 0) await syncFolder(dirname(path));
  } catch (error) {
    await file.truncate(size);
    throw error;
  }
}
