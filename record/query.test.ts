import { expect, test } from 'vitest';
import { textFilter } from './command-filter.ts';
import { parseSessionQuery, sessionQuery } from './query.ts';
import type { SessionFilter } from './sessions.ts';

const text = textFilter('/(?i)drop +table/');
if (typeof text === 'string') throw new Error(text);

const FILTER: SessionFilter = {
  namespace: 'shop',
  name: 'orders',
  session: '01JZ6T3N8Q',
  who: 'system:serviceaccount:shop:agent & co',
  since: new Date('2026-03-01T10:00:00.000Z'),
  until: new Date('2026-03-02T10:00:00.000Z'),
  denied: true,
  verdict: 'Deny',
  rule: 'shop/writers/no-deletes@3',
  text,
};

test('a filter survives the way through a URL', () => {
  const read = parseSessionQuery(new URLSearchParams(sessionQuery(FILTER).toString()));
  if (typeof read === 'string') throw new Error(read);
  expect({ ...read, text: read.text?.written }).toEqual({ ...FILTER, text: '/(?i)drop +table/' });
  expect(read.text?.test('DROP  TABLE a')).toBe(true);
  expect(read.text?.test('select 1')).toBe(false);
  expect(parseSessionQuery(sessionQuery({}))).toEqual({});
});

test.each([
  ['unknown=1', 'no parameter "unknown"'],
  ['who=a&who=b', 'twice'],
  [`who=${'a'.repeat(1025)}`, 'longer than 1024'],
  ['since=yesterday', 'a time is none'],
  ['verdict=Perhaps', 'verdict is one of'],
  ['denied=1', 'denied is true or false'],
  ['text=/(/', 'missing closing'],
])('%s is refused: %s', (query, words) => {
  expect(parseSessionQuery(new URLSearchParams(query))).toContain(words);
});
