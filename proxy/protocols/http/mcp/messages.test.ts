import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { HttpRefused } from '../core/errors.ts';
import { approvedText, messagesOf } from './messages.ts';

const call = (params: object, id: string | number = 1): object => ({
  jsonrpc: '2.0',
  id,
  method: 'tools/call',
  params,
});

describe('messages', () => {
  test('requests, notifications, answers and batches are told apart', () => {
    expect(messagesOf(call({ name: 'refund', arguments: { amount: 1 } }))).toEqual([
      { method: 'tools/call', id: 1, tool: 'refund', name: 'refund', arguments: { amount: 1 } },
    ]);
    expect(messagesOf({ jsonrpc: '2.0', method: 'notifications/initialized' })).toEqual([
      { method: 'notifications/initialized', tool: '' },
    ]);
    expect(messagesOf({ jsonrpc: '2.0', id: 'a', result: {} })).toEqual([{ method: '', tool: '' }]);
    expect(messagesOf([call({ name: 'a' }, 1), call({ name: 'b' }, 2)]).map(({ tool }) => tool)).toEqual(['a', 'b']);
    expect(messagesOf({ jsonrpc: '2.0', id: 1, method: 'resources/read', params: { uri: 'x:y' } })).toMatchObject([
      { name: 'x:y' },
    ]);
  });

  test.each<[string, unknown]>([
    ['no object', 1],
    ['null', null],
    ['an empty batch', []],
    ['a batch in a batch', [[call({ name: 'a' })]]],
    ['no version', { id: 1, method: 'ping' }],
    ['another version', { jsonrpc: '1.0', id: 1, method: 'ping' }],
    ['a method that is no text', { jsonrpc: '2.0', id: 1, method: ['tools/call'] }],
    ['an id that is an object', { jsonrpc: '2.0', id: {}, method: 'ping' }],
    ['an id that is null', { jsonrpc: '2.0', id: null, method: 'ping' }],
    ['a request that is an answer too', { ...call({ name: 'a' }), result: {} }],
    ['an answer without its id', { jsonrpc: '2.0', result: {} }],
    ['params that are a list', { jsonrpc: '2.0', id: 1, method: 'tools/call', params: ['a'] }],
    ['a call without a tool', call({})],
    ['a tool that is no text', call({ name: { toString: 'a' } })],
    ['arguments that are a list', call({ name: 'a', arguments: [] })],
  ])('%s is refused', (_what, value) => {
    expect(() => messagesOf(value)).toThrow(HttpRefused);
  });
});

describe('what an approval covers', () => {
  const text = (value: object): string => approvedText(JSON.stringify(value));

  test('is the same at another attempt, and in other white space', () => {
    const first = call({ name: 'refund', arguments: { amount: 5 } }, 1);
    const again = call({ name: 'refund', arguments: { amount: 5 }, _meta: { progressToken: 7 } }, 2);
    expect(text(again)).toBe(text(first));
    expect(approvedText(JSON.stringify(first, null, 2))).toBe(text(first));
  });

  test('is another for anything else', () => {
    const refund = (raw: string): string => approvedText(`{"jsonrpc":"2.0","method":"tools/call","params":${raw}}`);
    const one = refund('{"name":"refund","arguments":{"amount":1}}');
    for (const other of [
      '{"name":"refund","arguments":{"amount":1.0}}',
      '{"name":"refund","arguments":{"amount":"1"}}',
      '{"name":"refund","arguments":{"amount":1,"id":2}}',
      '{"name":"refund","arguments":{"id":{"amount":1}}}',
      '{"name":"refund","arguments":{"amount":1},"task":{}}',
      '{"name":"refund","arguments":{"amount":1},"_meta":{"progressToken":1,"x":2}}',
      '{"name":"refund ","arguments":{"amount":1}}',
    ])
      expect(refund(other)).not.toBe(one);
    expect(refund('{"name":"r","arguments":{"n":9007199254740993}}')).not.toBe(
      refund('{"name":"r","arguments":{"n":9007199254740992}}'),
    );
  });

  test('keeps every value of any message', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4 }), fc.boolean(), (value, spaced) => {
        const message = call({ name: 'a', arguments: { value } });
        const { id: _id, ...rest } = message as { id: number };
        expect(JSON.parse(approvedText(JSON.stringify(message, null, spaced ? 2 : 0)))).toEqual(
          JSON.parse(JSON.stringify(rest)),
        );
      }),
    );
  });
});
