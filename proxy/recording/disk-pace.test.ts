import { expect, it } from 'vitest';
import { createDiskPace } from './disk-pace.ts';

function pace() {
  const clock = { ms: 0 };
  const disk = createDiskPace(() => clock.ms);
  const took = (milliseconds: number, times: number): void => {
    for (let i = 0; i < times; i++) disk.took(milliseconds);
  };
  return { clock, disk, took };
}

it('is believed to be quick after eight syncs, and not while they take long on average', () => {
  const { disk, took } = pace();
  took(0.1, 7);
  expect(disk.quick).toBe(false);
  took(0.1, 1);
  expect(disk.quick).toBe(true);
  took(1.2, 6);
  expect(disk.quick).toBe(false);
  took(0.1, 20);
  expect(disk.quick).toBe(true);
});

it('is not believed on a disk that was never quick', () => {
  const { disk, took } = pace();
  took(4, 1000);
  expect(disk.quick).toBe(false);
});

it('that stalled once is not risked again for ten seconds, however quick it is meanwhile', () => {
  const { clock, disk, took } = pace();
  took(0.05, 100);
  took(12, 1);
  took(0.05, 100);
  expect(disk.quick).toBe(false);
  clock.ms = 9_999;
  expect(disk.quick).toBe(false);
  clock.ms = 10_000;
  expect(disk.quick).toBe(true);
});
