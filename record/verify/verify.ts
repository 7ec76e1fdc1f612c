import { type AnchorFile, listAnchors, readAnchors } from '../anchors.ts';
import { originOf } from '../chain.ts';
import { checkSignature } from '../checkpoint.ts';
import { RecorderError } from '../errors.ts';
import { isLedger } from '../ledger.ts';
import type { NoteVerifier } from '../note.ts';
import { streamKey } from '../segment.ts';
import { createRemovals, type Removals } from './removals.ts';
import { type StreamReport, verifyStream } from './stream.ts';
import { findTargets, type TargetSegment, type Targets } from './targets.ts';

export interface VerifyOptions {
  /** State folders, records, folders of connections, segments. */
  readonly paths: readonly string[];
  /** Public keys. None: links are checked, signatures are not. */
  readonly verifiers: readonly NoteVerifier[];
  /** Folder of anchored checkpoints. */
  readonly anchors?: string;
  readonly signal?: AbortSignal;
  /** Called after each block with the bytes read and those to read in all. */
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * Verifies a record from its bytes alone and gives a report on each stream; each names the first line that is bad. Works on a record that is being
 * written. Memory goes with what is open at one time, and with the segments that were removed. @throws RecorderError SPR008; the system's error
 */
export async function* verifyRecord(options: VerifyOptions): AsyncGenerator<StreamReport> {
  const { paths, verifiers, signal } = options;
  // Before the record is looked at: what is anchored later may be of lines that are written later.
  const anchors = options.anchors === undefined ? new Map<string, AnchorFile>() : await listAnchors(options.anchors);
  const targets = await findTargets(paths);
  if (targets.streams.length === 0 && anchors.size === 0) {
    throw new RecorderError('SPR008', { path: paths.join(', '), detail: 'no segment is there' });
  }
  const removals = createRemovals();
  let done = 0;
  const onBytes = (count: number): void => {
    done += count;
    options.onProgress?.(done, targets.bytes);
  };
  const verify = (segments: readonly TargetSegment[]): Promise<StreamReport> =>
    verifyStream(segments, {
      ...{ verifiers, removals, onBytes, whole: targets.whole },
      anchors: segments[0] === undefined ? undefined : anchors.get(originOf(segments[0])),
      ...(signal === undefined ? {} : { signal }),
    });

  /** Retention may have removed segments since the listing: what it wrote about that is read, then the stream once more. */
  async function again(segments: readonly TargetSegment[], report: StreamReport): Promise<StreamReport> {
    const known = removals.count;
    const now: Targets = await findTargets(paths);
    for (const ledger of now.streams.filter(isLedgerStream)) enterRemovals(await verify(ledger), removals, verifiers);
    const [first] = segments;
    if (removals.count === known) return report;
    const left = now.streams.find(
      ([other]) => other !== undefined && first !== undefined && streamKey(other) === streamKey(first),
    );
    const { finding: _gone, ...rest } = report;
    return left === undefined ? { ...rest, state: 'closed' } : verify(left);
  }

  for (const segments of targets.streams.filter(isLedgerStream)) {
    const report = await verify(segments);
    enterRemovals(report, removals, verifiers);
    yield report;
  }
  for (const segments of targets.streams) {
    if (isLedgerStream(segments)) continue;
    const report = await verify(segments);
    yield report.finding?.problem === 'segment-missing' ? await again(segments, report) : report;
  }
  if (!targets.whole) return;
  const present = new Set(targets.streams.flatMap(([first]) => (first === undefined ? [] : [originOf(first)])));
  for (const [origin, file] of anchors) {
    if (!present.has(origin)) yield* missingStream(file, removals, verifiers);
  }
}

function isLedgerStream([first]: readonly TargetSegment[]): boolean {
  return first !== undefined && isLedger(first);
}

/** A removal counts when what says so is whole, and signed where signatures are checked: it explains why something is not there. */
function enterRemovals(report: StreamReport, removals: Removals, verifiers: readonly NoteVerifier[]): void {
  const proven = report.finding === undefined && (verifiers.length === 0 || report.unsignedLines === 0);
  if (proven) for (const removed of report.removals) removals.enter(removed);
}

/** A stream of which there are anchors and no segment. */
async function* missingStream(
  file: AnchorFile,
  removals: Removals,
  verifiers: readonly NoteVerifier[],
): AsyncGenerator<StreamReport> {
  const { namespace, name, process, path } = file;
  const until = removals.lastOf(file) ?? 0;
  let unusableAnchors = 0;
  const anchors = readAnchors(file, () => {
    unusableAnchors++;
  });
  for await (const { n, note, line } of anchors) {
    if (n <= until) continue;
    const state = checkSignature(note, verifiers);
    if (state !== 'valid' && state !== 'unchecked') {
      unusableAnchors++;
      continue;
    }
    const detail = `${namespace}/${name} ${process}, anchored at n=${n}`;
    yield {
      ...{ namespace, name, process, state: 'bad', segments: 0, removedSegments: 0, lines: 0, bytes: 0, lastN: 0 },
      finding: { problem: 'stream-missing', file: path, line, n, detail },
      ...{ lastTime: '', checkpoints: 0, unsignedLines: 0, anchors: 0, unusableAnchors, remarks: [], removals: [] },
    };
    return;
  }
}
