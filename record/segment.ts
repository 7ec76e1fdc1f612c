import { type Dirent, promises as fs } from 'node:fs';
import { join } from 'node:path';
import { RecorderError } from './errors.ts';

/**
 * Where segments lie and how they are called: `STATE/record/NAMESPACE/NAME/OPENED-PID-PROCESS-NUMBER.jsonl`. The time first,
 * so that a plain listing is in order; process id and a random part, so that workers and replicas never collide; the number,
 * so that a missing segment of a process shows.
 */
export interface SegmentName {
  /** `20260301T101112.123456Z`: when the segment was opened. */
  readonly opened: string;
  readonly pid: number;
  /** Random, one per process. */
  readonly process: string;
  /** 1, 2, …, within the process and connection. */
  readonly number: number;
}

export interface SegmentPath extends SegmentName {
  readonly namespace: string;
  readonly name: string;
  /** File name alone. */
  readonly file: string;
  readonly path: string;
}

const FILE = /^(\d{8}T\d{6}\.\d{6}Z)-(\d+)-([0-9a-f]{8,})-(\d{6,})\.jsonl$/;
/** What Kubernetes accepts: never `..`, never a separator. */
const OBJECT = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;

/** @param time RFC 3339 with microseconds, as `Timestamps` gives it. */
export function segmentFileName(time: string, pid: number, process: string, number: number): string {
  return `${time.replaceAll(/[-:]/g, '')}-${pid}-${process}-${String(number).padStart(6, '0')}.jsonl`;
}

export function parseSegmentFileName(file: string): SegmentName | undefined {
  const match = FILE.exec(file);
  if (match === null) return undefined;
  const [, opened = '', pid = '', process = '', number = ''] = match;
  return { opened, pid: Number(pid), process, number: Number(number) };
}

/** @throws RecorderError SPR006 for names that could leave the folder. */
export function connectionFolder(root: string, namespace: string, name: string): string {
  for (const part of [namespace, name]) {
    if (!OBJECT.test(part)) {
      throw new RecorderError('SPR006', { object: JSON.stringify(`${namespace}/${name}`), detail: 'not a DNS name' });
    }
  }
  return join(root, namespace, name);
}

export interface SegmentFilter {
  readonly namespace?: string;
  readonly name?: string;
  /** Asked for each connection before anything of it is read: false leaves it out, as if it were not there. */
  readonly permits?: (namespace: string, name: string) => boolean;
}

/** All segments, in the order of their events (streams by their opening). Other files are left alone. A folder that disappears meanwhile counts as empty. */
export async function listSegments(root: string, filter: SegmentFilter = {}): Promise<SegmentPath[]> {
  const found: SegmentPath[] = [];
  for (const namespace of await subfolders(root)) {
    if (filter.namespace !== undefined && namespace !== filter.namespace) continue;
    for (const name of await subfolders(join(root, namespace))) {
      if (filter.name !== undefined && name !== filter.name) continue;
      if (filter.permits?.(namespace, name) === false) continue;
      const folder = join(root, namespace, name);
      for (const entry of await entries(folder)) {
        const parsed = entry.isFile() ? parseSegmentFileName(entry.name) : undefined;
        if (parsed !== undefined) {
          found.push({ ...parsed, namespace, name, file: entry.name, path: join(folder, entry.name) });
        }
      }
    }
  }
  return inOrder(found);
}

/**
 * All segments of one process and connection together, by their own numbers, so that a clock that jumped back changes nothing
 * there; the groups by the opening of their first segment.
 */
function inOrder(segments: readonly SegmentPath[]): SegmentPath[] {
  const groups = new Map<string, SegmentPath[]>();
  for (const segment of segments) {
    const group = groups.get(streamKey(segment));
    if (group === undefined) groups.set(streamKey(segment), [segment]);
    else group.push(segment);
  }
  return [...groups.values()]
    .map((group) => group.sort((a, b) => a.number - b.number))
    .sort(([a], [b]) => compare(a?.opened, b?.opened) || compare(a?.path, b?.path))
    .flat();
}

/** Identifies the stream that a segment is a part of. */
export function streamKey(segment: Pick<SegmentPath, 'namespace' | 'name' | 'process'>): string {
  return `${segment.namespace}/${segment.name}/${segment.process}`;
}

function compare(a = '', b = ''): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Names of the folders in a folder that may be those of a namespace or connection; none where it is missing. */
export async function subfolders(path: string): Promise<string[]> {
  return (await entries(path))
    .filter((entry) => entry.isDirectory() && OBJECT.test(entry.name))
    .map(({ name }) => name);
}

async function entries(path: string): Promise<Dirent[]> {
  try {
    return await fs.readdir(path, { withFileTypes: true });
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

export function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR');
}
