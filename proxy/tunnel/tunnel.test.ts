import { describe, expect, test } from 'vitest';
import { createConnectionCounter } from './connection-limits.ts';
import { bearerOf, dialledBy, probeOf } from './requests.ts';

const coded = (code: string) => expect.objectContaining({ code });

describe('what a connector asks for', () => {
  test.each([
    ['db.shop.svc:5432', { host: 'db.shop.svc', port: 5432 }],
    ['10.0.0.7:5432', { host: '10.0.0.7', port: 5432 }],
    ['[fd00::1]:5432', { host: 'fd00::1', port: 5432 }],
  ])('%s is a host and a port', (authority, dialled) => {
    expect(dialledBy(authority)).toEqual(dialled);
  });

  test.each([
    '',
    'db',
    'db:',
    'db:0',
    'db:65536',
    'db:5432/x',
    'a b:1',
    '[::1:5432',
    `${'a'.repeat(300)}:1`,
    'db:5432\r\nX: y',
  ])('%j is none', (authority) => {
    expect(() => dialledBy(authority)).toThrow(coded('SPT005'));
  });

  test('comes with one bearer token', () => {
    expect(bearerOf({ authorization: 'Bearer a.b-c_d' })).toBe('a.b-c_d');
    for (const authorization of ['', 'Bearer', 'Bearer ', 'Basic abc', 'Bearer a b', undefined])
      expect(() => bearerOf({ authorization })).toThrow(coded('SPT004'));
  });

  test('tells of a probe in JSON', () => {
    expect(probeOf(Buffer.from('{"host":"db","port":1,"reachable":true}'))).toEqual({
      host: 'db',
      port: 1,
      reachable: true,
    });
    for (const wrong of [
      '',
      'null',
      '[]',
      '{"host":"db","port":1}',
      '{"host":1,"port":1,"reachable":true}',
      '{"host":"db","port":1.5,"reachable":true}',
    ])
      expect(() => probeOf(Buffer.from(wrong))).toThrow(coded('SPT006'));
  });
});

describe('connections are limited', () => {
  const limits = { total: 6, perAddress: 4, handshakes: 2, handshakesPerAddress: 3 };

  test('so that one address leaves room for others, and handshakes take turns', () => {
    const counter = createConnectionCounter(limits);
    const begun: number[] = [];
    const admit = (address: string, name: number) => counter.admit(address, () => begun.push(name));
    const [one, two, three] = [admit('a', 1), admit('a', 2), admit('a', 3)];
    expect(begun).toEqual([1, 2]);
    // Three handshakes of one address are under way or wait.
    expect(admit('a', 4)).toBeUndefined();
    const other = admit('b', 5);
    one?.introduced();
    expect(begun).toEqual([1, 2, 3]);
    two?.introduced();
    expect(begun).toEqual([1, 2, 3, 5]);
    three?.introduced();
    other?.introduced();
    expect(admit('a', 6)).toBeDefined();
    expect(admit('a', 7)).toBeUndefined();
    expect(admit('b', 8)).toBeDefined();
    expect(admit('c', 9)).toBeUndefined();
    one?.closed();
    one?.closed();
    expect(counter.open).toBe(5);
    expect(admit('c', 10)).toBeDefined();
  });

  test('and one that is closed while it waits never begins', () => {
    const counter = createConnectionCounter(limits);
    const begun: number[] = [];
    const [one, , three] = [1, 2, 3].map((name) => counter.admit(`address ${name}`, () => begun.push(name)));
    three?.closed();
    one?.closed();
    expect(begun).toEqual([1, 2]);
    expect(counter.open).toBe(1);
  });
});
