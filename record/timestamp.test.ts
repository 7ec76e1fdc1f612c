import { expect, it } from 'vitest';
import { Timestamps } from './timestamp.ts';

function clock(wall: number) {
  const state = { wall, monotonic: 50 };
  const times = new Timestamps({ wall: () => Math.floor(state.wall), monotonic: () => state.monotonic });
  const advance = (ms: number) => {
    state.wall += ms;
    state.monotonic += ms;
  };
  return { state, times, advance };
}

it('gives RFC 3339 with microseconds and the day', () => {
  const { times, advance } = clock(Date.UTC(2026, 1, 28, 23, 59, 59, 999));
  expect(times.now()).toBe('2026-02-28T23:59:59.999000Z');
  advance(0.25);
  expect(times.now()).toBe('2026-02-28T23:59:59.999250Z');
  const day = times.day;
  advance(1);
  expect(times.now()).toBe('2026-03-01T00:00:00.000250Z');
  expect(times.day).toBe(day + 1);
});

it('never goes backwards while the wall clock does not', () => {
  const { times, advance } = clock(Date.UTC(2026, 0, 1));
  let before = times.now();
  for (let i = 0; i < 20_000; i++) {
    advance(0.371);
    const now = times.now();
    expect(now >= before).toBe(true);
    before = now;
  }
});

it('follows a wall clock that jumps', () => {
  const { state, times, advance } = clock(Date.UTC(2026, 0, 1, 12));
  times.now();
  state.wall -= 3_600_000;
  advance(1_000);
  expect(times.now()).toBe('2026-01-01T11:00:01.000000Z');
});
