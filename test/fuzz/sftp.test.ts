import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createScpSession } from '../../proxy/protocols/ssh/scp/session.ts';
import * as n from '../../proxy/protocols/ssh/sftp/constants.ts';
import { FileProtocolError } from '../../proxy/protocols/ssh/sftp/errors.ts';
import { packet } from '../../proxy/protocols/ssh/sftp/fields.ts';
import { createFrameReader } from '../../proxy/protocols/ssh/sftp/frames.ts';
import { isNormal, normalise, splitLast } from '../../proxy/protocols/ssh/sftp/paths.ts';
import type { FileSession } from '../../proxy/protocols/ssh/sftp/port.ts';
import { parseRequest, type SftpRequest } from '../../proxy/protocols/ssh/sftp/requests.ts';
import { createSftpSession } from '../../proxy/protocols/ssh/sftp/session.ts';
import { judgeOf } from '../support/sftp-ground.ts';

const frame = (type: number, body: Uint8Array): Buffer => packet(type, 7, { raw: Buffer.from(body) });

function outcome(read: () => SftpRequest): unknown {
  try {
    return read();
  } catch (error) {
    if (error instanceof FileProtocolError) return 'violation';
    throw error;
  }
}

const types = fc.constantFrom(...Array.from({ length: 24 }, (_, i) => i), n.EXTENDED, n.STATUS, 255);

describe('requests', () => {
  test('arbitrary bytes are decoded or refused, and nothing outside of the packet counts', () => {
    const around = fc.uint8Array({ maxLength: 64 });
    fc.assert(
      fc.property(types, fc.uint8Array({ maxLength: 200 }), around, around, (type, body, before, after) => {
        const alone = outcome(() => parseRequest(frame(type, body)));
        const whole = Buffer.concat([before, frame(type, body), after]);
        const inside = whole.subarray(before.length, whole.length - after.length);
        expect(outcome(() => parseRequest(inside))).toEqual(alone);
      }),
      { numRuns: 5000 },
    );
  });

  const attributes = { raw: Buffer.from([0, 0, 0, 4, 0, 0, 1, 0xa4]) };
  const offset = { raw: Buffer.alloc(8) };
  test.each<[string, Buffer]>([
    ['open', packet(n.OPEN, 7, '/a', n.WRITE_FLAG, attributes)],
    ['close', packet(n.CLOSE, 7, 'h')],
    ['read', packet(n.READ, 7, 'h', offset, 100)],
    ['write', packet(n.WRITE, 7, 'h', offset, 'contents')],
    ['stat', packet(n.STAT, 7, '/a')],
    ['setstat', packet(n.SETSTAT, 7, '/a', attributes)],
    ['rename', packet(n.RENAME, 7, '/a', '/b')],
    ['symlink', packet(n.SYMLINK, 7, '/a', '/b')],
    ['posix-rename', packet(n.EXTENDED, 7, 'posix-rename@openssh.com', '/a', '/b')],
    ['copy-data', packet(n.EXTENDED, 7, 'copy-data', 'h', offset, offset, 'i', offset)],
  ])('a packet of %s that is cut anywhere, or has a byte too many, is refused', (type, whole) => {
    expect(parseRequest(whole)).toMatchObject({ type });
    for (let end = 9; end < whole.length; end++) {
      const cut = outcome(() => parseRequest(whole.subarray(0, end)));
      // The name of an extension may have been cut to that of none.
      expect(cut === 'violation' || (cut as SftpRequest).type === 'unknown', `${end} bytes`).toBe(true);
    }
    expect(outcome(() => parseRequest(Buffer.concat([whole, Buffer.of(0)])))).toBe('violation');
  });
});

describe('packets', () => {
  const bodies = fc.array(fc.tuple(types, fc.uint8Array({ maxLength: 300 })), { maxLength: 12 });

  test('come out the same however the stream is cut', () => {
    fc.assert(
      fc.property(bodies, fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1 }), (list, cuts) => {
        const frames = list.map(([type, body]) => frame(type, body));
        const stream = Buffer.concat(frames);
        const reader = createFrameReader('SPS070');
        const got: Buffer[] = [];
        let at = 0;
        for (let i = 0; at < stream.length; i++) {
          const length = cuts[i % cuts.length] ?? 1;
          got.push(...reader.push(stream.subarray(at, at + length)));
          at += length;
        }
        expect(got).toEqual(frames);
        expect(reader.waiting).toBe(0);
      }),
      { numRuns: 2000 },
    );
  });

  test('a length that none may have is refused before its bytes are waited for', () => {
    const length = Buffer.alloc(4);
    for (const bad of [0, 4, n.MAX_PACKET + 1, 0xffff_ffff]) {
      length.writeUInt32BE(bad);
      expect(() => createFrameReader('SPS070').push(length)).toThrow(FileProtocolError);
      const slow = createFrameReader('SPS070');
      for (let i = 0; i < 3; i++) slow.push(length.subarray(i, i + 1));
      expect(() => slow.push(length.subarray(3))).toThrow(FileProtocolError);
    }
    length.writeUInt32BE(n.MAX_PACKET);
    expect(createFrameReader('SPS070').push(length)).toEqual([]);
  });
});

describe('sessions', () => {
  const chunk = fc.oneof(
    fc.uint8Array({ maxLength: 64 }),
    fc.tuple(types, fc.uint8Array({ maxLength: 40 })).map(([type, body]) => frame(type, body)),
    fc.constantFrom(packet(n.STAT, 7, '/a'), packet(n.STATUS, 1, 0, '', ''), packet(n.NAME, 1, 1, '/a', '/a', 0)),
    fc.constantFrom(
      ...['C0644 3 a\n', 'D0755 0 d\n', 'E\n', 'T1 0 1 0\n', 'abc\0', '\0', '\x01no\n'].map((text) =>
        Buffer.from(text),
      ),
    ),
  );
  const said = fc.array(fc.tuple(fc.boolean(), chunk), { maxLength: 20 });
  const nowhere = (): undefined => undefined;

  async function runs(session: FileSession, pieces: readonly (readonly [boolean, Uint8Array])[]): Promise<void> {
    const tasks: Promise<void>[] = [];
    const failures: unknown[] = [];
    for (const [client, bytes] of pieces) {
      const copy = Buffer.from(bytes);
      try {
        const wait = client ? session.fromClient(copy) : session.fromServer(copy);
        if (wait !== undefined) tasks.push(wait.catch((error: unknown) => void failures.push(error)));
      } catch (error) {
        failures.push(error);
      }
    }
    session.close();
    await Promise.all(tasks);
    for (const failure of failures) expect(failure).toBeInstanceOf(FileProtocolError);
  }

  const rules = { read: ['/'], write: ['/'] };
  const streams = () => ({ judge: judgeOf(rules), toClient: nowhere, toServer: nowhere });

  test('of SFTP end with words, whatever either side says, and wait for nothing afterwards', async () => {
    const greeting = [
      [true, packet(n.INIT, n.VERSION)],
      [false, packet(n.VERSION_REPLY, n.VERSION)],
    ] as const;
    await fc.assert(
      fc.asyncProperty(said, fc.boolean(), async (pieces, greeted) => {
        await runs(createSftpSession(streams()), greeted ? [...greeting, ...pieces] : pieces);
      }),
      { numRuns: 1000 },
    );
  });

  test('of scp, too', async () => {
    await fc.assert(
      fc.asyncProperty(said, fc.constantFrom('sink' as const, 'source' as const), async (pieces, role) => {
        await runs(createScpSession({ ...streams(), role, paths: ['/in'], recursive: true }), pieces);
      }),
      { numRuns: 1000 },
    );
  });
});

describe('paths', () => {
  const path = fc.array(fc.constantFrom('a', '..', '.', '', 'b c', '...', '.ssh')).map((parts) => parts.join('/'));

  test('are normal once normalised, and stay so', () => {
    fc.assert(
      fc.property(path, (text) => {
        const normal = normalise('/home/deploy', text);
        expect(isNormal(normal)).toBe(true);
        expect(normalise('/', normal)).toBe(normal);
        expect(normal.split('/')).not.toContain('..');
      }),
    );
  });

  test('their last part is a name, or there is none', () => {
    fc.assert(
      fc.property(path, (text) => {
        const last = splitLast(text);
        if (last === undefined) return;
        expect(['', '.', '..']).not.toContain(last.name);
        expect(last.name).not.toContain('/');
        expect(normalise('/home/deploy', `${last.folder}/${last.name}`)).toBe(normalise('/home/deploy', text));
      }),
    );
  });
});
