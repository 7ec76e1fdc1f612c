import { createHash } from 'node:crypto';
import { constants, createDeflate } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { HEADER_DICTIONARY } from './dictionary.ts';
import {
  createSpdyReader,
  dataFrame,
  MOST_CONTROL_BYTES,
  ping,
  rstStream,
  type SpdyFrame,
  synStream,
} from './frames.ts';
import { createHeaderReader, createHeaderWriter } from './headers.ts';
import { createSpdySession, type SpdyStream, type SpdyStreamHandlers } from './session.ts';

const read = (...chunks: readonly Buffer[]): SpdyFrame[] => {
  const reader = createSpdyReader();
  return chunks.flatMap((chunk) => [...reader.push(chunk)]);
};

describe('frames', () => {
  it('come out the same however they are cut', () => {
    const sent = Buffer.concat([
      synStream(1, Buffer.from('block')),
      dataFrame(1, Buffer.from('hello'), false),
      ping(7),
      dataFrame(1, Buffer.alloc(0), true),
      rstStream(1, 5),
    ]);
    const whole = read(sent);
    expect(whole.map(({ type }) => type)).toEqual(['SYN_STREAM', 'DATA', 'PING', 'DATA', 'RST_STREAM']);
    const single = read(...Array.from(sent, (byte) => Buffer.from([byte])));
    const textOf = (frames: readonly SpdyFrame[]): string =>
      frames.map((frame) => (frame.type === 'DATA' ? `${frame.bytes}${frame.fin ? '.' : ''}` : frame.type)).join('');
    expect(textOf(single)).toBe(textOf(whole));
  });

  it('of another version, of no type, or too large are refused', () => {
    const wrong = ping(1);
    wrong.writeUInt16BE(0x8002, 0);
    expect(() => read(wrong)).toThrow('version 2');
    const unknown = ping(1);
    unknown.writeUInt16BE(12, 2);
    expect(() => read(unknown)).toThrow('type 12');
    expect(() => read(synStream(1, Buffer.alloc(MOST_CONTROL_BYTES)))).toThrow('bytes');
    expect(() => read(synStream(0, Buffer.alloc(0)))).toThrow('stream 0');
    expect(() => read(dataFrame(0, Buffer.from('x'), false))).toThrow('stream 0');
  });
});

describe('header blocks', () => {
  it('have the dictionary of the standard', () => {
    // The digest of what other implementations have.
    expect(createHash('sha256').update(HEADER_DICTIONARY).digest('hex')).toBe(
      '51d27341373f923f3cd88e1eb7162aeaa3723d7585ff2399201dc06498407f02',
    );
  });

  it('are read one after the other, as zlib compresses them and as they are written here', async () => {
    const headers = (n: number) =>
      new Map([
        ['streamtype', 'data'],
        ['port', String(n)],
      ]); // prettier-ignore
    const reader = createHeaderReader();
    const write = createHeaderWriter();
    for (const n of [80, 443]) expect(await reader.read(write(headers(n)))).toEqual(headers(n));
    reader.close();

    const deflate = createDeflate({ dictionary: HEADER_DICTIONARY, level: 9 });
    const pieces: Buffer[] = [];
    deflate.on('data', (piece: Buffer) => pieces.push(piece));
    const compressed = (plain: Buffer): Promise<Buffer> =>
      new Promise((resolve) => {
        deflate.write(plain);
        deflate.flush(constants.Z_SYNC_FLUSH, () => resolve(Buffer.concat(pieces.splice(0))));
      });
    const other = createHeaderReader();
    const plain = Buffer.from('\0\0\0\x01\0\0\0\x04port\0\0\0\x0280', 'latin1');
    expect(await other.read(await compressed(plain))).toEqual(new Map([['port', '80']]));
    expect(await other.read(await compressed(plain))).toEqual(new Map([['port', '80']]));
    // What a few bytes blow up to is not taken.
    await expect(other.read(await compressed(Buffer.alloc(1_000_000)))).rejects.toThrow('too large');
    await expect(other.read(await compressed(plain))).rejects.toThrow('too large');
  });

  it('that are no zlib are refused', async () => {
    await expect(createHeaderReader().read(Buffer.from('not compressed'))).rejects.toThrow('not compressed');
  });
});

function pair(handlers: (stream: SpdyStream) => SpdyStreamHandlers | undefined, mostStreams = 4) {
  const toServer: Buffer[] = [];
  const toClient: Buffer[] = [];
  const server = createSpdySession({
    role: 'server',
    send: (bytes) => void toClient.push(bytes),
    opened: handlers,
    mostStreams,
  });
  const client = createSpdySession({ role: 'client', send: (bytes) => void toServer.push(bytes), mostStreams: 0 });
  const settle = async (): Promise<void> => {
    while (toServer.length + toClient.length > 0) {
      for (const bytes of toServer.splice(0)) await server.receive(bytes);
      for (const bytes of toClient.splice(0)) await client.receive(bytes);
    }
  };
  return { server, client, settle, toServer };
}

function collect() {
  const seen: string[] = [];
  const handlers: SpdyStreamHandlers = {
    data: (bytes) => void seen.push(bytes.toString()),
    end: () => void seen.push('end'),
    reset: () => void seen.push('reset'),
  };
  return { seen, handlers };
}

describe('a session', () => {
  it('carries streams both ways, each half by itself', async () => {
    const [up, down] = [collect(), collect()];
    let served: SpdyStream | undefined;
    const { client, settle } = pair((stream) => {
      served = stream;
      return up.handlers;
    });
    const stream = client.open(new Map([['port', '80']]), down.handlers);
    stream.write(Buffer.from('ask'));
    stream.end();
    stream.write(Buffer.from('after the end'));
    await settle();
    expect([served?.headers.get('port'), up.seen]).toEqual(['80', ['ask', 'end']]);
    served?.write(Buffer.from('answer'));
    served?.end();
    await settle();
    expect(down.seen).toEqual(['answer', 'end']);
  });

  it('refuses more streams than there may be, and what comes for one that is over', async () => {
    const { client, settle } = pair(() => collect().handlers, 1);
    const [first, second] = [collect(), collect()];
    client.open(new Map(), first.handlers);
    client.open(new Map(), second.handlers);
    await settle();
    expect([first.seen, second.seen]).toEqual([[], ['reset']]);
  });

  it('resets what is open when either side goes', async () => {
    const [up, down] = [collect(), collect()];
    const { client, server, settle } = pair(() => up.handlers);
    client.open(new Map(), down.handlers);
    await settle();
    server.close();
    await settle();
    expect([up.seen, down.seen, client.leaving]).toEqual([['reset'], ['reset'], true]);
  });

  it('ends at a stream out of order', async () => {
    const { client, server, toServer } = pair(() => collect().handlers);
    client.open(new Map(), collect().handlers);
    const [syn = Buffer.alloc(0)] = toServer;
    await server.receive(syn);
    const again = createHeaderWriter();
    again(new Map());
    await expect(server.receive(synStream(1, again(new Map())))).rejects.toThrow('out of order');
  });
});
