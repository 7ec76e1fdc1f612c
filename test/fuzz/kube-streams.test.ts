import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readStatus } from '../../proxy/protocols/kubernetes/streams/program-status.ts';
import { programQuery, programTarget } from '../../proxy/protocols/kubernetes/streams/query.ts';
import {
  createSpdyReader,
  dataFrame,
  goAway,
  ping,
  rstStream,
  SpdyError,
  type SpdyFrame,
  synReply,
  synStream,
} from '../../proxy/protocols/kubernetes/streams/spdy/frames.ts';
import {
  createHeaderReader,
  createHeaderWriter,
  parseHeaders,
} from '../../proxy/protocols/kubernetes/streams/spdy/headers.ts';
import { createSpdySession } from '../../proxy/protocols/kubernetes/streams/spdy/session.ts';
import { createSizeReader } from '../../proxy/protocols/kubernetes/streams/terminal-size.ts';

const id = fc.integer({ min: 1, max: 0x7fff_ffff });
const bytes = (maxLength: number) => fc.uint8Array({ maxLength }).map((array) => Buffer.from(array));
const frame = fc.oneof(
  fc.tuple(id, bytes(64)).map(([stream, block]) => synStream(stream, block)),
  fc.tuple(id, bytes(64)).map(([stream, block]) => synReply(stream, block)),
  fc.tuple(id, bytes(300), fc.boolean()).map(([stream, data, fin]) => dataFrame(stream, data, fin)),
  fc.tuple(id, fc.nat(12)).map(([stream, status]) => rstStream(stream, status)),
  id.map(ping),
  id.map(goAway),
);
const cuts = fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1 });

function pieces(stream: Buffer, lengths: readonly number[]): Buffer[] {
  const cut: Buffer[] = [];
  for (let at = 0, i = 0; at < stream.length; i++) {
    const length = lengths[i % lengths.length] ?? 1;
    cut.push(stream.subarray(at, at + length));
    at += length;
  }
  return cut;
}

function read(chunks: readonly Buffer[]): SpdyFrame[] | 'violation' {
  const reader = createSpdyReader();
  const frames: SpdyFrame[] = [];
  try {
    for (const chunk of chunks)
      for (const one of reader.push(Buffer.from(chunk)))
        frames.push(one.type === 'DATA' ? { ...one, bytes: Buffer.from(one.bytes) } : one);
  } catch (error) {
    if (error instanceof SpdyError) return 'violation';
    throw error;
  }
  return frames;
}

/** Bytes of DATA by stream, and every other frame. */
function summary(frames: SpdyFrame[] | 'violation'): unknown {
  if (frames === 'violation') return frames;
  const others = frames.filter(({ type }) => type !== 'DATA');
  const data = new Map<number, string>();
  for (const one of frames)
    if (one.type === 'DATA')
      data.set(one.id, (data.get(one.id) ?? '') + one.bytes.toString('latin1') + (one.fin ? '|' : ''));
  return { others, data };
}

describe('SPDY', () => {
  test('frames come out the same however the connection is cut', () => {
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 12 }), cuts, (frames, lengths) => {
        const stream = Buffer.concat(frames);
        expect(summary(read(pieces(stream, lengths)))).toEqual(summary(read([stream])));
      }),
      { numRuns: 500 },
    );
  });

  test('arbitrary bytes are frames or a violation, however they are cut', () => {
    fc.assert(
      fc.property(bytes(200), cuts, (stream, lengths) => {
        const whole = read([stream]);
        const cut = read(pieces(stream, lengths));
        expect(cut === 'violation').toBe(whole === 'violation');
      }),
      { numRuns: 2000 },
    );
  });

  test('a session takes what was changed anywhere, or ends at it', async () => {
    const block = createHeaderWriter()(
      new Map([
        ['streamtype', 'data'],
        ['port', '80'],
        ['requestid', '0'],
      ]),
    ); // prettier-ignore
    const sound = Buffer.concat([
      synStream(1, block),
      dataFrame(1, Buffer.from('hello'), false),
      ping(3),
      dataFrame(1, Buffer.alloc(0), true),
    ]); // prettier-ignore
    const change = fc.tuple(fc.nat(sound.length - 1), fc.nat(255));
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), cuts, async (changes, lengths) => {
        const stream = Buffer.from(sound);
        for (const [at, value] of changes) stream[at] = value;
        const session = createSpdySession({
          role: 'server',
          send: () => undefined,
          mostStreams: 2,
          opened: () => ({ data: () => undefined, end: () => undefined, reset: () => undefined }),
        });
        try {
          for (const piece of pieces(stream, lengths)) await session.receive(piece);
        } catch (error) {
          expect(error).toBeInstanceOf(SpdyError);
        } finally {
          session.close();
        }
      }),
      { numRuns: 500 },
    );
  });

  test('header blocks are read as they were written, and any others are refused', async () => {
    const name = fc.stringMatching(/^[a-z-]{1,12}$/);
    const value = fc.stringMatching(/^[\x20-\x7e]{0,40}$/);
    const headers = fc.dictionary(name, value, { maxKeys: 8 }).map((made) => new Map(Object.entries(made)));
    await fc.assert(
      fc.asyncProperty(fc.array(headers, { minLength: 1, maxLength: 4 }), async (blocks) => {
        const [write, reader] = [createHeaderWriter(), createHeaderReader()];
        for (const block of blocks) expect(await reader.read(write(block))).toEqual(block);
        reader.close();
      }),
      { numRuns: 200 },
    );
    fc.assert(
      fc.property(bytes(80), (block) => {
        try {
          parseHeaders(block);
        } catch (error) {
          expect(error).toBeInstanceOf(SpdyError);
        }
      }),
      { numRuns: 2000 },
    );
  });
});

test('what a command is asked with goes on as it was understood', () => {
  const flag = fc.constantFrom('true', 'false', '1', '0', '', 'yes');
  const parameter = fc.oneof(
    fc.tuple(fc.constant('command'), fc.string()),
    fc.tuple(fc.constantFrom('stdin', 'stdout', 'stderr', 'tty'), flag),
    fc.tuple(fc.constant('container'), fc.string()),
  );
  fc.assert(
    fc.property(fc.array(parameter, { maxLength: 8 }), (query) => {
      const asked = programQuery('exec', query);
      if (typeof asked === 'string') return;
      const sent = new URL(programTarget('exec', 'default', 'web', asked), 'https://api');
      expect(sent.searchParams.getAll('command').map((word) => word.toWellFormed())).toEqual(
        asked.argv.map((word) => word.toWellFormed()),
      );
      expect(programQuery('exec', [...sent.searchParams])).toMatchObject({ stdin: asked.stdin, tty: asked.tty });
    }),
    { numRuns: 1000 },
  );
});

test('sizes of a terminal and the end of a command are read from anything', () => {
  fc.assert(
    fc.property(fc.array(bytes(60), { maxLength: 6 }), (chunks) => {
      const sizes = createSizeReader();
      for (const chunk of chunks)
        for (const { columns, rows } of sizes(chunk)) expect(Math.max(columns, rows)).toBeLessThanOrEqual(65_535);
      readStatus(Buffer.concat(chunks));
    }),
    { numRuns: 1000 },
  );
});
