import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Message, numbers, openFailure, Violation } from './messages.ts';
import { createStandby, type Offer, STANDBY_MS } from './standby.ts';

const OFFER: Offer = { window: 1000, maxPacket: 500 };
const ID = 3;
const PEER = 40;

function start() {
  const sent: Buffer[] = [];
  const reserved = new Set<number>();
  const standby = createStandby({
    send: (payload) => void sent.push(payload),
    reserve() {
      reserved.add(ID);
      return ID;
    },
    free: (id) => void reserved.delete(id),
    minPacket: 256,
  });
  return {
    standby,
    reserved,
    /** Numbers of the messages since the last call. */
    sent: () => sent.splice(0).map((payload) => payload[0]),
    confirm: () => standby.heard(numbers(Message.CHANNEL_OPEN_CONFIRMATION, ID, PEER, 0, 32_768)),
    /** Two sessions in quick succession, and time for a third. */
    ready() {
      for (let i = 0; i < 2; i++) expect(standby.take(OFFER)).toBeUndefined();
      standby.prepare();
    },
  };
}

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }));
afterEach(() => void vi.useRealTimers());

test('one session, and sessions far apart, prepare nothing', () => {
  const { standby, sent } = start();
  for (let i = 0; i < 3; i++) {
    expect(standby.take(OFFER)).toBeUndefined();
    standby.prepare();
    vi.advanceTimersByTime(STANDBY_MS + 1);
  }
  expect(sent()).toEqual([]);
});

test('sessions one behind the other find a channel open, once for each time that it was prepared', () => {
  const { standby, sent, confirm, ready, reserved } = start();
  ready();
  standby.prepare();
  expect(sent()).toEqual([Message.CHANNEL_OPEN]);
  expect(confirm()).toBe(true);
  standby.heard(numbers(Message.CHANNEL_WINDOW_ADJUST, ID, 7));
  expect(standby.take(OFFER)).toEqual({ id: ID, answer: { peer: PEER, window: 7, maxPacket: 32_768 } });
  expect(reserved.size).toBe(0);
  expect(standby.take(OFFER)).toBeUndefined();
  expect(standby.heard(numbers(Message.CHANNEL_EOF, ID))).toBe(false);
});

test('one that is on its way is taken with its answer, which is not heard here', () => {
  const { standby, ready, confirm } = start();
  ready();
  expect(standby.take(OFFER)).toEqual({ id: ID, answer: undefined });
  expect(confirm()).toBe(false);
});

test('who waited in vain is closed, and its number is not used before the target has closed it too', () => {
  const { standby, sent, confirm, ready, reserved } = start();
  ready();
  confirm();
  sent();
  vi.advanceTimersByTime(STANDBY_MS + 1);
  expect(sent()).toEqual([Message.CHANNEL_CLOSE]);
  expect(standby.take(OFFER)).toBeUndefined();
  standby.take(OFFER);
  standby.prepare();
  expect(sent()).toEqual([]);
  expect([...reserved]).toEqual([ID]);
  expect(standby.heard(numbers(Message.CHANNEL_CLOSE, ID))).toBe(true);
  expect([...reserved, ...sent()]).toEqual([]);
});

test('one that is opened too late is closed at once', () => {
  const { sent, confirm, ready } = start();
  ready();
  vi.advanceTimersByTime(STANDBY_MS + 1);
  expect(sent()).toEqual([Message.CHANNEL_OPEN]);
  confirm();
  expect(sent()).toEqual([Message.CHANNEL_CLOSE]);
});

test('another offer gets a channel of its own', () => {
  const { standby, sent, confirm, ready } = start();
  ready();
  confirm();
  sent();
  expect(standby.take({ ...OFFER, maxPacket: 501 })).toBeUndefined();
  expect(sent()).toEqual([Message.CHANNEL_CLOSE]);
});

test('a target that refuses is not asked again, and neither is one that was told of the last session', () => {
  const refused = start();
  refused.ready();
  expect(refused.standby.heard(openFailure(ID, 4, 'no more'))).toBe(true);
  refused.sent();
  refused.standby.take(OFFER);
  refused.standby.prepare();
  expect([...refused.sent(), ...refused.reserved]).toEqual([]);

  const told = start();
  told.ready();
  told.confirm();
  told.sent();
  told.standby.forbid();
  expect(told.sent()).toEqual([Message.CHANNEL_CLOSE]);
  told.standby.heard(numbers(Message.CHANNEL_CLOSE, ID));
  told.ready();
  expect(told.sent()).toEqual([]);
});

test('a target that closes or ends it gets its answer; keep-alives are answered; what a program would say is not heard', () => {
  for (const type of [Message.CHANNEL_CLOSE, Message.CHANNEL_EOF]) {
    const { standby, sent, confirm, ready } = start();
    ready();
    confirm();
    sent();
    standby.heard(numbers(type, ID));
    expect(sent()).toEqual([Message.CHANNEL_CLOSE]);
    expect(standby.take(OFFER)).toBeUndefined();
  }
  const { standby, sent, confirm, ready } = start();
  ready();
  expect(() => standby.heard(numbers(Message.CHANNEL_EOF, ID))).toThrow(Violation);
  confirm();
  expect(() => confirm()).toThrow(Violation);
  sent();
  const name = Buffer.from('keepalive@openssh.com');
  const request = Buffer.concat([numbers(Message.CHANNEL_REQUEST, ID, name.length), name, Buffer.of(1)]);
  standby.heard(request);
  expect(sent()).toEqual([Message.CHANNEL_FAILURE]);
  for (const type of [Message.CHANNEL_DATA, Message.CHANNEL_EXTENDED_DATA, Message.CHANNEL_SUCCESS])
    expect(() => standby.heard(numbers(type, ID, 0, 0))).toThrow(Violation);
  expect(() => standby.heard(numbers(Message.CHANNEL_WINDOW_ADJUST, ID, 2 ** 32 - 1))).not.toThrow();
  expect(() => standby.heard(numbers(Message.CHANNEL_WINDOW_ADJUST, ID, 1))).toThrow(Violation);
});
