import { expect, test } from 'vitest';
import { createRefusalLog } from './refusal-log.ts';

function logAt(lines?: number) {
  const clock = { now: 0 };
  const said: string[] = [];
  const log = createRefusalLog({
    write: ({ peer, code, repeated }, message) => said.push(`${peer} ${code} ${message} ${repeated}`),
    now: () => clock.now,
    ...(lines === undefined ? {} : { lines }),
  });
  return { log, said, clock };
}

test('a peer that comes back at once is told of once, and then by number', () => {
  const { log, said, clock } = logAt();
  for (let index = 0; index < 1000; index++) log.refused('10.0.0.1', 'SPT009', 'no');
  log.refused('10.0.0.1', 'SPT001', 'no');
  log.refused('10.0.0.2', 'SPT009', 'no');
  clock.now = 10_000;
  log.refused('10.0.0.1', 'SPT009', 'no');
  expect(said).toEqual([
    '10.0.0.1 SPT009 no 0',
    '10.0.0.1 SPT001 no 0',
    '10.0.0.2 SPT009 no 0',
    '10.0.0.1 SPT009 no 999',
  ]);
});

test('many peers at once fill no log either', () => {
  const { log, said, clock } = logAt(5);
  for (let index = 0; index < 1000; index++) log.refused(`10.0.0.${index}`, 'SPT009', 'no');
  expect(said).toHaveLength(5);
  clock.now = 10_000;
  log.refused('10.0.1.1', 'SPT009', 'no');
  expect(said).toHaveLength(6);
});
