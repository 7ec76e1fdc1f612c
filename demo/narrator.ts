/** What is told of a step. */
export interface Told {
  readonly title: string;
  readonly actor: string;
  /** Who or what decided, in words. */
  readonly decided: string;
  readonly succeeds: boolean;
  readonly shows: readonly RegExp[];
  readonly hides: readonly RegExp[];
  /** The answer is shown from the first line that matches. */
  readonly shownFrom?: RegExp;
}

/** What a step's program did. */
export interface Outcome {
  readonly status: number;
  /** stdout and stderr, as a terminal would show them. */
  readonly output: string;
}

/** What is not as the step says; empty when all is. */
export function complaints(step: Told, outcome: Outcome): string[] {
  const found: string[] = [];
  if ((outcome.status === 0) !== step.succeeds) {
    found.push(`exit status ${outcome.status}, expected ${step.succeeds ? '0' : 'a refusal'}`);
  }
  for (const pattern of step.shows) if (!pattern.test(outcome.output)) found.push(`the answer lacks ${pattern}`);
  for (const pattern of step.hides) if (pattern.test(outcome.output)) found.push(`the answer shows ${pattern}`);
  return found;
}

const LINES_SHOWN = 24;

function shortened(output: string, from: RegExp | undefined): string {
  const all = output.trimEnd().split('\n');
  const first =
    from === undefined
      ? 0
      : Math.max(
          0,
          all.findIndex((line) => from.test(line)),
        );
  const lines = all.slice(first);
  return [
    ...(first === 0 ? [] : [`… ${first} lines`]),
    ...lines.slice(0, LINES_SHOWN),
    ...(lines.length <= LINES_SHOWN ? [] : [`… ${lines.length - LINES_SHOWN} more lines`]),
  ].join('\n');
}

export interface Narrator {
  say(text: string): void;
  /** What is about to be run. @param number such as `3`, or `3a` for what happens while 3 waits */
  begin(number: string, step: Told, command: string): void;
  /** What came of it. */
  end(step: Told, outcome: Outcome): void;
}

export function createNarrator(write: (text: string) => void, colours: boolean): Narrator {
  const paint = (code: string, text: string): string => (colours ? `\x1b[${code}m${text}\x1b[0m` : text);
  return {
    say: (text) => write(`${text}\n`),
    begin(number, step, command) {
      write(`\n${paint('1', `${number}. ${step.title}`)}\n`);
      write(`${paint('36', `${step.actor} $ ${command}`)}\n`);
    },
    end(step, outcome) {
      const indented = shortened(outcome.output, step.shownFrom).replaceAll(/^/gm, '   ');
      write(`${indented}\n`);
      write(`   ${paint('2', `→ ${step.decided}`)}\n`);
      for (const complaint of complaints(step, outcome)) write(`   ${paint('31', `✗ ${complaint}`)}\n`);
    },
  };
}
