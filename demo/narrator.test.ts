import { expect, test } from 'vitest';
import { complaints } from './narrator.ts';
import type { Step } from './steps.ts';

const step: Step = {
  title: 'a masked answer',
  actor: 'reporter',
  program: 'psql',
  parameters: [],
  decided: '',
  succeeds: true,
  shows: [/Ada/],
  hides: [/ada@example/],
};

test('an answer as promised has nothing to complain about', () => {
  expect(complaints(step, { status: 0, output: 'Ada | ***' })).toEqual([]);
});

test('a leak, a missing part and a wrong status are each named', () => {
  const found = complaints(step, { status: 1, output: 'ada@example.com' });
  expect(found).toEqual(['exit status 1, expected 0', 'the answer lacks /Ada/', 'the answer shows /ada@example/']);
});
