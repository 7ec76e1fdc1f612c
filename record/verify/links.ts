import type { Finding, Problem } from './finding.ts';
import { type ChainedLine, membersOf } from './line.ts';

/**
 * Follows a stream line by line and names the first one that is not as it was written. A link that is broken says that one of two lines was
 * changed; which of them, the line after both tells.
 */
export interface Links {
  /** Takes the next line. True: it follows what stands before it. False: it does not, and one more line is wanted. */
  follow(line: ChainedLine): boolean;
  /** What is wrong, once it is known; with `end` there are no more lines. */
  verdict(end: boolean): Finding | undefined;
  /** A segment that is gone: the next line follows its last one. Without `prev`, whatever comes next is taken. */
  continueAt(n: number | undefined, prev: string | undefined): void;
}

export interface LinksOptions {
  readonly firstPrev: string;
  /** What a line's own signature says of it. Asked when a link is broken. */
  readonly selfCheck: (line: ChainedLine) => 'right' | 'wrong' | 'silent';
}

export function createLinks({ firstPrev, selfCheck }: LinksOptions): Links {
  let n: number | undefined = 0;
  let prev: string | undefined = firstPrev;
  /** The two lines before the one that comes next. */
  let before: ChainedLine | undefined;
  let last: ChainedLine | undefined;
  let suspect: ChainedLine | undefined;
  let after: ChainedLine | undefined;

  function isNext(line: ChainedLine): boolean {
    if (n === undefined || line.event === 'segment.start') return n === undefined || line.n === n;
    if (line.n === n + 1) return true;
    // Lost in memory while the disk was full, and said so.
    return line.event === 'recorder.resumed' && line.n > n && membersOf(line)?.['dropped'] === line.n - n - 1;
  }

  function judge(bad: ChainedLine): Finding {
    if (last === undefined) return found('out-of-place', bad);
    // Linked to the line before, and with another number: only whoever signs could have written that, or a digit was changed.
    if (bad.prev === prev) return found('out-of-place', bad);
    const own = { last: selfCheck(last), bad: selfCheck(bad) };
    for (const line of [last, bad]) if (membersOf(line) === undefined) return found('altered', line);
    if (before !== undefined && bad.prev === before.link) {
      // Both follow the same line: the one that the next line does not follow was put in.
      const next = after === undefined ? own.bad !== 'right' : after.prev === last.link;
      return found('inserted', own.last === 'right' || next ? bad : last);
    }
    if (!isNext(bad)) return found('out-of-place', bad);
    // Changed bytes of the one before break this link alone, a changed `prev` also the next one.
    const links = after === undefined || after.prev === bad.link;
    if (own.last === 'right' || own.bad === 'wrong') return found('altered', bad);
    return found('altered', own.last === 'wrong' || own.bad === 'right' || links ? last : bad);
  }

  return {
    follow(line) {
      if (suspect !== undefined) {
        after = line;
        return false;
      }
      if ((prev !== undefined && line.prev !== prev) || !isNext(line)) {
        suspect = line;
        return false;
      }
      before = last;
      last = line;
      n = line.n;
      prev = line.link;
      return true;
    },
    verdict(end) {
      return suspect !== undefined && (end || after !== undefined) ? judge(suspect) : undefined;
    },
    continueAt(newN, newPrev) {
      n = newN;
      prev = newPrev;
      before = undefined;
      last = undefined;
    },
  };
}

export function found(problem: Problem, line: ChainedLine, detail?: string): Finding {
  const { file, line: number, n } = line;
  return { problem, file, line: number, n, ...(detail === undefined ? {} : { detail }) };
}
