/**
 * What a recorded terminal may do on the terminal of whoever looks at it: text, colours, the cursor, erasing, scrolling, the alternate
 * screen. All else is left out, and what is not understood too: sequences that make a terminal answer (it would type the answer into the
 * reader's shell), set its title or clipboard, print, change keys and mouse, load fonts, or draw links.
 * States and names are those of ECMA-48 and of https://vt100.net/emu/dec_ansi_parser.
 */
export interface TerminalFilter {
  /** Takes the next part; a sequence that is not whole yet is kept for the one after. */
  filter(data: string): string;
}

/** Longer than any sequence that is let through. */
const LONGEST = 64;

/** Final bytes of CSI sequences without a prefix: cursor, erasing, inserting, scrolling, tabs, colours, margins, save and restore. */
const PLAIN_FINALS = new Set('@ABCDEFGHIJKLMPSTXZ`abdefgmrsu');
/** Modes of DECSET and DECRST: wrap, origin, blink and show the cursor, alternate screen, its cursor. */
const PRIVATE_MODES = new Set(['6', '7', '12', '25', '47', '1047', '1048', '1049']);
/** Set and reset of ANSI modes: insert, and line feed. */
const ANSI_MODES = new Set(['4', '20']);
/** Behind ESC: save and restore the cursor, index, next line, tab stop, reverse index. */
const ESCAPES = new Set('78DEHM');
/** Line drawing and plain ASCII as G0 and G1. */
const CHARSETS = /^[()][B0]$/;

const ESC = '\u001b';
const C0_SHOWN = new Set(['\b', '\t', '\n', '\v', '\f', '\r', '\u000e', '\u000f']);

type State = 'text' | 'escape' | 'csi' | 'string' | 'string-escape';

export function createTerminalFilter(): TerminalFilter {
  let state: State = 'text';
  let sequence = '';

  function text(character: string): string {
    if (character === ESC) {
      state = 'escape';
      sequence = '';
      return '';
    }
    const code = character.codePointAt(0) ?? 0;
    if (code < 0x20) return C0_SHOWN.has(character) ? character : '';
    // DEL, C1 controls, what turns the direction of writing, invisible tags.
    if ((code >= 0x7f && code <= 0x9f) || isDirection(code) || (code >= 0xe0000 && code <= 0xe0fff)) return '';
    return character;
  }

  function afterEscape(character: string): string {
    sequence += character;
    if (character === ESC) {
      sequence = '';
      return '';
    }
    if (sequence === '[') {
      state = 'csi';
      sequence = '';
      return '';
    }
    if (sequence.length === 1 && ']PX^_'.includes(character)) {
      state = 'string';
      return '';
    }
    // Intermediate bytes come before the last one.
    if (character >= ' ' && character <= '/' && sequence.length < LONGEST) return '';
    state = 'text';
    if (character < ' ') return text(character);
    return ESCAPES.has(sequence) || CHARSETS.test(sequence) ? ESC + sequence : '';
  }

  function csi(character: string): string {
    if (character === ESC) {
      state = 'escape';
      sequence = '';
      return '';
    }
    if (character < ' ') {
      if (C0_SHOWN.has(character)) return character;
      // CAN and SUB end a sequence.
      if (character === '\u0018' || character === '\u001a') state = 'text';
      return '';
    }
    sequence += character;
    if (character >= '@' && character <= '~') {
      state = 'text';
      return sequence.length <= LONGEST && isShown(sequence) ? `${ESC}[${sequence}` : '';
    }
    if (character > '~') state = 'text';
    // Only that it is too long has to be known of the rest.
    if (sequence.length > LONGEST) sequence = sequence.slice(0, LONGEST + 1);
    return '';
  }

  return {
    filter(data) {
      let shown = '';
      for (const character of data) {
        switch (state) {
          case 'text':
            shown += text(character);
            break;
          case 'escape':
            shown += afterEscape(character);
            break;
          case 'csi':
            shown += csi(character);
            break;
          case 'string':
            if (character === '\u0007' || character === '\u009c' || character === '\u0018' || character === '\u001a')
              state = 'text';
            else if (character === ESC) state = 'string-escape';
            break;
          case 'string-escape':
            // ST, or the beginning of another sequence, which ends the string.
            if (character === '\\') state = 'text';
            else {
              state = 'escape';
              sequence = '';
              shown += afterEscape(character);
            }
            break;
          default:
            state satisfies never;
        }
      }
      return shown;
    },
  };
}

function isShown(sequence: string): boolean {
  const final = sequence.at(-1) ?? '';
  const body = sequence.slice(0, -1);
  if (/^[\d;:]*$/.test(body)) {
    if (final === 'h' || final === 'l') return body.split(';').every((mode) => ANSI_MODES.has(mode));
    return PLAIN_FINALS.has(final) && numbersAreSmall(body);
  }
  const mode = /^\?([\d;]*)$/.exec(body)?.[1];
  if (mode !== undefined && (final === 'h' || final === 'l'))
    return mode.split(';').every((one) => PRIVATE_MODES.has(one));
  // Shape of the cursor, soft reset.
  return (final === 'q' && /^\d? $/.test(body)) || (final === 'p' && body === '!');
}

/** A terminal that is asked to insert a billion lines is busy for long. */
function numbersAreSmall(body: string): boolean {
  return body.split(/[;:]/).every((number) => number.length <= 5);
}

function isDirection(code: number): boolean {
  return (
    (code >= 0x200e && code <= 0x200f) ||
    (code >= 0x202a && code <= 0x202e) ||
    (code >= 0x2066 && code <= 0x2069) ||
    code === 0x061c
  );
}

/** Everything that a recorded terminal may have changed, as it was. */
export const TERMINAL_RESET = `${ESC}[0m${ESC}[?1049l${ESC}[?25h${ESC}[?7h${ESC}[?6l${ESC}[4l${ESC}[20l${ESC}(B\u000f${ESC}7${ESC}[r${ESC}8`;
