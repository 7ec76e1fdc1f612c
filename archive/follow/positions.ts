import { readFile, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { makeFolder, replaceDurably } from '../../delivery/durable-file.ts';
import { isMissing } from '../../record/segment.ts';

/** How far a destination has come in one segment. */
export interface SegmentPosition {
  /** Up to this byte it was delivered. */
  readonly offset: number;
  /** A batch up to this byte may have been delivered: it is sent again with the same end, so that the receiver knows it again. */
  readonly pending?: number;
}

/** How far a destination has come in one stream. */
export interface StreamPosition {
  /** Segments up to this number are done with. */
  readonly done: number;
  /** Those behind it that were begun. */
  readonly segments: ReadonlyMap<number, SegmentPosition>;
}

export interface PositionStore {
  /** Undefined: never seen. A damaged file counts as that: everything is then delivered again, which receivers must bear. */
  load(stream: string): Promise<StreamPosition | undefined>;
  /** Durable when it resolves. */
  save(stream: string, position: StreamPosition): Promise<void>;
  remove(stream: string): Promise<void>;
}

/** A file for each stream below `folder`. @param stream NAMESPACE/NAME/PROCESS */
export function createPositionStore(folder: string): PositionStore {
  const pathOf = (stream: string): string => join(folder, `${stream}.json`);
  return {
    async load(stream) {
      try {
        return parsePosition(JSON.parse(await readFile(pathOf(stream), 'utf8')));
      } catch (error) {
        if (isMissing(error) || error instanceof SyntaxError) return undefined;
        throw error;
      }
    },
    async save(stream, position) {
      const text = JSON.stringify({ done: position.done, segments: Object.fromEntries(position.segments) });
      try {
        await replaceDurably(pathOf(stream), text);
      } catch (error) {
        if (!isMissing(error)) throw error;
        await makeFolder(dirname(pathOf(stream)));
        await replaceDurably(pathOf(stream), text);
      }
    },
    async remove(stream) {
      await rm(pathOf(stream), { force: true });
    },
  };
}

function parsePosition(value: unknown): StreamPosition | undefined {
  if (typeof value !== 'object' || value === null || !('done' in value) || !('segments' in value)) return undefined;
  const { done, segments } = value;
  if (typeof done !== 'number' || typeof segments !== 'object' || segments === null) return undefined;
  const parsed = new Map<number, SegmentPosition>();
  for (const [number, position] of Object.entries(segments)) {
    if (typeof position !== 'object' || position === null) return undefined;
    if (!('offset' in position) || typeof position.offset !== 'number') return undefined;
    const pending = 'pending' in position && typeof position.pending === 'number' ? position.pending : undefined;
    parsed.set(Number(number), { offset: position.offset, ...(pending === undefined ? {} : { pending }) });
  }
  return { done, segments: parsed };
}
