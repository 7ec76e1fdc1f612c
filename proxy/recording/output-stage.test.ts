import { describe, expect, it } from 'vitest';
import type { BinaryOutput, ContentMask } from '../../policy/masking.ts';
import type { RecordStream } from '../../record/port.ts';
import { createContentDetectors } from '../masking/detectors.ts';
import { createOutputStage, type StageOptions } from './output-stage.ts';

const EMAIL: ContentMask = {
  source: { detector: 'Email' },
  transform: { type: 'redact', with: '***' },
  rule: 'shop/pii',
};

function stageOf(options: Partial<StageOptions> & { readonly masks?: readonly ContentMask[] } = {}) {
  const lines: string[] = [];
  const stream: RecordStream = {
    append: (event, members) => lines.push(`${event} ${members}`),
    flush: () => undefined,
    sync: async () => undefined,
  };
  const { masks = [EMAIL], ...rest } = options;
  const stage = createOutputStage({
    content: createContentDetectors(masks, () => undefined),
    binary: 'Search' satisfies BinaryOutput,
    audit: { level: 'Full', maxResponseBytes: 65_536, retentionDays: 1 },
    stream,
    session: '"session":"s"',
    seq: 7,
    channel: 2,
    terminal: false,
    terminalFull: (bytes) => new Error(`${bytes} bytes are too many`),
    ...rest,
  });
  return { stage, lines };
}

const joined = (pieces: readonly Buffer[]): string => Buffer.concat(pieces).toString();

describe('output of a program', () => {
  it('is masked for the client and in the record, each stream by itself', () => {
    const { stage, lines } = stageOf();
    const out = joined(stage.output(Buffer.from('mail ana@exam'), 'data'));
    const err = joined(stage.output(Buffer.from('ple.com\nbob@example.com\n'), 'stderr'));
    const rest = stage.end();
    expect(out).toBe('');
    expect(err).toBe('ple.com\n***\n');
    expect(rest.map(({ stream, bytes }) => `${stream} ${bytes}`)).toEqual(['data mail ana@exam']);
    const { counts, members } = stage.totals();
    expect(counts.masked).toEqual(new Map([['Email', 1]]));
    expect(counts.stdout).toEqual({ bytes: 13 });
    expect(`${members}${lines}`).not.toContain('bob@');
  });

  it('is ended where a rule denies binary, after what came before', () => {
    const { stage } = stageOf({ binary: 'Deny' });
    expect(joined(stage.output(Buffer.from('text\n\0more\n'), 'data'))).toBe('text\n');
    expect(stage.failure).toMatchObject({ code: 'SPM008' });
    expect(stage.output(Buffer.from('text\n'), 'stderr')).toEqual([]);
    expect(stage.end()).toEqual([]);
  });

  it('passes as it is without masks', () => {
    const { stage } = stageOf({ masks: [] });
    const piece = Buffer.from('ana@example.com');
    expect(stage.masks).toBe(false);
    expect(stage.output(piece, 'data')[0]).toBe(piece);
  });

  it.each(['Metadata', 'Commands'] as const)('is not recorded at level %s', (level) => {
    const { stage, lines } = stageOf({ audit: { level, maxResponseBytes: 65_536, retentionDays: 1 } });
    stage.output(Buffer.from('x'.repeat(10_000)), 'data');
    stage.end();
    const { counts, members } = stage.totals();
    expect({ lines, members, stdout: counts.stdout }).toEqual({ lines: [], members: '', stdout: { bytes: 10_000 } });
  });
});

describe('input of a program', () => {
  it('shows its length, and a digest where that tells no password', () => {
    const { stage, lines } = stageOf();
    stage.input(Buffer.from('hunter2\n'));
    const { counts, members } = stage.totals();
    expect(counts.stdin).toEqual({ bytes: 8 });
    expect(`${members}${lines}`).not.toContain('hunter2');
    const long = stageOf().stage;
    long.input(Buffer.alloc(50, 'a'));
    long.input(Buffer.alloc(50, 'a'));
    expect(long.totals().counts.stdin).toEqual({
      bytes: 100,
      sha256: '2816597888e4a0d3a36b82b83316ab32680eb8f00f8cd3b904d681246d285a0e',
    });
  });

  it('on a terminal shows its length alone', () => {
    const { stage } = stageOf({ terminal: true });
    stage.input(Buffer.alloc(100, 'a'));
    expect(stage.totals().counts.stdin).toEqual({ bytes: 100 });
  });
});
