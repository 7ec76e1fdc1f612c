import { MaskError } from '../errors.ts';
import type { CountMask } from '../port.ts';
import { type DocumentMasks, rewriteDocument } from './documents.ts';
import type { BodyTransform } from './port.ts';
import { maskOneText } from './text-lines.ts';

const LINE_FEED = 0x0a;
const RETURN = 0x0d;
const DATA = 'data';

/**
 * Masks a text/event-stream (HTML, section 9.2) event by event: what the `data` lines of an event make together is a document or a text.
 * An event that nothing is found in goes on byte for byte. One that is not whole is kept, at most `limit` bytes.
 */
export function createEventRewriter(of: DocumentMasks, limit: number, count: CountMask): BodyTransform {
  const masks: DocumentMasks = { ...of, anyBytes: true };
  let kept: Buffer = Buffer.alloc(0);
  let scanned = 0;
  /** Where the line begins that is being read. */
  let line = 0;

  function event(bytes: Buffer): Buffer {
    const lines = splitLines(bytes);
    const data: Buffer[] = [];
    const others: Buffer[] = [];
    let changed = false;
    for (const one of lines) {
      const value = dataOf(one);
      if (value !== undefined) {
        data.push(value);
        continue;
      }
      const shown = one.length === 0 ? undefined : maskOneText(masks, one, count);
      changed ||= shown !== undefined;
      others.push(shown ?? one);
    }
    const text = join(data);
    const document = rewriteDocument(masks, text, count);
    const shown = document === 'no document' ? maskOneText(masks, text, count) : document;
    if (shown === undefined && !changed) return bytes;
    const pieces: Buffer[] = [];
    for (const one of others) if (one.length > 0) pieces.push(...splitLines(one), Buffer.alloc(0));
    if (data.length > 0) for (const part of splitLines(shown ?? text)) pieces.push(Buffer.concat([DATA_PREFIX, part]));
    const made = pieces.filter((piece) => piece.length > 0);
    return Buffer.concat([...made.flatMap((piece) => [piece, NEW_LINE]), NEW_LINE]);
  }

  return {
    write(chunk) {
      kept = kept.length === 0 ? Buffer.from(chunk) : Buffer.concat([kept, chunk]);
      const out: Buffer[] = [];
      let begin = 0;
      while (scanned < kept.length) {
        const byte = kept[scanned]!;
        if (byte !== LINE_FEED && byte !== RETURN) {
          scanned++;
          continue;
        }
        // A return at the end of what is there may be half of a line's end.
        if (byte === RETURN && scanned + 1 === kept.length) break;
        const length = byte === RETURN && kept[scanned + 1] === LINE_FEED ? 2 : 1;
        const empty = scanned === line;
        scanned += length;
        line = scanned;
        if (!empty) continue;
        out.push(event(kept.subarray(begin, scanned)));
        begin = scanned;
      }
      kept = kept.subarray(begin);
      scanned -= begin;
      line -= begin;
      if (kept.length > limit) throw new MaskError('SPM014', `an event of more than ${limit} bytes`);
      return out.length === 0 ? undefined : Buffer.concat(out);
    },
    end() {
      // Clients drop an event that its stream did not end; it is masked all the same.
      return kept.length === 0 ? undefined : event(kept);
    },
  };
}

const NEW_LINE = Buffer.from('\n', 'latin1');
const DATA_PREFIX = Buffer.from('data: ', 'latin1');

function splitLines(bytes: Buffer): Buffer[] {
  const lines: Buffer[] = [];
  let from = 0;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at]!;
    if (byte !== LINE_FEED && byte !== RETURN) continue;
    lines.push(bytes.subarray(from, at));
    if (byte === RETURN && bytes[at + 1] === LINE_FEED) at++;
    from = at + 1;
  }
  if (from < bytes.length || lines.length === 0) lines.push(bytes.subarray(from));
  return lines;
}

/** The value of a `data` line; a stream may begin with a BOM. */
function dataOf(line: Buffer): Buffer | undefined {
  const at = line[0] === 0xef && line[1] === 0xbb && line[2] === 0xbf ? 3 : 0;
  if (line.toString('latin1', at, at + 4) !== DATA) return undefined;
  if (line.length === at + 4) return Buffer.alloc(0);
  if (line[at + 4] !== 0x3a) return undefined;
  return line.subarray(line[at + 5] === 0x20 ? at + 6 : at + 5);
}

function join(parts: readonly Buffer[]): Buffer {
  return Buffer.concat(parts.flatMap((part, index) => (index === 0 ? [part] : [NEW_LINE, part])));
}
