import { appendFileSync, closeSync, promises as fs, fstatSync, mkdirSync, openSync, readSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { originOf, type StreamIdentity } from './chain.ts';
import { type CheckpointClaim, claimOf } from './checkpoint.ts';
import { readLines } from './lines.ts';
import type { Checkpoint } from './port.ts';
import { connectionFolder, isMissing, subfolders } from './segment.ts';

/**
 * Checkpoints kept outside the record: what stands there cannot be cut off the record, nor rewritten there, without showing. One file for
 * each stream, ANCHORS/NAMESPACE/NAME/PROCESS.jsonl, a line for each checkpoint: `{"n":57,"t":"…","note":"…"}`.
 */

/** @param onError hears of a checkpoint that could not be kept; commands go on: the record itself holds it too */
export function createAnchors(folder: string, onError: (error: unknown) => void): (checkpoint: Checkpoint) => void {
  const begun = new Set<string>();
  return (checkpoint) => {
    const { n, time, note } = checkpoint;
    const line = `${JSON.stringify({ n, t: time, note })}\n`;
    const path = anchorPath(folder, checkpoint);
    try {
      if (begun.has(path)) return appendFileSync(path, line);
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
      // A crash may have torn the last line of a file that a recovery adds to.
      appendFileSync(path, endsTorn(path) ? `\n${line}` : line, { mode: 0o600 });
      begun.add(path);
    } catch (error) {
      // Made anew with the next one: somebody may have taken the folder away, or a disk that comes back.
      begun.delete(path);
      onError(error);
    }
  };
}

function anchorPath(folder: string, { namespace, name, process }: StreamIdentity): string {
  return join(connectionFolder(folder, namespace, name), `${process}.jsonl`);
}

function endsTorn(path: string): boolean {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
  try {
    const { size } = fstatSync(file);
    const last = Buffer.alloc(1);
    return size > 0 && readSync(file, last, 0, 1, size - 1) === 1 && last[0] !== 0x0a;
  } finally {
    closeSync(file);
  }
}

/** Forgets a stream of which nothing is left. A file that is not there is no error. */
export async function removeAnchors(folder: string, stream: StreamIdentity): Promise<void> {
  await fs.rm(anchorPath(folder, stream), { force: true });
}

export interface AnchorFile extends StreamIdentity {
  readonly path: string;
  /** Bytes at the time of the listing: what is added later may be ahead of a record that was read before. */
  readonly size: number;
}

/** All anchor files by `originOf` their stream. @throws the system's error when there is no such folder */
export async function listAnchors(folder: string): Promise<Map<string, AnchorFile>> {
  const found = new Map<string, AnchorFile>();
  await fs.access(folder);
  for (const namespace of await subfolders(folder)) {
    for (const name of await subfolders(join(folder, namespace))) {
      for (const file of await fs.readdir(join(folder, namespace, name))) {
        const process = /^([0-9a-f]{8,})\.jsonl$/.exec(file)?.[1];
        if (process === undefined) continue;
        const path = join(folder, namespace, name, file);
        const identity = { namespace, name, process };
        // Retention may remove one between the listing and this.
        const size = await sizeOf(path);
        if (size !== undefined) found.set(originOf(identity), { ...identity, path, size });
      }
    }
  }
  return found;
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await fs.stat(path)).size;
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

export interface Anchor extends CheckpointClaim {
  readonly note: string;
  /** Line of its file, from 1. */
  readonly line: number;
}

/**
 * The checkpoints of one stream in the order in which they were kept, their signatures unchecked. Lines that are none, such as what a
 * crash tore, are counted by `onUnusable`.
 */
export async function* readAnchors(file: AnchorFile, onUnusable: () => void): AsyncGenerator<Anchor> {
  const origin = originOf(file);
  let line = 0;
  for await (const { bytes, offset, whole } of readLines(file.path)) {
    if (!whole || offset + bytes.length > file.size) return;
    line++;
    const note = noteOf(bytes.toString('utf8'));
    const claim = note === undefined ? undefined : claimOf(note);
    if (note === undefined || claim?.origin !== origin) onUnusable();
    else yield { ...claim, note, line };
  }
}

function noteOf(line: string): string | undefined {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value === 'object' && value !== null && 'note' in value && typeof value.note === 'string')
      return value.note;
  } catch {
    // Torn by a crash: the caller counts it.
  }
  return undefined;
}
