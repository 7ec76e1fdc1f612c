import { stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { makeFolder } from '../../delivery/durable-file.ts';
import { describeCause, RecorderError } from '../../record/errors.ts';
import { eventType, parseEvent } from '../../record/format.ts';
import { readLastLine } from '../../record/lines.ts';
import {
  connectionFolder,
  isMissing,
  listSegments,
  parseSegmentFileName,
  type SegmentPath,
  streamKey,
} from '../../record/segment.ts';
import { ArchiveError } from '../errors.ts';
import { continuityFindings, type Predecessor } from './continuity.ts';
import type { FindingLog } from './findings.ts';
import { createOwners } from './owners.ts';
import { appendDurably, firstDifference, openSegment, wholeSize } from './segment-append.ts';

export interface StoreOptions {
  /** The archive's folder: `record/`, `owners/` and `findings.jsonl` are in it. */
  readonly folder: string;
  readonly findings: FindingLog;
  /** Bytes that one proxy may fill; undefined: as many as there are. */
  readonly quotaBytes: number | undefined;
  /** Bytes of the file system that stay free. */
  readonly minFreeBytes: number;
}

/** The sender is ahead of the archive, and goes on from `size`. */
export class OutOfPlace extends ArchiveError {
  readonly size: number;
  constructor(segment: string, offset: number, size: number) {
    super('SPH002', [segment, offset, size]);
    this.size = size;
  }
}

export interface ArchiveStore {
  /** Where segments lie: the same layout as in a state folder, so that every command reads it. */
  readonly root: string;
  /**
   * Adds whole lines of a segment at `offset`, and resolves with the size of the segment once it is durable. Bytes that are there already
   * are compared. @param proxy who sends, proven @throws ArchiveError
   */
  append(proxy: string, namespace: string, name: string, file: string, offset: number, bytes: Buffer): Promise<number>;
  /** Bytes by proxy. */
  usage(): ReadonlyMap<string, number>;
  /** Segments were removed: what each proxy uses is counted anew. */
  recount(): Promise<void>;
}

/** @throws the system's error */
export async function openStore(options: StoreOptions): Promise<ArchiveStore> {
  const root = join(options.folder, 'record');
  const owners = createOwners(join(options.folder, 'owners'));
  const used = new Map<string, number>();
  const busy = new Map<string, Promise<unknown>>();
  await makeFolder(root);

  async function recount(): Promise<void> {
    const counted = new Map<string, number>();
    for (const segment of await listSegments(root)) {
      const owner = await owners.ownerOf(streamKey(segment));
      if (owner !== undefined) counted.set(owner, (counted.get(owner) ?? 0) + (await sizeOf(segment.path)));
    }
    used.clear();
    for (const [proxy, bytes] of counted) used.set(proxy, bytes);
  }
  await recount();

  /** One after the other within a stream, whichever connection they come over. */
  async function alone<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = busy.get(key) ?? Promise.resolve();
    const mine = before.then(work, work);
    busy.set(key, mine);
    try {
      return await mine;
    } finally {
      if (busy.get(key) === mine) busy.delete(key);
    }
  }

  /** The line behind which a segment goes on: its own last one, or that of the last segment before it. */
  async function predecessor(segment: SegmentPath, size: number): Promise<Predecessor | undefined> {
    if (size > 0) return { segment: segment.number, line: (await readLastLine(segment.path)).line };
    const key = streamKey(segment);
    const earlier = (await listSegments(root, segment)).filter(
      (other) => streamKey(other) === key && other.number < segment.number,
    );
    const last = earlier.at(-1);
    return last === undefined ? undefined : { segment: last.number, line: (await readLastLine(last.path)).line };
  }

  async function admit(proxy: string, segment: SegmentPath, bytes: Buffer): Promise<void> {
    const key = streamKey(segment);
    const owner = (await owners.ownerOf(key)) ?? (await owners.claim(key, proxy));
    if (owner !== proxy) throw new ArchiveError('SPH003', [key, owner, proxy]);
    const { quotaBytes } = options;
    if (quotaBytes !== undefined && (used.get(proxy) ?? 0) + bytes.length > quotaBytes) {
      throw new ArchiveError('SPH008', [proxy, quotaBytes]);
    }
    if (options.minFreeBytes === 0) return;
    const { bavail, bsize } = await statfs(root);
    if (bavail * bsize - bytes.length < options.minFreeBytes) throw new ArchiveError('SPH011', [options.minFreeBytes]);
  }

  async function appendAlone(proxy: string, segment: SegmentPath, offset: number, bytes: Buffer): Promise<number> {
    const label = labelOf(segment);
    // Before anything is made: who may not write leaves nothing behind.
    await admit(proxy, segment, bytes);
    if (offset === 0) checkHead(segment, bytes);
    else if ((await sizeOf(segment.path)) === 0) throw new OutOfPlace(label, offset, 0);
    const file = await openSegment(segment.path);
    try {
      const size = await wholeSize(file);
      if (offset > size) throw new OutOfPlace(label, offset, size);
      const differs = await firstDifference(file, offset, bytes, size);
      if (differs !== -1) {
        const message = 'bytes that were acknowledged came again and were others';
        await options.findings.report(proxy, label, [{ kind: 'conflict', offset: differs, message }]);
        throw new ArchiveError('SPH001', [differs, label]);
      }
      const fresh = bytes.subarray(size - offset);
      if (fresh.length === 0) {
        // They may have been written and not acknowledged: they are durable now.
        await file.datasync();
        return size;
      }
      const found = continuityFindings(await predecessor(segment, size), segment, fresh, size);
      // Before the lines: an archive that dies in between reports twice rather than never.
      if (found.length > 0) await options.findings.report(proxy, label, found);
      await appendDurably(file, segment.path, size, fresh);
      used.set(proxy, (used.get(proxy) ?? 0) + fresh.length);
      return size + fresh.length;
    } finally {
      await file.close();
    }
  }

  return {
    root,
    recount,
    usage: () => used,
    async append(proxy, namespace, name, file, offset, bytes) {
      const segment = segmentOf(root, namespace, name, file);
      if (bytes.length === 0 || bytes.at(-1) !== 0x0a) {
        throw new ArchiveError('SPH006', [labelOf(segment), 'they do not end with a line feed']);
      }
      try {
        return await alone(streamKey(segment), () => appendAlone(proxy, segment, offset, bytes));
      } catch (error) {
        if (error instanceof ArchiveError) throw error;
        throw new ArchiveError('SPH009', [describeCause(error)], error);
      }
    },
  };
}

const labelOf = (segment: SegmentPath): string => `${segment.namespace}/${segment.name}/${segment.file}`;

/** @throws ArchiveError SPH005 for names that could leave the folder */
function segmentOf(root: string, namespace: string, name: string, file: string): SegmentPath {
  const parsed = parseSegmentFileName(file);
  const label = JSON.stringify(`${namespace}/${name}/${file}`.slice(0, 700));
  if (parsed === undefined || file.length > 200) throw new ArchiveError('SPH005', [label]);
  try {
    return { ...parsed, namespace, name, file, path: join(connectionFolder(root, namespace, name), file) };
  } catch (error) {
    if (error instanceof RecorderError) throw new ArchiveError('SPH005', [label], error);
    throw error;
  }
}

/** The first line names connection, number and process, and they are those of the name. @throws ArchiveError SPH006 */
function checkHead(segment: SegmentPath, bytes: Buffer): void {
  const line = bytes.toString('utf8', 0, bytes.indexOf(0x0a));
  const event = eventType(line) === 'segment.start' ? parseEvent(line) : undefined;
  const connection = event?.['connection'];
  const owner = event?.['owner'];
  const same =
    typeof connection === 'object' &&
    connection !== null &&
    'namespace' in connection &&
    connection.namespace === segment.namespace &&
    'name' in connection &&
    connection.name === segment.name &&
    typeof owner === 'object' &&
    owner !== null &&
    'process' in owner &&
    owner.process === segment.process &&
    event?.['segment'] === segment.number;
  if (!same) throw new ArchiveError('SPH006', [labelOf(segment), 'the first line is not the head of this segment']);
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (isMissing(error)) return 0;
    throw error;
  }
}
