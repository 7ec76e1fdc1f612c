import { expect, test } from 'vitest';
import { isLoopback } from './loopback.ts';

test('loopback addresses, and what only looks like one', () => {
  expect(['127.0.0.1', '127.1.2.3', '::1', '::ffff:127.0.0.1'].every(isLoopback)).toBe(true);
  const others = ['0.0.0.0', '::', '127.0.0.1.evil', 'localhost', '::ffff:1.2.3.4', '128.0.0.1', '', undefined];
  expect(others.some(isLoopback)).toBe(false);
});
