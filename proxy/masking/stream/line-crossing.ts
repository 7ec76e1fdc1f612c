import type { RE2JS } from 're2js';

/**
 * Where a stream may be cut without cutting a match of a user's pattern in two: behind a line end at which no match is under way. An
 * automaton over bytes, made of the program that RE2 made of the pattern (https://swtch.com/~rsc/regexp/regexp2.html), says so. It takes
 * assertions for fulfilled and bytes beyond ASCII for any character that is beyond ASCII, so it may see a match under way where there
 * is none, never the other way round.
 */
export interface LineCrossing {
  /** Some pattern can match across a line end; without one, nothing has to be followed. */
  readonly possible: boolean;
  /** A pattern has assertions (`^`, `$`, `\b`): what stands around a text changes what matches in it. */
  readonly assertions: boolean;
  /** The state in which nothing is under way. */
  readonly idle: number;
  /** The state after one more byte. */
  step(state: number, byte: number): number;
  /** Whether a match that began before may go on behind what was read. */
  underWay(state: number): boolean;
}

/** The part of RE2JS's instructions that is read here. */
interface Instruction {
  readonly op: number;
  readonly out: number;
  readonly arg: number;
  readonly runes: ArrayLike<number>;
  matchRune(rune: number): boolean;
}

/** Values of `op`, as in RE2JS and in Go's regexp/syntax. Others than these are taken for what matches anything. */
const ALT = 1;
const ALT_MATCH = 2;
const CAPTURE = 3;
const EMPTY_WIDTH = 4;
const FAIL = 5;
const MATCH = 6;
const NOP = 7;
const RUNE = 8;
const RUNE1 = 9;
const RUNE_ANY = 10;
const RUNE_ANY_NOT_NL = 11;

const LINE_FEED = 0x0a;
const RETURN = 0x0d;
const FIRST_BEYOND_ASCII = 0x80;
/** Flag of RE2 in `arg` of a rune: upper and lower case are one. K and S have a fold beyond ASCII, so any such rune may match there. */
const FOLD_CASE = 1;
/** More sets of instructions than this, and a match is taken to be under way always: memory stays bounded. */
const MOST_STATES = 2_000;

function matches(instruction: Instruction, byte: number): boolean {
  const { op } = instruction;
  if (op === RUNE_ANY) return true;
  if (op === RUNE_ANY_NOT_NL) return byte !== LINE_FEED;
  if (op !== RUNE && op !== RUNE1) return true;
  if (byte < FIRST_BEYOND_ASCII) return instruction.matchRune(byte);
  const { runes, arg } = instruction;
  return (arg & FOLD_CASE) !== 0 || (runes[runes.length - 1] ?? 0) >= FIRST_BEYOND_ASCII;
}

const CONSUMES: ReadonlySet<number> = new Set([RUNE, RUNE1, RUNE_ANY, RUNE_ANY_NOT_NL]);

interface Program {
  readonly instructions: readonly Instruction[];
  readonly start: number;
}

export function createLineCrossing(patterns: readonly RE2JS[]): LineCrossing {
  const programs = patterns.map(({ re2Input }): Program => {
    const { inst, start } = re2Input.prog;
    return { instructions: inst, start };
  });
  const assertions = programs.some(({ instructions }) => instructions.some(({ op }) => op === EMPTY_WIDTH));
  const crossing = programs.filter(({ instructions }) =>
    instructions.some(
      (one) => one.op > RUNE_ANY_NOT_NL || (CONSUMES.has(one.op) && (matches(one, LINE_FEED) || matches(one, RETURN))),
    ),
  );
  return { possible: crossing.length > 0, assertions, ...automaton(crossing) };
}

/** Places of all programs in one numbering. */
function automaton(programs: readonly Program[]): Pick<LineCrossing, 'idle' | 'step' | 'underWay'> {
  const instructions: Instruction[] = [];
  /** What is added to `out` and `arg` of the instruction. */
  const bases: number[] = [];
  const starts: number[] = [];
  for (const program of programs) {
    const base = instructions.length;
    starts.push(base + program.start);
    for (const instruction of program.instructions) {
      instructions.push(instruction);
      bases.push(base);
    }
  }

  /** Adds the instructions that read a byte next, from `place` on. */
  function enter(place: number, into: Set<number>): void {
    const pending = [place];
    const seen = new Set<number>();
    while (pending.length > 0) {
      const at = pending.pop()!;
      const instruction = instructions[at];
      if (instruction === undefined || seen.has(at)) continue;
      seen.add(at);
      const base = bases[at]!;
      switch (instruction.op) {
        case ALT:
        case ALT_MATCH:
          pending.push(base + instruction.out, base + instruction.arg);
          break;
        case CAPTURE:
        case EMPTY_WIDTH:
        case NOP:
          pending.push(base + instruction.out);
          break;
        case FAIL:
        case MATCH:
          break;
        default:
          into.add(at);
      }
    }
  }

  const idleSet = new Set<number>();
  for (const start of starts) enter(start, idleSet);

  /** A state is a set of places that are under way; what may begin at any place is not in it. */
  const sets: (readonly number[])[] = [[]];
  const byKey = new Map<string, number>([['', 0]]);
  const steps: Int32Array[] = [new Int32Array(256).fill(-1)];
  const ALWAYS = -2;

  function stateOf(set: ReadonlySet<number>): number {
    const places = [...set].sort((a, b) => a - b);
    const key = places.join(',');
    const known = byKey.get(key);
    if (known !== undefined) return known;
    if (sets.length >= MOST_STATES) return ALWAYS;
    byKey.set(key, sets.length);
    sets.push(places);
    steps.push(new Int32Array(256).fill(-1));
    return sets.length - 1;
  }

  function next(state: number, byte: number): number {
    const after = new Set<number>();
    for (const place of [...sets[state]!, ...idleSet]) {
      const instruction = instructions[place]!;
      if (matches(instruction, byte)) enter(bases[place]! + instruction.out, after);
    }
    // A character beyond ASCII has more bytes than one, and only one of them moves on.
    if (byte >= FIRST_BEYOND_ASCII) for (const place of sets[state]!) after.add(place);
    return stateOf(after);
  }

  return {
    idle: 0,
    step(state, byte) {
      if (state === ALWAYS) return ALWAYS;
      const row = steps[state]!;
      const known = row[byte]!;
      if (known !== -1) return known;
      const found = next(state, byte);
      row[byte] = found;
      return found;
    },
    underWay: (state) => state !== 0,
  };
}
