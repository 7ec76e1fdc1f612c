import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createTerminalFilter } from './terminal-filter.ts';

const ESC = '\u001b';
const filtered = (data: string): string => createTerminalFilter().filter(data);

describe('a recorded terminal', () => {
  it.each([
    'plain text\r\n',
    `${ESC}[1;31mred${ESC}[0m`,
    `${ESC}[38;2;1;2;3mtrue colour${ESC}[m`,
    `${ESC}[38:5:208morange`,
    `${ESC}[2J${ESC}[H${ESC}[10;20H${ESC}[K${ESC}[3A`,
    `${ESC}[?1049h${ESC}[?25l${ESC}[1;24r${ESC}[?1049l`,
    `${ESC}7${ESC}8${ESC}M${ESC}D`,
    `${ESC}(0lqk${ESC}(B`,
    `${ESC}[4h${ESC}[4l${ESC}[2 q${ESC}[!p`,
    'tab\tback\bspace',
    'Grüße 日本 🚀',
  ])('shows %j as it was', (data) => {
    expect(filtered(data)).toBe(data);
  });

  it.each([
    ['a title', `a${ESC}]0;owned\u0007b`],
    ['the clipboard', `a${ESC}]52;c;ZXZpbA==\u0007b`],
    ['a string that ends with ST', `a${ESC}]2;x${ESC}\\b`],
    ['a link', `${ESC}]8;;https://evil.example\u0007a${ESC}]8;;\u0007b`],
    ['DECRQSS and other device control', `a${ESC}P$qm${ESC}\\b`],
    ['Sixel graphics', `a${ESC}Pq#0;2;0;0;0~~${ESC}\\b`],
    ['an application command', `a${ESC}_Gf=100;AAAA${ESC}\\b`],
    ['a privacy message', `a${ESC}^x${ESC}\\b`],
    ['questions that are answered', `a${ESC}[6n${ESC}[c${ESC}[>c${ESC}[=c${ESC}[5n${ESC}[?6n${ESC}[>0qb`],
    ['reports of the window', `a${ESC}[21t${ESC}[18t${ESC}[8;1;1tb`],
    ['the mouse and bracketed paste', `a${ESC}[?1000h${ESC}[?1006h${ESC}[?2004h${ESC}[?1hb`],
    ['one bad mode among good ones', `a${ESC}[?25;1003hb`],
    ['keys and printing', `a${ESC}[5i${ESC}=${ESC}>${ESC}[>4;2mb`],
    ['a reset', `a${ESC}cb`],
    ['bells, enquiries, other controls', 'a\u0007\u0005\u0000\u007fb'],
    ['C1 controls', 'a\u009b6n\u0090x\u009cb'.replace('6n', '').replace('x', '')],
    ['the direction of writing', 'a\u202e\u2066\u2069\u200f\u061cb'],
    ['invisible tags', 'a\u{e0041}b'],
    ['huge numbers', `a${ESC}[999999999Lb`],
    ['a font', `a${ESC}(%5b`.replace('%5', '%5')],
  ])('leaves out %s', (_, data) => {
    expect(filtered(data)).toBe('ab');
  });

  it('does the same wherever it is cut', () => {
    const part = fc.constantFrom(
      ESC,
      '[',
      ']',
      '0;',
      'm',
      '\u0007',
      '\\',
      '?25h',
      'P',
      'q',
      'x',
      '6n',
      '(',
      'B',
      '\n',
      '52;c;',
      '\u009c',
      ' ',
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 30 }), fc.array(fc.nat({ max: 60 })), (parts, cuts) => {
        const data = parts.join('');
        const { filter } = createTerminalFilter();
        let shown = '';
        let at = 0;
        for (const cut of [...cuts.sort((a, b) => a - b), data.length]) {
          if (cut < at) continue;
          shown += filter(data.slice(at, cut));
          at = cut;
        }
        expect(shown).toBe(filtered(data));
      }),
      { numRuns: 300 },
    );
  });

  it('lets nothing through but what is listed, whatever comes', () => {
    const listed =
      // biome-ignore lint/suspicious/noControlCharactersInRegex: sequences begin with one
      /\u001b(?:[78DEHM]|[()][B0]|\[[\d;:]{0,64}[@ABCDEFGHIJKLMPSTXZ\u0060abdefgmrsu]|\[[\d;]*[hl]|\[\?[\d;]*[hl]|\[\d? q|\[!p)/g;
    fc.assert(
      fc.property(
        fc.array(
          fc.oneof(
            fc.constantFrom(ESC, '[', ']', '?', 'P', '\u009b', '6', 'n', ';', '>', 't'),
            fc.string({ unit: 'binary', maxLength: 3 }),
          ),
          { maxLength: 40 },
        ),
        (parts) => {
          const left = filtered(parts.join('')).replaceAll(listed, '');
          for (const character of left) {
            const code = character.codePointAt(0) ?? 0;
            expect(code === 0x1b || (code >= 0x7f && code <= 0x9f) || code === 5 || code === 7).toBe(false);
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});
