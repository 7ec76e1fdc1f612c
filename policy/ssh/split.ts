import { isQuotedText } from './characters.ts';
import { normalisePath } from './path.ts';

/** A file that a redirection opens; `/dev/null` is none. */
export interface Redirection {
  readonly reads: boolean;
  readonly writes: boolean;
  /** Absolute and normalised. */
  readonly path: string;
}

/** One command with exactly the words that the shell passes to it. */
export interface SimpleCommand {
  readonly argv: readonly string[];
  readonly redirections: readonly Redirection[];
}

/** `reason` completes "cannot be judged: ...". */
export type Split = { readonly commands: readonly SimpleCommand[] } | { readonly reason: string };

/** Longest command line, in UTF-16 units: sshd takes more, but nobody can review it. */
export const MAX_COMMAND = 32_768;
export const MAX_WORDS = 1000;
export const MAX_COMMANDS = 100;

// Everything that no shell gives a meaning to inside a word. `=` and `%` are looked at again where they begin one.
const PLAIN = /[A-Za-z0-9_\-./:,+@%=]/;
const PROGRAM = /^[A-Za-z0-9_./][A-Za-z0-9_./+@,:-]*$/;
const OPERATORS: ReadonlySet<string> = new Set([';', '&', '&&', '|', '||']);
// One digit: dash takes "12>x" for the word 12, bash for a descriptor.
const REDIRECTION = /^(>>|>\||<>|>|<)/;
const DUPLICATION = /^[<>]&[012-](?=[ \t\n;&|]|$)/;

// Words that some shell treats as its own grammar where a command is expected.
const RESERVED: ReadonlySet<string> = new Set(
  `case coproc do done elif else end esac fi for foreach function if in nocorrect noglob repeat select then time until while
  always namespace`.split(/\s+/),
);

const NAMED: Readonly<Record<string, string>> = {
  $: 'an expansion ($)',
  '`': 'a command substitution (`)',
  '*': 'a glob (*)',
  '?': 'a glob (?)',
  '[': 'a glob ([)',
  ']': 'a bracket (])',
  '{': 'braces ({)',
  '}': 'braces (})',
  '(': 'parentheses',
  ')': 'parentheses',
  '~': 'a tilde (~)',
  '#': 'a comment (#)',
  '!': 'an exclamation mark (!)',
  '^': 'a circumflex (^)',
};

class Unsure extends Error {}

/**
 * Splits a command line as `$SHELL -c` would, for sh, bash, dash, zsh and ksh alike. The strict subset: literal words; single quotes;
 * double quotes without `$`, `` ` `` and `!`; backslashes; `;`, `&&`, `||`, `|`, `&` and newlines between commands; redirections to
 * absolute paths and between descriptors 0 to 2. Whatever else there is makes the whole line unsure.
 */
export function split(text: string): Split {
  try {
    return { commands: new Splitter(text).lines() };
  } catch (error) {
    if (error instanceof Unsure) return { reason: error.message };
    throw error;
  }
}

/** A word with what of it was quoted, which decides whether digits before `>` are a descriptor. */
interface Word {
  readonly text: string;
  readonly quoted: boolean;
}

class Splitter {
  readonly #text: string;
  #at = 0;
  #words = 0;

  constructor(text: string) {
    if (text.length > MAX_COMMAND) throw new Unsure(`it is longer than ${MAX_COMMAND} characters`);
    this.#text = text;
  }

  lines(): readonly SimpleCommand[] {
    const commands: SimpleCommand[] = [];
    // After && || and | a command has to follow, and newlines may stand before it.
    let wanted = true;
    for (;;) {
      this.#blanks();
      const next = this.#text[this.#at];
      if (next === '\n') {
        this.#at++;
        continue;
      }
      if (next === undefined) break;
      commands.push(this.#command());
      if (commands.length > MAX_COMMANDS) throw new Unsure(`it has more than ${MAX_COMMANDS} commands`);
      const operator = this.#operator();
      if (operator === undefined) {
        wanted = false;
        break;
      }
      wanted = operator === '&&' || operator === '||' || operator === '|';
    }
    if (commands.length === 0) throw new Unsure('it has no command');
    if (wanted) throw new Unsure('a command is missing after its last operator');
    return commands;
  }

  #blanks(): void {
    while (this.#text[this.#at] === ' ' || this.#text[this.#at] === '\t') this.#at++;
  }

  /** The operator between two commands; undefined at the end. */
  #operator(): string | undefined {
    const rest = this.#text[this.#at];
    if (rest === undefined) return undefined;
    if (rest === '\n') {
      this.#at++;
      return '\n';
    }
    let end = this.#at;
    while (end < this.#text.length && ';&|'.includes(this.#text[end] ?? '')) end++;
    const operator = this.#text.slice(this.#at, end);
    // What stands side by side is one token of some shell: |& ;; ;& &! &|
    if (!OPERATORS.has(operator)) throw new Unsure(`it has the operator ${operator}`);
    const following = this.#text[end];
    if (following === '<' || following === '>') throw new Unsure(`it has the operator ${operator}${following}`);
    this.#at = end;
    return operator;
  }

  #command(): SimpleCommand {
    const argv: string[] = [];
    const redirections: Redirection[] = [];
    for (;;) {
      this.#blanks();
      const next = this.#text[this.#at];
      if (next === undefined || next === '\n' || ';&|'.includes(next)) break;
      if (next === '<' || next === '>') {
        this.#redirect(redirections);
        continue;
      }
      const word = this.#word();
      const after = this.#text[this.#at];
      if ((after === '<' || after === '>') && /^[0-9]+$/.test(word.text)) {
        // Digits that touch a redirection name a descriptor, but not in every shell when there are many, or quoted.
        if (word.quoted || !/^[012]$/.test(word.text)) throw new Unsure(`it redirects the descriptor ${word.text}`);
        this.#redirect(redirections);
        continue;
      }
      this.#count();
      if (argv.length === 0) checkProgram(word.text);
      argv.push(word.text);
    }
    if (argv.length === 0) throw new Unsure('a command is missing beside an operator');
    return { argv, redirections };
  }

  #count(): void {
    this.#words++;
    if (this.#words > MAX_WORDS) throw new Unsure(`it has more than ${MAX_WORDS} words`);
  }

  #redirect(into: Redirection[]): void {
    const rest = this.#text.slice(this.#at, this.#at + 4);
    const duplication = DUPLICATION.exec(rest);
    if (duplication !== null) {
      this.#at += duplication[0].length;
      return;
    }
    const operator = REDIRECTION.exec(rest)?.[0] ?? '';
    const following = rest[operator.length];
    if (following !== undefined && '<>&|('.includes(following)) {
      throw new Unsure(`it has the redirection ${operator}${following}`);
    }
    this.#at += operator.length;
    this.#blanks();
    const { text } = this.#word();
    this.#count();
    if (text === '/dev/null') return;
    // bash opens connections here, and others a file of that name.
    if (/^\/dev\/(tcp|udp|sctp)(\/|$)/.test(text)) throw new Unsure(`it redirects to ${text}`);
    const normal = normalisePath(text);
    if ('reason' in normal) throw new Unsure(`it redirects, and ${normal.reason}`);
    if (normal.climbs) throw new Unsure(`it redirects to ${text}, which has ..`);
    into.push({ reads: operator[0] === '<', writes: operator !== '<', path: normal.path });
  }

  /** Reads a word that begins here, so far as it is literal. */
  #word(): Word {
    let text = '';
    let quoted = false;
    const start = this.#at;
    for (;;) {
      const char = this.#text[this.#at];
      if (char === undefined || ' \t\n;&|<>'.includes(char)) break;
      if (char === "'") {
        text += this.#single();
        quoted = true;
      } else if (char === '"') {
        text += this.#double();
        quoted = true;
      } else if (char === '\\') {
        const next = this.#text[this.#at + 1];
        if (next === undefined) throw new Unsure('it ends with a backslash');
        if (!/[ -~]/.test(next)) throw new Unsure('a backslash stands before a line end or a special character');
        text += next;
        quoted = true;
        this.#at += 2;
      } else if (PLAIN.test(char)) {
        // zsh puts the path of a program in place of =name, also of ''=name.
        if (char === '=' && text === '') throw new Unsure('a word begins with =');
        text += char;
        this.#at++;
      } else throw new Unsure(`it has ${nameOf(this.#text, this.#at)}`);
    }
    if (this.#at === start) throw new Unsure('a word is missing after a redirection');
    return { text, quoted };
  }

  #single(): string {
    const end = this.#text.indexOf("'", this.#at + 1);
    if (end < 0) throw new Unsure('a single quote is not closed');
    const inside = this.#text.slice(this.#at + 1, end);
    if (!isQuotedText(inside)) throw new Unsure('a quoted word has control, invisible or unassigned characters');
    this.#at = end + 1;
    return inside;
  }

  #double(): string {
    let inside = '';
    let escaped = false;
    let at = this.#at + 1;
    for (; ; at++) {
      const char = this.#text[at];
      if (char === undefined) throw new Unsure('a double quote is not closed');
      if (char === '"') break;
      if (char === '$' || char === '`' || char === '!') throw new Unsure(`it has ${NAMED[char]} in double quotes`);
      if (char !== '\\') {
        inside += char;
        continue;
      }
      const next = this.#text[at + 1];
      if (next === undefined || next === '\n' || next === '!')
        throw new Unsure('a backslash in double quotes is not sure');
      escaped = true;
      if ('$`"\\'.includes(next)) {
        inside += next;
        at++;
      } else inside += char;
    }
    if (!isQuotedText(inside)) throw new Unsure('a quoted word has control, invisible or unassigned characters');
    // In an encoding where a backslash may be the second byte of a character, the shell would not see it.
    // biome-ignore lint/suspicious/noControlCharactersInRegex: everything that is not ASCII
    if (escaped && /[^\u0000-\u007f]/.test(inside)) {
      throw new Unsure('double quotes hold a backslash beside characters that are not ASCII');
    }
    this.#at = at + 1;
    return inside;
  }
}

function checkProgram(word: string): void {
  const reason = programReason(word);
  if (reason !== undefined) throw new Unsure(reason);
}

/** Why a word is not taken where a command begins; undefined when it is. */
export function programReason(word: string): string | undefined {
  if (word.includes('=')) return 'it assigns a variable';
  if (RESERVED.has(word)) return `it has the shell keyword ${word}`;
  return PROGRAM.test(word) ? undefined : 'the first word of a command is no plain name of a program';
}

function nameOf(text: string, at: number): string {
  const char = String.fromCodePoint(text.codePointAt(at) ?? 0);
  const named = NAMED[char];
  if (named !== undefined) return named;
  if (/[!-~]/.test(char)) return `the character ${char}`;
  const code = (char.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0');
  return `the character U+${code} outside quotes`;
}
