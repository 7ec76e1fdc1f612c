import { expect, it } from 'vitest';
import { KubeError, type KubeErrorCode } from './errors.ts';
import { isOlder, judge } from './watch-end.ts';

const live = new AbortController().signal;

it.each<[KubeErrorCode, 'list' | 'watch']>([
  ['SPB001', 'watch'],
  ['SPB002', 'watch'],
  ['SPB003', 'watch'],
  ['SPB004', 'list'],
  ['SPB005', 'list'],
  ['SPB007', 'list'],
  ['SPB008', 'list'],
  ['SPB009', 'watch'],
  ['SPB010', 'watch'],
  ['SPB011', 'list'],
  ['SPB012', 'list'],
  ['SPB013', 'list'],
  ['SPB014', 'watch'],
])('after %s of a watch comes a %s', (code, next) => {
  expect(judge(new KubeError(code, []), 'watch', live)).toMatchObject({ next, problem: { code } });
  expect(judge(new KubeError(code, []), 'list', live).next).toBe('list');
});

it('lists when the server has not seen our version, and after what is no error of the runtime', () => {
  const ahead = new KubeError('SPB010', [504, 'x'], { status: 504, reason: 'Timeout' });
  expect(judge(ahead, 'watch', live).next).toBe('list');
  expect(judge(new TypeError('a mistake'), 'watch', live)).toMatchObject({ next: 'list', end: 'garbled' });
  expect(judge('text', 'watch', live).problem).toBeInstanceOf(Error);
});

it('watches on after a silence, which is no trouble', () => {
  expect(judge(new KubeError('SPB019', []), 'watch', live)).toEqual({ next: 'watch', end: 'silent' });
});

it('stops, whatever the error, when it was told to', () => {
  const step = judge(new KubeError('SPB001', []), 'watch', AbortSignal.abort());
  expect(step).toEqual({ next: 'watch', end: 'stopped' });
});

it('compares versions that are numbers, of any size, and says nothing of others', () => {
  expect(isOlder('9', '10')).toBe(true);
  expect(isOlder('10', '9')).toBe(false);
  expect(isOlder('7', '7')).toBe(false);
  expect(isOlder('9007199254740993', '9007199254740994')).toBe(true);
  expect(isOlder('a', 'b')).toBe(false);
  expect(isOlder('', '5')).toBe(false);
});
