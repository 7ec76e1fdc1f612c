import { neutralise } from '../../record/display.ts';

/** Text in cells of a terminal: how wide it is, and how it is cut and filled. */

/** East Asian wide characters and emoji take two cells (Unicode Standard Annex 11). */
const WIDE =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|[\u{1f300}-\u{1f64f}\u{1f680}-\u{1f6ff}\u{1f900}-\u{1f9ff}\u{20000}-\u{3fffd}]/u;
const NARROW = /^[\u0020-\u007e]*$/;
const COMBINING = /\p{Mn}|\p{Me}/u;

export function widthOf(text: string): number {
  if (NARROW.test(text)) return text.length;
  let width = 0;
  for (const character of text) width += characterWidth(character);
  return width;
}

function characterWidth(character: string): number {
  if (NARROW.test(character)) return 1;
  if (COMBINING.test(character)) return 0;
  return WIDE.test(character) ? 2 : 1;
}

/** The text, safe on a terminal, in at most `width` cells; a cut shows as `…`. */
export function clip(text: string, width: number): string {
  // Escapes only lengthen it: what is far beyond the width need not be looked at.
  const safe = neutralise(text.length > width * 4 ? text.slice(0, width * 4) : text);
  if (widthOf(safe) <= width) return safe;
  let shown = '';
  let used = 0;
  for (const character of safe) {
    used += characterWidth(character);
    if (used > width - 1) break;
    shown += character;
  }
  return `${shown}…`;
}

export function fill(text: string, width: number, right = false): string {
  const blanks = ' '.repeat(Math.max(0, width - widthOf(text)));
  return right ? blanks + text : text + blanks;
}

/** Lines of at most `width` cells. The text is safe already. */
export function wrap(text: string, width: number): string[] {
  if (widthOf(text) <= width) return [text];
  const lines: string[] = [];
  let line = '';
  let used = 0;
  for (const character of text) {
    const next = characterWidth(character);
    if (used + next > width) {
      lines.push(line);
      line = '';
      used = 0;
    }
    line += character;
    used += next;
  }
  return [...lines, line];
}
