import { expect, test } from 'vitest';
import { curlWords } from './curl-words.ts';

const URL = 'https://gateway:10443';

test.each([
  [['/v1/charges'], [`${URL}/v1/charges`]],
  [
    ['-sS', '/v1/a', '-o', '/dev/null'],
    ['-sS', `${URL}/v1/a`, '-o', '/dev/null'],
  ],
  [
    ['-sSo', '/dev/null', '/v1/a'],
    ['-sSo', '/dev/null', `${URL}/v1/a`],
  ],
  [
    ['-XPOST', '/v1/a'],
    ['-XPOST', `${URL}/v1/a`],
  ],
  [
    ['--output', '/dev/null', '--fail', '/v1/a'],
    ['--output', '/dev/null', '--fail', `${URL}/v1/a`],
  ],
  [
    ['-d', '/v1/text', '/v1/a'],
    ['-d', '/v1/text', `${URL}/v1/a`],
  ],
])('%j: a path is a URL, the value of an option is not', (words, expected) => {
  expect(curlWords(words, URL)).toEqual(expected);
});
