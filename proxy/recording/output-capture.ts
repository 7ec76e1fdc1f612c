import { isUtf8 } from 'node:buffer';
import { createHash, type Hash } from 'node:crypto';
import { wholeCharacters } from '../masking/stream/text-runs.ts';

/** `o` standard output, or all that a terminal shows; `e` standard error. */
export type OutputCode = 'o' | 'e';

export interface CapturedTotal {
  readonly bytes: number;
  /** Of all of it, in hex, when not all is recorded. */
  readonly sha256?: string;
  /** Bytes of it that are recorded, when not all are. */
  readonly recorded?: number;
}

/**
 * What a program showed, after masking, for the record: in time, and up to a number of bytes; of more, length and SHA-256. The parts are
 * events of asciicast v3 (https://docs.asciinema.org/manual/asciicast/v3/): seconds since the part before, a code, and the data, which
 * is `{"base64":…}` where it is no text. Nothing that was typed is among them.
 */
export interface OutputCapture {
  /** Takes what was shown. It is copied or hashed before this returns. */
  take(code: OutputCode, bytes: Buffer): void;
  /** The terminal has another size now. */
  resized(columns: number, rows: number): void;
  /** More was shown than is recorded. */
  readonly full: boolean;
  /** @returns members of the event that says how the program ended, beginning with a comma: what is short goes with it */
  end(): { readonly members: string; readonly totals: Readonly<Record<OutputCode, CapturedTotal>> };
}

export interface OutputCaptureOptions {
  /** Takes the members of one `output.chunk`, after session and sequence number, beginning with a comma. */
  readonly emit: (members: string) => void;
  /** Bytes of all streams together that are recorded. */
  readonly limit: number;
  /** A terminal shows text, whatever the bytes are. */
  readonly terminal: boolean;
  /** Microseconds, monotonic. */
  readonly now: () => number;
  /** Calls back after so many milliseconds, unless cancelled. */
  readonly after: (milliseconds: number, call: () => void) => () => void;
}

/** Bytes of one `output.chunk`: bounds what a program of any output holds in memory. */
const CHUNK_BYTES = 64 * 1024;
/** Up to this length output goes with the outcome of its command. */
const SHORT_BYTES = 4096;
/** What was shown is in the record after this time at the latest: a crash takes no more. */
const LATEST_MS = 250;
/** What comes closer together is one part. */
const TOGETHER_MICROS = 10_000;

interface Part {
  readonly at: number;
  readonly code: OutputCode | 'r';
  readonly pieces: Buffer[];
}

interface StreamState {
  bytes: number;
  recorded: number;
  /** Over everything that is in an event or will be in none. */
  hash: Hash | undefined;
  /** The beginning of a character whose end has not come. */
  rest: Buffer;
}

const NOTHING = Buffer.alloc(0);

export function createOutputCapture({ emit, limit, terminal, now, after }: OutputCaptureOptions): OutputCapture {
  const begun = now();
  const newStream = (): StreamState => ({ bytes: 0, recorded: 0, hash: undefined, rest: NOTHING });
  const streams: Record<OutputCode, StreamState> = { o: newStream(), e: newStream() };
  let parts: Part[] = [];
  let kept = 0;
  let emitted = false;
  let full = false;
  /** Time of the last part that was written. */
  let last = begun;
  let cancel: (() => void) | undefined;

  function add(code: OutputCode | 'r', bytes: Buffer): void {
    const at = now();
    const before = parts[parts.length - 1];
    if (before !== undefined && before.code === code && code !== 'r' && at - before.at < TOGETHER_MICROS)
      before.pieces.push(bytes);
    else parts.push({ at, code, pieces: [bytes] });
    kept += bytes.length;
    cancel ??= after(LATEST_MS, flush);
  }

  /** Text that is whole, or bytes. */
  function written(code: OutputCode, pieces: readonly Buffer[], final: boolean): string {
    const stream = streams[code];
    const bytes = Buffer.concat([stream.rest, ...pieces]);
    const end = final ? bytes.length : wholeCharacters(bytes, 0, bytes.length);
    stream.rest = bytes.subarray(end);
    const shown = bytes.subarray(0, end);
    if (terminal || isUtf8(shown)) return JSON.stringify(shown.toString('utf8'));
    return `{"base64":"${shown.toString('base64')}"}`;
  }

  function membersOf(final: boolean): string {
    const shown = parts.map(({ at, code, pieces }, index) => {
      const seconds = Number(((at - last) / 1e6).toFixed(6));
      last = at;
      if (code === 'r') return `[${seconds},"r",${JSON.stringify(String(pieces[0]))}]`;
      for (const piece of pieces) if (!final || streams[code].hash !== undefined) hashOf(streams[code]).update(piece);
      const isLast = final && !parts.slice(index + 1).some((later) => later.code === code);
      return `[${seconds},"${code}",${written(code, pieces, isLast)}]`;
    });
    return `,"parts":[${shown.join(',')}]`;
  }

  function flush(): void {
    cancel?.();
    cancel = undefined;
    if (parts.length === 0) return;
    emit(membersOf(false));
    emitted = true;
    parts = [];
    kept = 0;
  }

  function hashOf(stream: StreamState): Hash {
    stream.hash ??= createHash('sha256');
    return stream.hash;
  }

  function totalOf({ bytes, recorded, hash }: StreamState): CapturedTotal {
    return recorded === bytes ? { bytes } : { bytes, recorded, sha256: hash?.digest('hex') ?? '' };
  }

  return {
    get full() {
      return full;
    },
    take(code, bytes) {
      const stream = streams[code];
      stream.bytes += bytes.length;
      let at = 0;
      while (!full && at < bytes.length) {
        const room = Math.min(limit - streams.o.recorded - streams.e.recorded, CHUNK_BYTES - kept);
        const count = Math.min(bytes.length - at, room);
        if (count > 0) {
          add(code, Buffer.from(bytes.subarray(at, at + count)));
          stream.recorded += count;
          at += count;
        }
        if (at === bytes.length) return;
        flush();
        full = streams.o.recorded + streams.e.recorded >= limit;
      }
      if (at < bytes.length) hashOf(stream).update(at === 0 ? bytes : bytes.subarray(at));
    },
    resized(columns, rows) {
      if (!full) add('r', Buffer.from(`${columns}x${rows}`));
    },
    end() {
      cancel?.();
      cancel = undefined;
      let members = '';
      // The beginning of a character that never ended is shown as it is.
      for (const code of ['o', 'e'] as const) {
        if (streams[code].rest.length > 0 && !parts.some((part) => part.code === code))
          parts.push({ at: now(), code, pieces: [] });
      }
      if (parts.length > 0) {
        members = membersOf(true);
        if (emitted || kept > SHORT_BYTES) {
          emit(members);
          members = '';
        }
      }
      parts = [];
      return { members, totals: { o: totalOf(streams.o), e: totalOf(streams.e) } };
    },
  };
}
