import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createBridge } from '../../proxy/protocols/ssh/bridge/bridge.ts';
import {
  dataMessage,
  Message,
  numbers,
  openSession,
  readGlobal,
  readOpen,
  readRequest,
  Violation,
} from '../../proxy/protocols/ssh/bridge/messages.ts';
import type { RequestVerdict, Side } from '../../proxy/protocols/ssh/bridge/port.ts';
import { createGcmOpener, createGcmSealer } from '../../proxy/protocols/ssh/transport/gcm.ts';
import type { ConnectionLayer } from '../../proxy/protocols/ssh/transport/port.ts';

/** One end of a bridge as a list of what it was sent. */
function end() {
  let listener: (payload: Buffer) => void = () => {};
  const closed = Promise.withResolvers<Error | undefined>();
  const sent: Buffer[] = [];
  let text: string | undefined;
  const layer: ConnectionLayer = {
    peerVersion: 'test',
    congested: false,
    send(payload) {
      sent.push(Buffer.from(payload));
      return true;
    },
    onPayload(next) {
      listener = next;
    },
    onDrain: () => {},
    pause: () => {},
    resume: () => {},
    unimplemented: () => {},
    disconnect(_reason, why) {
      text ??= why;
      closed.resolve(undefined);
    },
    closed: closed.promise,
  };
  return { layer, sent, say: (payload: Buffer) => listener(payload), text: () => text };
}

describe.each<[string, (payload: Buffer) => unknown]>([
  ['CHANNEL_OPEN', readOpen],
  ['CHANNEL_REQUEST', readRequest],
  ['GLOBAL_REQUEST', readGlobal],
])('%s', (_name, read) => {
  test('arbitrary bytes are read or refused', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        try {
          read(Buffer.from(bytes));
        } catch (error) {
          expect(error).toBeInstanceOf(Violation);
        }
      }),
      { numRuns: 5000 },
    );
  });
});

const name = (text: string): Buffer =>
  Buffer.concat([numbers(0, Buffer.byteLength(text)).subarray(1), Buffer.from(text)]);
const exec = (channel: number, command: string): Buffer =>
  Buffer.concat([numbers(Message.CHANNEL_REQUEST, channel), name('exec'), Buffer.of(1), name(command)]);

const channel = fc.integer({ min: 0, max: 4 });
/** Messages that mean something more often than chance would have it, some of them damaged. */
const message = fc
  .oneof(
    channel.map((id) => openSession(id, 1000, 100)),
    fc.tuple(channel, channel).map(([id, peer]) => numbers(Message.CHANNEL_OPEN_CONFIRMATION, id, peer, 1000, 100)),
    fc
      .tuple(channel, fc.constantFrom('yes', 'no', 'later yes', 'later no', 'own'))
      .map(([id, command]) => exec(id, command)),
    fc
      .tuple(channel, fc.integer({ min: 0, max: 400 }))
      .map(([id, size]) => dataMessage(id, 'data', Buffer.alloc(size))),
    fc
      .tuple(channel, fc.integer({ min: 0, max: 5000 }))
      .map(([id, size]) => numbers(Message.CHANNEL_WINDOW_ADJUST, id, size)),
    fc.tuple(fc.constantFrom(92, 96, 97, 99, 100), channel).map(([type, id]) => numbers(type, id)),
    fc.constantFrom(81, 82).map((type) => Buffer.of(type)),
    fc.uint8Array({ minLength: 1, maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
  )
  .chain((payload) =>
    fc.oneof(
      { weight: 20, arbitrary: fc.constant(payload) },
      { weight: 1, arbitrary: fc.nat(payload.length).map((at) => payload.subarray(0, at)) },
    ),
  );

test('whatever both sides say, only what was allowed reaches the target, and every channel ends once', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.constantFrom<Side>('client', 'client', 'target'), message, fc.boolean()), { maxLength: 60 }),
      async (steps) => {
        const [client, target] = [end(), end()];
        const open = new Set<number>();
        const allowed = { count: 0 };
        const bridge = createBridge({
          client: client.layer,
          target: target.layer,
          limits: { channels: 4 },
          gatekeeper: {
            openChannel(info) {
              expect(open.has(info.serial)).toBe(false);
              open.add(info.serial);
              return { verdict: 'forward' };
            },
            request({ request }): RequestVerdict | Promise<RequestVerdict> {
              if (request.type !== 'exec') return { verdict: 'fail' };
              const verdict: RequestVerdict = request.command.endsWith('no')
                ? { verdict: 'deny', text: 'denied\n' }
                : request.command === 'own'
                  ? {
                      verdict: 'forward',
                      own: (outlet) => ({
                        data: (piece, from) => outlet.send(from === 'client' ? 'target' : 'client', 'data', piece),
                      }),
                    }
                  : { verdict: 'forward' };
              if (verdict.verdict === 'forward') allowed.count++;
              return request.command.startsWith('later') ? Promise.resolve(verdict) : verdict;
            },
            globalRequest: () => ({ verdict: 'fail' }),
            channelClosed(info) {
              expect(open.delete(info.serial)).toBe(true);
            },
          },
        });
        for (const [side, payload, pause] of steps) {
          (side === 'client' ? client : target).say(Buffer.from(payload));
          if (pause) await new Promise((resolve) => setImmediate(resolve));
        }
        await new Promise((resolve) => setImmediate(resolve));
        bridge.end('over');
        await bridge.ended;
        expect(open.size).toBe(0);
        const forwarded = target.sent.filter((payload) => payload[0] === Message.CHANNEL_REQUEST);
        expect(forwarded.length).toBeLessThanOrEqual(allowed.count);
        expect(forwarded.some((payload) => payload.toString('latin1').endsWith('no'))).toBe(false);
        // Never a failure of ours.
        expect(client.text()).not.toBe('the gateway failed');
      },
    ),
    { numRuns: Number(process.env.FUZZ_SECONDS ?? 0) > 0 ? 20_000 : 3000 },
  );
});

describe('AES-GCM packets', () => {
  const keys = () => ({ name: 'aes-128-gcm', key: Buffer.alloc(16, 1), iv: Buffer.alloc(12, 0xff) }) as const;

  test('come out as they went in, wherever they are cut', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ minLength: 1, maxLength: 300 }), { minLength: 1, maxLength: 5 }),
        fc.array(fc.nat(400), { maxLength: 20 }),
        (payloads, cuts) => {
          const pieces: Buffer[] = [];
          const sealer = createGcmSealer(keys(), (piece) => pieces.push(Buffer.from(piece)));
          for (const payload of payloads) sealer.seal(Buffer.from(payload));
          const bytes = Buffer.concat(pieces);
          const opened: Buffer[] = [];
          const opener = createGcmOpener(keys(), (payload) => void opened.push(payload));
          let at = 0;
          for (const cut of [...cuts, bytes.length]) {
            const next = Math.min(bytes.length, at + cut);
            opener.open(bytes, at, next);
            at = next;
          }
          expect(opened.map((payload) => [...payload])).toEqual(payloads.map((payload) => [...payload]));
        },
      ),
      { numRuns: 500 },
    );
  });

  test('one changed bit is noticed before anything is handed over', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 100 }), fc.nat(), fc.nat(7), (payload, where, bit) => {
        const pieces: Buffer[] = [];
        createGcmSealer(keys(), (piece) => pieces.push(Buffer.from(piece))).seal(Buffer.from(payload));
        const bytes = Buffer.concat(pieces);
        const at = where % bytes.length;
        bytes[at] = bytes[at]! ^ (1 << bit);
        let handed = 0;
        const opener = createGcmOpener(keys(), () => void handed++);
        // A length that grew only waits for more.
        try {
          opener.open(bytes, 0, bytes.length);
        } catch (error) {
          expect(error).toBeInstanceOf(Error);
        }
        expect(handed).toBe(0);
      }),
      { numRuns: 500 },
    );
  });
});
