import { createHash, type Hash } from 'node:crypto';
import type { CompiledConnection } from '../../policy/bundle.ts';
import type { BinaryOutput } from '../../policy/masking.ts';
import type { RecordStream } from '../../record/port.ts';
import type { SshOutcome, StreamTotal } from '../../record/ssh-events.ts';
import type { ContentDetectors } from '../masking/detectors.ts';
import type { TextMasker } from '../masking/stream/port.ts';
import { createTextMasker } from '../masking/stream/text-masker.ts';
import { createOutputCapture, type OutputCapture, type OutputCode } from './output-capture.ts';

/** What a program writes to: its standard output, or all of its terminal, and its standard error. */
export type ProgramStream = 'data' | 'stderr';

/** What stands between a program and its client: masks and the record. One for each program. */
export interface OutputStage {
  /** What is shown is not what came: nothing may pass beside this. */
  readonly masks: boolean;
  /** What may go on in place of the piece, which is valid until the next call. */
  output(piece: Buffer, stream: ProgramStream): readonly Buffer[];
  /** The program writes no more: what was kept back. */
  end(): readonly OutputRest[];
  /** Set once the program has to be ended, after what was returned; its client reads why. */
  readonly failure: Error | undefined;
  input(piece: Buffer): void;
  resized(columns: number, rows: number): void;
  /** For the record, once the channel is over. Called once. */
  totals(): StageTotals;
}

export interface OutputRest {
  readonly stream: ProgramStream;
  readonly bytes: Buffer;
}

export interface StageTotals {
  readonly counts: Pick<SshOutcome, 'stdin' | 'stdout' | 'stderr' | 'masked'>;
  /** Further members of the outcome, beginning with a comma: output that is short. */
  readonly members: string;
}

export interface StageOptions {
  /** What is looked for in the output; undefined: it is shown as it is. */
  readonly content: ContentDetectors | undefined;
  readonly binary: BinaryOutput;
  readonly audit: CompiledConnection['audit'];
  readonly stream: RecordStream;
  /** `"session":"ID"`. */
  readonly session: string;
  readonly seq: number;
  readonly channel: number;
  /** It runs on a pseudo-terminal, whose input may be anything that somebody types. */
  readonly terminal: boolean;
  /** Why a terminal is ended that has shown more bytes than are recorded of one, in the words of the protocol. */
  readonly terminalFull: (bytes: number) => Error;
}

/**
 * A terminal is shown in full or not at all: what happens on one is not judged, so the record has to hold it. At this many bytes, or at
 * `maxResponseBytes` where that is more, it is ended.
 */
export const TERMINAL_BYTES = 64 * 1024 * 1024;

/** The digest of less would tell a password to whoever tries out short ones. */
const LEAST_DIGESTED = 64;
/** No stream: nothing of it is kept. */
const CODE: Readonly<Record<ProgramStream, OutputCode>> = { data: 'o', stderr: 'e' };

export function createOutputStage(options: StageOptions): OutputStage {
  const { content, binary, audit, stream: record, session, seq, channel, terminal, terminalFull } = options;
  const masked = new Map<string, number>();
  const count = (name: string): void => void masked.set(name, (masked.get(name) ?? 0) + 1);
  const maskers: Readonly<Record<ProgramStream, TextMasker>> | undefined =
    content === undefined
      ? undefined
      : {
          data: createTextMasker({ detectors: content, binary, count }),
          stderr: createTextMasker({ detectors: content, binary, count }),
        };
  const capture = captureOf();
  const shown = { data: 0, stderr: 0 };
  const input: { bytes: number; hash: Hash | undefined } = { bytes: 0, hash: undefined };
  let failure: Error | undefined;

  function captureOf(): OutputCapture | undefined {
    if (audit.level !== 'Full') return undefined;
    const limit = terminal ? Math.max(TERMINAL_BYTES, audit.maxResponseBytes) : audit.maxResponseBytes;
    return createOutputCapture({
      limit,
      terminal,
      emit: (members) => void record.append('output.chunk', `${session},"seq":${seq},"channel":${channel}${members}`),
      now: () => performance.now() * 1000,
      after(milliseconds, call) {
        const timer = setTimeout(call, milliseconds).unref();
        return () => clearTimeout(timer);
      },
    });
  }

  function show(pieces: readonly Buffer[], stream: ProgramStream): readonly Buffer[] {
    for (const piece of pieces) {
      shown[stream] += piece.length;
      capture?.take(CODE[stream], piece);
    }
    if (terminal && capture?.full === true) failure ??= terminalFull(TERMINAL_BYTES);
    return pieces;
  }

  function inputTotal(): StreamTotal {
    const { bytes, hash } = input;
    if (hash === undefined || bytes < LEAST_DIGESTED) return { bytes };
    return { bytes, sha256: hash.digest('hex') };
  }

  return {
    masks: maskers !== undefined,
    get failure() {
      return failure;
    },
    output(piece, stream) {
      if (failure !== undefined) return [];
      if (maskers === undefined) return show([piece], stream);
      const masker = maskers[stream];
      const pieces = show(masker.push(piece), stream);
      failure ??= masker.failure;
      return pieces;
    },
    end() {
      if (maskers === undefined || failure !== undefined) return [];
      const rests = (['data', 'stderr'] as const).flatMap((stream) =>
        show(maskers[stream].end(), stream).map((bytes) => ({ stream, bytes })),
      );
      failure ??= maskers.data.failure ?? maskers.stderr.failure;
      return rests;
    },
    input(piece) {
      input.bytes += piece.length;
      if (terminal || audit.level === 'Metadata') return;
      input.hash ??= createHash('sha256');
      input.hash.update(piece);
    },
    resized(columns, rows) {
      if (terminal) capture?.resized(columns, rows);
    },
    totals() {
      const { members = '', totals } = capture?.end() ?? {};
      return {
        counts: {
          stdin: inputTotal(),
          stdout: totals?.o ?? { bytes: shown.data },
          stderr: totals?.e ?? { bytes: shown.stderr },
          ...(masked.size === 0 ? {} : { masked }),
        },
        members,
      };
    },
  };
}
