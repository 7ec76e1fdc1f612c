import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  bindMessage,
  errorFields,
  ProtocolViolation,
  rowDescription,
  rowsOfTag,
  sqlState,
} from '../../proxy/protocols/postgres/wire/decode.ts';
import * as encode from '../../proxy/protocols/postgres/wire/encode.ts';

/** Bytes that lie somewhere within a larger buffer, as they do in the read buffer: what is around them must never be read. */
const placed = fc.tuple(
  fc.uint8Array({ maxLength: 200 }),
  fc.uint8Array({ maxLength: 20 }),
  fc.uint8Array({ maxLength: 200 }),
);

type Decoder = (bytes: Buffer, start: number, end: number) => unknown;

function outcome(decode: Decoder, bytes: Buffer, start: number, end: number): unknown {
  try {
    return decode(bytes, start, end);
  } catch (error) {
    if (error instanceof ProtocolViolation) return 'violation';
    throw error;
  }
}

/** Positions in a Bind are those of the buffer: compared from the start of its body. */
const bind: Decoder = (bytes, start, end) => {
  const { parameters, ...rest } = bindMessage(bytes, start, end);
  return { ...rest, parameters: parameters.map((each) => ({ ...each, start: each.start - start })) };
};

describe.each<[string, Decoder]>([
  ['Bind', bind],
  ['RowDescription', rowDescription],
  ['the fields of an error', errorFields],
  ['the SQLSTATE of an error', sqlState],
  ['the rows of a tag', rowsOfTag],
])('%s', (_name, decode) => {
  test('arbitrary bytes are decoded or refused, and nothing outside of the message counts', () => {
    fc.assert(
      fc.property(placed, ([body, before, after]) => {
        const alone = outcome(decode, Buffer.from(body), 0, body.length);
        const bytes = Buffer.concat([before, body, after]);
        expect(outcome(decode, bytes, before.length, before.length + body.length)).toEqual(alone);
      }),
      { numRuns: 5000 },
    );
  });
});

test('a Bind cut anywhere, or with a byte too many, is refused', () => {
  const whole = encode.bind('portal', 'statement').subarray(5);
  expect(bindMessage(whole, 0, whole.length)).toMatchObject({ portal: 'portal', statement: 'statement' });
  for (let end = 0; end < whole.length; end++) expect(outcome(bind, whole, 0, end), `${end} bytes`).toBe('violation');
  expect(outcome(bind, Buffer.concat([whole, Buffer.of(0)]), 0, whole.length + 1)).toBe('violation');
});
