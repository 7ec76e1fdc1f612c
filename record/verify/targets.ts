import { promises as fs } from 'node:fs';
import { basename, dirname, join, relative, sep } from 'node:path';
import { parseEvent } from '../format.ts';
import { readBlocks } from '../lines.ts';
import { isMissing, parseSegmentFileName, type SegmentPath, streamKey } from '../segment.ts';

/** A segment to verify. */
export interface TargetSegment extends SegmentPath {
  readonly size: number;
}

export interface Targets {
  /** Segments of each stream in order, the streams by name. */
  readonly streams: readonly (readonly TargetSegment[])[];
  readonly bytes: number;
  /** The paths are whole records: what is not there is missing. */
  readonly whole: boolean;
}

/** Longest head of a segment that is looked at to find out what it is of. */
const MAX_HEAD_BYTES = 4 << 20;
/** Folders of namespace and connection, and the file. */
const DEPTH = 3;

/**
 * The segments in folders and files, found by their names. In the folder of a record, or a state folder with one, namespace and connection are its
 * folders'. Anything smaller, a folder of one connection or single files, may lie anywhere: a segment's head says what it is of.
 * @throws the system's error
 */
export async function findTargets(paths: readonly string[]): Promise<Targets> {
  const found = new Map<string, TargetSegment>();
  let whole = true;
  for (const path of paths) {
    for (const { file, depth } of await filesOf(path)) {
      if (depth !== DEPTH) whole = false;
      const target = await targetOf(file, depth === DEPTH);
      if (target !== undefined) found.set(target.path, target);
    }
  }
  const streams = Map.groupBy(found.values(), streamKey);
  for (const segments of streams.values()) segments.sort((a, b) => a.number - b.number || (a.path < b.path ? -1 : 1));
  const order = [...streams].sort(([a], [b]) => (a < b ? -1 : 1));
  let bytes = 0;
  for (const { size } of found.values()) bytes += size;
  return { streams: order.map(([, segments]) => segments), bytes, whole };
}

async function filesOf(path: string): Promise<{ readonly file: string; readonly depth: number }[]> {
  if ((await fs.stat(path)).isFile()) return [{ file: path, depth: 0 }];
  const nested = join(path, 'record');
  const folder = (await fs.stat(nested).catch(noneIfMissing))?.isDirectory() === true ? nested : path;
  const entries = await fs.readdir(folder, { withFileTypes: true, recursive: true });
  return entries
    .filter((entry) => entry.isFile() && parseSegmentFileName(entry.name) !== undefined)
    .map((entry) => join(entry.parentPath, entry.name))
    .map((file) => ({ file, depth: relative(folder, file).split(sep).length }))
    .filter(({ depth }) => depth <= DEPTH);
}

function noneIfMissing(error: unknown): undefined {
  if (!isMissing(error)) throw error;
  return undefined;
}

async function targetOf(path: string, byFolder: boolean): Promise<TargetSegment | undefined> {
  const file = basename(path);
  const parsed = parseSegmentFileName(file);
  if (parsed === undefined) return undefined;
  const folders = { namespace: basename(dirname(dirname(path))), name: basename(dirname(path)) };
  try {
    const { namespace, name } = byFolder ? folders : ((await connectionOf(path)) ?? folders);
    return { ...parsed, namespace, name, file, path, size: (await fs.stat(path)).size };
  } catch (error) {
    // Removed since it was listed: where nothing says so, the segment is missing.
    if (isMissing(error)) return undefined;
    throw error;
  }
}

async function connectionOf(path: string): Promise<{ readonly namespace: string; readonly name: string } | undefined> {
  for await (const { bytes } of readBlocks(path, { maxLineBytes: MAX_HEAD_BYTES })) {
    const head = bytes.toString('utf8', 0, Math.max(0, bytes.indexOf(0x0a)));
    const connection = parseEvent(head)?.['connection'];
    if (typeof connection !== 'object' || connection === null) return undefined;
    if (!('namespace' in connection) || typeof connection.namespace !== 'string') return undefined;
    if (!('name' in connection) || typeof connection.name !== 'string') return undefined;
    return { namespace: connection.namespace, name: connection.name };
  }
  return undefined;
}
