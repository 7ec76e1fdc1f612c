import { isUtf8 } from 'node:buffer';
import type { BinaryOutput } from '../../../policy/masking.ts';
import type { ContentDetectors } from '../detectors.ts';
import { MaskError } from '../errors.ts';
import { applyEdits, type Edit, editsOf, type Finding, joinFindings } from '../findings.ts';
import type { CountMask } from '../port.ts';
import { hasEscapes, strip } from './escapes.ts';
import { createLineCrossing } from './line-crossing.ts';
import type { TextMasker } from './port.ts';
import { afterLine, type KeyState, mayBeginKey } from './private-keys.ts';
import { textRuns, wholeCharacters } from './text-runs.ts';

export type { TextMasker };

export interface TextMaskerOptions {
  readonly detectors: ContentDetectors;
  readonly binary: BinaryOutput;
  readonly count: CountMask;
  readonly limits?: TextLimits;
}

export interface TextLimits {
  /** Bytes that are kept while they may be part of something; at least four times each of the others. */
  readonly window: number;
  /** A match that is no longer than this is found wherever the stream is cut. */
  readonly longestMatch: number;
  /** Bytes before a cut that are looked at once more: a value is known by what stands before it, such as the name of a key. */
  readonly context: number;
}

export const TEXT_LIMITS: TextLimits = { window: 64 * 1024, longestMatch: 16 * 1024, context: 4 * 1024 };

const LINE_FEED = 0x0a;
const RETURN = 0x0d;
const NOTHING = Buffer.alloc(0);

/**
 * The stream is taken in units. A unit ends with a line (LF or CR), unless something goes on behind it: a private key, or a match of a
 * user's pattern. A unit is searched as one value; nothing is shown of it before it is whole. One that grows past the window is cut: what
 * begins `longestMatch` before its end and earlier is settled, the rest is looked at again. Where a find goes to that end it may go on
 * behind it, and all is withheld up to the end of the unit. Where units end depends on the bytes of the stream alone.
 */
export function createTextMasker({ detectors, binary, count, limits = TEXT_LIMITS }: TextMaskerOptions): TextMasker {
  const { window, longestMatch } = limits;
  const crossing = createLineCrossing(detectors.patterns);
  const watchesKeys = detectors.has('PrivateKey');
  const part = Math.max(1, window >> 1);
  /** Bytes [context, length) are kept, those before `start` for what follows them only. Whatever was given out is never written again. */
  let store: Buffer = NOTHING;
  let context = 0;
  let start = 0;
  let length = 0;
  /** Up to here line ends were looked for; the line that is looked at begins at `line`. */
  let scanned = 0;
  let line = 0;
  let state = crossing.idle;
  let key: KeyState = 'none';
  /** What began before goes on: nothing is shown up to the end of the unit. */
  let withholding = false;
  /** From where on nothing is looked at any more: it passes, or, with a failure, it does not. */
  let stopped: number | undefined;
  let failure: MaskError | undefined;
  let edits: Edit[] = [];

  function append(chunk: Buffer): void {
    if (length + chunk.length > store.length) {
      const kept = length - context;
      const grown = Buffer.allocUnsafeSlow(Math.max(kept + chunk.length, Math.min(kept * 2, window * 2)));
      store.copy(grown, 0, context, length);
      store = grown;
      scanned -= context;
      line -= context;
      start -= context;
      length = kept;
      context = 0;
    }
    chunk.copy(store, length);
    length += chunk.length;
  }

  function isText(from: number, to: number): boolean {
    const bytes = store.subarray(from, to);
    return isUtf8(bytes) && (binary === 'Search' || !bytes.includes(0));
  }

  /** Whether a rule says that what begins here is not looked at, or not shown. */
  function stopsAt(from: number, to: number): boolean {
    if (binary === 'Search' || isText(from, to)) return false;
    stopped = from;
    if (binary === 'Deny') failure = new MaskError('SPM008', 'binary output');
    return true;
  }

  /** Finds in a text, also between what only terminals act on. */
  function findIn(from: number, to: number): Finding[] | 'withhold' {
    const found = detectors.find(store, from, to);
    if (found === 'withhold' || !hasEscapes(store, from, to)) return found;
    const stripped = strip(store, from, to);
    const { text } = stripped;
    const behind = detectors.find(text, 0, text.length);
    if (behind === 'withhold') return behind;
    const mapped = behind.map((one): Finding => {
      const shown = one.mask.apply(text, one.from, one.to) ?? NOTHING;
      const last = one.to === text.length ? to : stripped.to[one.to - 1]!;
      return { from: stripped.from[one.from]!, to: last, mask: one.mask, shown };
    });
    return [...found, ...mapped];
  }

  /** What is found in store[start, to): sorted, without overlaps. */
  function findingsUpTo(to: number): readonly Finding[] | 'withhold' {
    const runs = isText(context, to) ? [[context, to] as const] : textRuns(store, context, to);
    const all: Finding[] = [];
    for (const [from, last] of runs) {
      const found = findIn(from, last);
      if (found === 'withhold') return found;
      for (const one of found) {
        if (one.to <= start) continue;
        // What begins before was given out already; the rest of it is not.
        all.push(one.from < start ? { from: start, to: one.to, mask: one.mask } : one);
      }
    }
    return joinFindings(all);
  }

  function withhold(to: number): void {
    edits.push({ from: start, to, bytes: detectors.withhold(count) ?? NOTHING });
  }

  function drop(from: number, to: number): void {
    if (to > from) edits.push({ from, to, bytes: NOTHING });
  }

  function replace(findings: readonly Finding[]): void {
    // NULL is no text: nothing stands in its place.
    for (const one of findings)
      edits.push(...(editsOf(store, [one], count) ?? [{ from: one.from, to: one.to, bytes: NOTHING }]));
  }

  /** One whole unit, from `start` to its end. */
  function unit(to: number): void {
    const lastByte = isLineEnd(store[to - 1]!) ? to - 1 : to;
    if (withholding) {
      withholding = false;
      drop(start, lastByte);
    } else {
      if (stopsAt(start, to)) return;
      const found = findingsUpTo(to);
      if (found === 'withhold') withhold(lastByte);
      else replace(found);
    }
    settle(to, to);
  }

  function settle(to: number, contextFrom: number): void {
    start = to;
    context = contextFrom;
    if (line < to) line = to;
  }

  /** Whole units: as one text where that comes to the same, since a search costs more than a line. */
  function units(ends: readonly number[]): void {
    const to = ends[ends.length - 1]!;
    if (ends.length > 1 && isPlain(to)) {
      const found = detectors.find(store, start, to);
      if (found !== 'withhold') {
        replace(joinFindings(found));
        settle(to, to);
        return;
      }
    }
    for (const end of ends) {
      unit(end);
      if (stopped !== undefined) return;
    }
  }

  /** Nothing in store[start, to) makes a difference between searching it at once and unit by unit. */
  function isPlain(to: number): boolean {
    if (withholding || context < start || !isText(start, to) || hasEscapes(store, start, to)) return false;
    if (watchesKeys && mayBeginKey(store, start, to)) return false;
    return !detectors.hasPatterns || (!crossing.assertions && to - start <= window);
  }

  /** The unit is longer than what is kept of one. */
  function cut(): void {
    const end = start + window;
    if (watchesKeys) key = afterLine(key, store, line, end);
    if (withholding) {
      // What ends a key may stand across the cut.
      drop(start, end - limits.context);
      settle(end - limits.context, end - limits.context);
      return;
    }
    const to = wholeCharacters(store, start, end);
    if (stopsAt(start, to)) return;
    const found = findingsUpTo(to);
    if (found === 'withhold') {
      withhold(end);
      withholding = true;
      settle(end, end);
      return;
    }
    const place = wholeCharacters(store, start, end - longestMatch);
    const settled = found.filter(({ from }) => from < place);
    replace(settled);
    const last = settled[settled.length - 1]?.to ?? start;
    if (last >= to) {
      withholding = true;
      drop(last, end);
      settle(end, end);
    } else {
      const next = Math.max(place, last);
      settle(next, wholeCharacters(store, context, Math.max(context, next - limits.context)));
    }
  }

  /** The end of the next unit in store[scanned, limit). */
  function nextEnd(unitStart: number, keys: boolean): number | undefined {
    const limit = Math.min(length, unitStart + window);
    while (scanned < limit) {
      const byte = store[scanned++]!;
      if (crossing.possible) state = crossing.step(state, byte);
      if (!isLineEnd(byte)) continue;
      if (keys) key = afterLine(key, store, line, scanned);
      line = scanned;
      if (key === 'none' && !crossing.underWay(state)) return scanned;
    }
    return undefined;
  }

  /** All whole units at once, where it is certain without looking at each that none of them goes on behind its line. */
  function scanPlain(): boolean {
    if (crossing.possible || length - start > window) return false;
    const fresh = store.subarray(scanned, length);
    const lastEnd = Math.max(fresh.lastIndexOf(LINE_FEED), fresh.lastIndexOf(RETURN));
    if (lastEnd >= 0) {
      const to = scanned + lastEnd + 1;
      if (!isPlain(to)) return false;
      const found = detectors.find(store, start, to);
      if (found === 'withhold') return false;
      replace(joinFindings(found));
      settle(to, to);
    }
    scanned = length;
    return true;
  }

  /** Settles the units that are whole, and cuts those that are too long. */
  function scan(): void {
    const keys = watchesKeys && (key !== 'none' || mayBeginKey(store, line, length));
    if (!keys && scanPlain()) return;
    let ends: number[] = [];
    let unitStart = start;
    while (scanned < length && stopped === undefined) {
      const end = nextEnd(unitStart, keys);
      if (end !== undefined) {
        ends.push(end);
        unitStart = end;
        continue;
      }
      if (scanned - unitStart < window) break;
      if (ends.length > 0) units(ends);
      ends = [];
      if (stopped === undefined) cut();
      unitStart = start;
    }
    if (ends.length > 0 && stopped === undefined) units(ends);
  }

  /** What is settled since, with its edits made. */
  function give(from: number): Buffer[] {
    const to = stopped === undefined ? start : failure === undefined ? length : stopped;
    const made = edits;
    edits = [];
    const shown = made.length === 0 ? store.subarray(from, to) : applyEdits(store, from, to, made);
    if (stopped !== undefined) stopped = 0;
    if (stopped !== undefined || context === length) {
      store = NOTHING;
      context = start = length = scanned = line = 0;
    }
    return shown.length === 0 ? [] : [shown];
  }

  return {
    get failure() {
      return failure;
    },
    push(chunk) {
      const shown: Buffer[] = [];
      // A part at a time, so that what is kept fits the window.
      for (let at = 0; at < chunk.length && failure === undefined; at += part) {
        append(chunk.length <= part ? chunk : chunk.subarray(at, at + part));
        const from = start;
        if (stopped === undefined) scan();
        shown.push(...give(from));
      }
      return shown;
    },
    end() {
      if (failure !== undefined) return [];
      const from = start;
      if (stopped === undefined && length > start) unit(length);
      return give(from);
    },
  };
}

function isLineEnd(byte: number): boolean {
  return byte === LINE_FEED || byte === RETURN;
}
