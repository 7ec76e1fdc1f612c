import { existsSync } from 'node:fs';
import { expect, test } from 'vitest';
import { longestFirst, SECONDS } from './longest-first.ts';

test('the longest files come first, and the others keep their order', () => {
  const seconds = { slow: 300, middling: 20 };
  expect(longestFirst(['b', 'middling', 'a', 'slow'], (file) => file, seconds)).toEqual(['slow', 'middling', 'b', 'a']);
});

test('every file of the table is there', () => {
  expect(Object.keys(SECONDS).filter((file) => !existsSync(file))).toEqual([]);
});
