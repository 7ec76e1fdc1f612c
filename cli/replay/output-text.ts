import { neutralise } from '../../record/display.ts';
import type { OutputCode } from '../../record/replay/program-steps.ts';

/** What a program printed as lines that are safe to show: escape sequences taken out, of a line that was written over the last state. */
export interface OutputLines {
  /** Lines that are whole now. */
  add(seq: number, code: OutputCode, data: string | { readonly base64: string }): readonly OutputLine[];
  /** What has no line end. */
  end(seq: number): readonly OutputLine[];
}

export interface OutputLine {
  readonly code: OutputCode;
  readonly text: string;
}

/** CSI, then OSC and other strings, then what is shorter (ECMA-48, section 5). */
const SEQUENCES =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is taken out
  /\u001b\[[\u0020-\u003f]*[\u0040-\u007e]?|\u001b[\]PX^_][^\u0007\u001b]*(?:\u0007|\u001b\\)?|\u001b[\u0020-\u002f]*[\u0030-\u007e]?/g;
/** A character that the next one stands over. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: as above
const OVERSTRUCK = /[^\n]\u0008/g;
/** Of a line without an end. */
const LONGEST = 8 * 1024;

export function createOutputLines(): OutputLines {
  /** By command and stream. */
  const open = new Map<string, string>();

  return {
    add(seq, code, data) {
      if (code === 'r') return [{ code, text: `(the terminal has ${String(data)} now)` }];
      if (typeof data !== 'string') {
        const bytes = Buffer.byteLength(data.base64, 'base64');
        return [...take(seq, code), { code, text: `(${bytes} bytes that are no text)` }];
      }
      const key = `${code} ${seq}`;
      const lines = `${open.get(key) ?? ''}${data}`.split('\n');
      const rest = lines.pop() ?? '';
      const cut = rest.length > LONGEST;
      if (rest === '' || cut) open.delete(key);
      else open.set(key, rest);
      if (cut) lines.push(rest);
      return lines.map((line) => ({ code, text: shown(line) }));
    },
    end: (seq) => [...take(seq, 'o'), ...take(seq, 'e')],
  };

  function take(seq: number, code: OutputCode): OutputLine[] {
    const key = `${code} ${seq}`;
    const rest = open.get(key);
    open.delete(key);
    return rest === undefined ? [] : [{ code, text: shown(rest) }];
  }
}

function shown(line: string): string {
  const plain = line.replaceAll(SEQUENCES, '').replace(/\r+$/, '');
  // A progress bar writes over itself.
  const last = plain.slice(plain.lastIndexOf('\r') + 1);
  return neutralise(last.replaceAll('\t', '    ').replaceAll(OVERSTRUCK, ''));
}
