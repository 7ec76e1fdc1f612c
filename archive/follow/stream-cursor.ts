import { stat } from 'node:fs/promises';
import { closesSegment, eventType } from '../../record/format.ts';
import { readLastLine } from '../../record/lines.ts';
import { isMissing, type SegmentPath } from '../../record/segment.ts';
import { type Batch, batchId } from './destination.ts';
import type { PositionStore, SegmentPosition, StreamPosition } from './positions.ts';
import { readBatch } from './read-batch.ts';

/** The next batch of a stream, or why there is none. */
export type Next =
  | { readonly state: 'batch'; readonly batch: Batch }
  /** Some lines are there, and may wait this long for more. */
  | { readonly state: 'lingering'; readonly forMs: number }
  | { readonly state: 'idle' };

export interface CursorSettings {
  readonly maxBatchBytes: number;
  readonly lingerMs: number;
  /** Milliseconds, never jumping. */
  readonly monotonic: () => number;
  /** A segment is gone that was not delivered whole. */
  readonly onLost: (number: number) => void;
}

/** Walks one stream for one destination: segment by segment, and remembers on disk how far it came. */
export interface StreamCursor {
  /** The segments of the stream that are there, in order. */
  list(segments: readonly SegmentPath[]): void;
  /** @param hurry nothing may wait to become more */
  next(hurry: boolean): Promise<Next>;
  /** The batch given last was delivered. */
  delivered(batch: Batch): Promise<void>;
  /** The receiver goes on from another byte of the segment. */
  rewind(segment: SegmentPath, offset: number): Promise<void>;
  /** Bytes not delivered yet, and where the first of them is. */
  lag(): Promise<{ readonly bytes: number; readonly first?: { readonly path: string; readonly offset: number } }>;
  forget(): Promise<void>;
}

export function createStreamCursor(stream: string, store: PositionStore, settings: CursorSettings): StreamCursor {
  let segments: readonly SegmentPath[] = [];
  let loaded: Promise<void> | undefined;
  let done = 0;
  const positions = new Map<number, SegmentPosition>();
  /** Segments delivered up to a line that ends them. */
  const ended = new Map<number, SegmentEnd>();
  let lingeringSince: number | undefined;

  async function load(): Promise<void> {
    const known = await store.load(stream);
    // A stream that is new to a destination begins with what is left of it.
    done = known?.done ?? (segments[0]?.number ?? 1) - 1;
    for (const [number, position] of known?.segments ?? []) positions.set(number, position);
  }

  /** A position that could not be read is asked for again: an error is no reason to begin anew. */
  function ready(): Promise<void> {
    loaded ??= load().catch((error: unknown) => {
      loaded = undefined;
      throw error;
    });
    return loaded;
  }

  const save = (): Promise<void> => {
    const position: StreamPosition = { done, segments: positions };
    return store.save(stream, position);
  };

  /** A process that died between two segments leaves one that looks like rotated and is the last: what follows a crash comes there. */
  const isClosed = (number: number): boolean =>
    ended.get(number) === 'final' || (ended.get(number) === 'rotated' && number < (segments.at(-1)?.number ?? 0));

  async function reset(number: number, offset: number): Promise<void> {
    positions.set(number, { offset });
    ended.delete(number);
    if (done >= number) done = number - 1;
    await save();
  }

  /** Moves `done` over segments that are delivered or gone. */
  function advance(): void {
    const there = new Set(segments.map(({ number }) => number));
    const last = segments.at(-1)?.number ?? 0;
    while (done < last && (isClosed(done + 1) || !there.has(done + 1))) {
      done++;
      // A segment that was closed and delivered may be removed at any time; one that was not is a loss.
      if (!ended.has(done)) settings.onLost(done);
      ended.delete(done);
      positions.delete(done);
    }
  }

  async function nextOf(segment: SegmentPath, isLast: boolean, hurry: boolean): Promise<Next> {
    const { offset, pending } = positions.get(segment.number) ?? { offset: 0 };
    const read = await readIfThere(segment.path, offset, settings.maxBatchBytes, pending);
    if (read === undefined) {
      if (!isLast) await noteEnd(segment);
      return { state: 'idle' };
    }
    const { bytes } = read;
    const partial = !read.more && bytes.length < settings.maxBatchBytes && endOf(lastLine(bytes)) === undefined;
    if (isLast && pending === undefined && partial && !hurry) {
      lingeringSince ??= settings.monotonic();
      const forMs = lingeringSince + settings.lingerMs - settings.monotonic();
      if (forMs > 0) return { state: 'lingering', forMs };
    }
    lingeringSince = undefined;
    const end = offset + bytes.length;
    if (pending !== end) {
      positions.set(segment.number, { offset, pending: end });
      await save();
    }
    return { state: 'batch', batch: { segment, offset, bytes, id: batchId(segment, offset, end) } };
  }

  /** After a restart, whether a segment before the last is one that was delivered whole. */
  async function noteEnd({ number, path }: SegmentPath): Promise<void> {
    const end = endOf((await readLastLineIfThere(path)) ?? '');
    if (end !== undefined) ended.set(number, end);
  }

  return {
    list(there) {
      segments = there;
    },
    async next(hurry) {
      await ready();
      advance();
      for (const [index, segment] of segments.entries()) {
        if (segment.number <= done || isClosed(segment.number)) continue;
        const found = await nextOf(segment, index === segments.length - 1, hurry);
        if (found.state !== 'idle') return found;
      }
      return { state: 'idle' };
    },
    async delivered({ segment, offset, bytes }) {
      positions.set(segment.number, { offset: offset + bytes.length });
      const end = endOf(lastLine(bytes));
      if (end !== undefined) ended.set(segment.number, end);
      advance();
      await save();
    },
    rewind: (segment, offset) => reset(segment.number, offset),
    async lag() {
      await ready();
      let bytes = 0;
      let first: { path: string; offset: number } | undefined;
      for (const { number, path } of segments) {
        if (number <= done || isClosed(number)) continue;
        const { offset } = positions.get(number) ?? { offset: 0 };
        const size = await sizeIfThere(path);
        if (size <= offset) continue;
        bytes += size - offset;
        first ??= { path, offset };
      }
      return { bytes, ...(first === undefined ? {} : { first }) };
    },
    forget: () => store.remove(stream),
  };
}

type SegmentEnd = 'final' | 'rotated';

function endOf(line: string): SegmentEnd | undefined {
  const type = eventType(line);
  if (type === 'segment.end') return 'rotated';
  return closesSegment(type) ? 'final' : undefined;
}

function lastLine(lines: Buffer): string {
  const start = lines.lastIndexOf(0x0a, lines.length - 2) + 1;
  return lines.toString('latin1', start, start + 256);
}

async function readLastLineIfThere(path: string): Promise<string | undefined> {
  try {
    const { line, clean } = await readLastLine(path);
    return clean ? line : undefined;
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

async function readIfThere(...given: Parameters<typeof readBatch>): ReturnType<typeof readBatch> {
  try {
    return await readBatch(...given);
  } catch (error) {
    // Retention may remove a segment between the listing and the reading: the next listing tells.
    if (isMissing(error)) return undefined;
    throw error;
  }
}

async function sizeIfThere(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (isMissing(error)) return 0;
    throw error;
  }
}
