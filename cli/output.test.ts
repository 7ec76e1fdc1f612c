import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { neutralise } from '../record/display.ts';
import { objectText } from './output.ts';

test.each([
  { plain: 'text', list: [1, 'two'] },
  { command: 'SELECT 1 -- \u202e\u0007 \ud800', lines: 'a\nb\tc\r\n', quote: '"\\' },
  { unicode: 'Müller 😀', empty: '' },
])('YAML and JSON of %j say the same, and nothing in them acts on a terminal', (object) => {
  for (const output of ['json', 'yaml'] as const) {
    const text = objectText(object, output);
    expect(output === 'json' ? JSON.parse(text) : parse(text)).toEqual(object);
    expect(text.split('\n').map(neutralise).join('\n')).toBe(text);
    expect(text.endsWith('\n')).toBe(true);
  }
});
