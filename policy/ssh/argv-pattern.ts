/** Patterns of `ssh.commands`: one for each word, `*` for any run of characters inside one, a last `**` for all words that follow. */

/** Pieces of literal text with a star between each two: one piece is an exact word. */
type WordPattern = readonly string[];

export interface ArgvPattern {
  readonly text: string;
  readonly words: readonly WordPattern[];
  /** It ends with `**`. */
  readonly open: boolean;
}

/** Compiles a pattern as the schema lets it pass: words between spaces, quotes around literal text. */
export function compileArgvPattern(text: string): ArgvPattern {
  const words: string[][] = [];
  // Undefined between words. Stars that were quoted are ordinary characters, so `**` is told from `'**'` here.
  let word: string[] | undefined;
  let bare = '';
  let last = '';
  const end = (): void => {
    if (word !== undefined) {
      words.push(word);
      last = bare;
    }
    word = undefined;
    bare = '';
  };
  const add = (piece: string): void => {
    word ??= [''];
    word.push((word.pop() ?? '') + piece);
  };
  for (let at = 0; at < text.length; at++) {
    const char = text[at] ?? '';
    if (char === ' ') {
      end();
      continue;
    }
    if (char === "'" || char === '"') {
      const close = text.indexOf(char, at + 1);
      // The schema refuses a quote without its end; to the end of the text it then holds.
      const stop = close < 0 ? text.length : close;
      add(text.slice(at + 1, stop));
      bare += '"';
      at = stop;
      continue;
    }
    bare += char;
    if (char === '*') {
      word ??= [''];
      word.push('');
    } else add(char);
  }
  end();
  const open = last === '**';
  if (open) words.pop();
  return { text, words, open };
}

/** Where the path of a word climbs, a star must not stand for it: `cat /var/log/*` is not `cat /var/log/../../etc/shadow`. */
const CLIMBS = /(^|[^.])\.\.(\/|$)/;

function matchesPieces(pieces: WordPattern, word: string): boolean {
  const [head = ''] = pieces;
  if (pieces.length === 1) return word === head;
  const tail = pieces[pieces.length - 1] ?? '';
  if (word.length < head.length + tail.length || !word.startsWith(head) || !word.endsWith(tail)) return false;
  // The leftmost place of each piece leaves the most room for the next ones, so no backtracking is needed.
  let at = head.length;
  const end = word.length - tail.length;
  for (const piece of pieces.slice(1, -1)) {
    const found = word.indexOf(piece, at);
    if (found < 0 || found + piece.length > end) return false;
    at = found + piece.length;
  }
  return true;
}

/** Narrowly: a star that begins a word stands for no option, and no star for a path that climbs. */
function grantsWord(pieces: WordPattern, word: string): boolean {
  if (!matchesPieces(pieces, word)) return false;
  if (pieces.length === 1) return true;
  return !(pieces[0] === '' && word.startsWith('-')) && !CLIMBS.test(word);
}

/** Whether an Allow rule's pattern covers the command; a wrapper has to be named by the first word, without a star. */
export function grantsArgv({ words, open }: ArgvPattern, argv: readonly string[], wrapper: boolean): boolean {
  if (open ? argv.length < words.length : argv.length !== words.length) return false;
  if (wrapper && words[0]?.length !== 1) return false;
  return words.every((pieces, index) => grantsWord(pieces, argv[index] ?? ''));
}

/** Whether a Deny or RequireApproval rule's pattern hits the command, by the program's path or by its name alone. */
export function hitsArgv(pattern: ArgvPattern, argv: readonly string[]): boolean {
  return hitsFrom(pattern, argv, 0, argv[0] ?? '');
}

/** The same for the words from a place on, with another word in that place. Copies nothing: lines may have a thousand words. */
function hitsFrom({ words, open }: ArgvPattern, argv: readonly string[], from: number, program: string): boolean {
  const count = argv.length - from;
  if (open ? count < words.length : count !== words.length) return false;
  const [first] = words;
  if (first !== undefined && !matchesPieces(first, program)) {
    if (!matchesPieces(first, program.slice(program.lastIndexOf('/') + 1))) return false;
  }
  return words.every((pieces, index) => index === 0 || matchesPieces(pieces, argv[from + index] ?? ''));
}

/** Words that cannot be a command in themselves: whatever a program makes of others may be one. */
const PLAIN_WORD = /^[A-Za-z0-9_@%+=:,./-]*$/;

// A line is matched with every pattern of every rule, and has the same words each time.
const scripts = new WeakMap<readonly string[], boolean>();
function mayBeScript(argv: readonly string[]): boolean {
  let known = scripts.get(argv);
  if (known === undefined) {
    known = argv.slice(1).some((word) => !PLAIN_WORD.test(word));
    scripts.set(argv, known);
  }
  return known;
}

/**
 * The same for a wrapper that a rule names: each run of its words to the end may be the command that it runs, and a word that is more
 * than plain may be a whole script.
 */
export function hitsWrapped(pattern: ArgvPattern, argv: readonly string[]): boolean {
  if (mayBeScript(argv)) return true;
  return argv.some((word, from) => {
    if (hitsFrom(pattern, argv, from, word)) return true;
    // As in --to-command=rm.
    const equals = word.indexOf('=');
    return equals >= 0 && hitsFrom(pattern, argv, from, word.slice(equals + 1));
  });
}

/** True when some command is matched by both. Used only to report rules that can never meet. */
export function argvPatternsMeet(
  left: ArgvPattern,
  right: ArgvPattern,
  meet: (a: string, b: string) => boolean,
): boolean {
  const length = Math.max(left.words.length, right.words.length);
  for (let index = 0; index < length; index++) {
    const a = left.words[index];
    const b = right.words[index];
    if (a === undefined) return left.open;
    if (b === undefined) return right.open;
    if (!meet(a.join('*'), b.join('*'))) return false;
  }
  return true;
}
