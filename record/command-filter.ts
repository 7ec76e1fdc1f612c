import { compilePattern } from '../policy/pattern.ts';
import { parseEvent } from './format.ts';
import type { LineHead } from './scan.ts';

/** Which commands are looked for: one command has to meet all of it. */
export interface CommandFilter {
  /** `Deny` also finds what was refused after it was decided; such a command no longer counts as an `Allow`. */
  readonly verdict?: 'Allow' | 'Deny' | 'RequireApproval';
  /** `RULE`, `POLICY/RULE` or `NAMESPACE/POLICY/RULE`, each also with `@GENERATION`. */
  readonly rule?: string;
  readonly text?: TextFilter;
}

export interface TextFilter {
  test(text: string): boolean;
  /** Must be in the text, where that can be said: spares parsing the lines that cannot match. */
  readonly literal?: string;
  /** As somebody wrote it, so that another process can be asked for the same. */
  readonly written?: string;
}

/** Part of a text, or `/REGULAR EXPRESSION/` in RE2 syntax; what is wrong with it, in words, when it is none. */
export function textFilter(written: string): TextFilter | string {
  const source = /^\/([\s\S]+)\/$/.exec(written)?.[1];
  if (source === undefined) return { test: (whole) => whole.includes(written), literal: written, written };
  const pattern = compilePattern(source);
  return typeof pattern === 'string' ? pattern : { test: (whole) => pattern.test(whole), written };
}

/** What is known so far of a command in flight. */
interface Pending {
  readonly rule: boolean;
  readonly verdict: string | undefined;
}

/** Follows the commands of all sessions. Holds those in flight that can still match. */
export interface CommandMatcher {
  /** True when this event completes a command that matches. */
  enter(head: LineHead, block: Buffer, start: number, end: number): boolean;
  /** The session is over: true when a command of it that has no outcome matches. */
  ended(session: string): boolean;
}

export function hasCommandFilter({ verdict, rule, text }: CommandFilter): boolean {
  return verdict !== undefined || rule !== undefined || text !== undefined;
}

export function createCommandMatcher(filter: CommandFilter): CommandMatcher {
  const open = new Map<string, Map<number, Pending>>();
  // As JSON.stringify writes it into the line.
  const { literal } = filter.text ?? {};
  const needle = literal === undefined ? undefined : Buffer.from(JSON.stringify(literal).slice(1, -1));

  function received(session: string, seq: number, line: Buffer): void {
    if (needle !== undefined && !line.includes(needle)) return;
    const event = parseEvent(line.toString('utf8'));
    if (event === undefined) return;
    const { text, rules, verdict } = event;
    if (filter.text !== undefined && !(typeof text === 'string' && filter.text.test(text))) return;
    const known = { rule: hasRule(rules), verdict: typeof verdict === 'string' ? verdict : undefined };
    const commands = open.get(session);
    if (commands === undefined) open.set(session, new Map([[seq, known]]));
    else commands.set(seq, known);
  }

  function hasRule(rules: unknown): boolean {
    const { rule } = filter;
    if (rule === undefined) return true;
    return Array.isArray(rules) && rules.some((name) => typeof name === 'string' && isRule(name, rule));
  }

  function meets({ rule, verdict }: Pending, denied: boolean): boolean {
    if (!rule) return false;
    if (filter.verdict === undefined) return true;
    if (denied)
      return filter.verdict === 'Deny' || (filter.verdict === 'RequireApproval' && verdict === filter.verdict);
    return verdict === filter.verdict;
  }

  return {
    enter({ type, session, seq }, block, start, end) {
      if (session === undefined || seq === undefined) return false;
      if (type === 'command.received') {
        received(session, seq, block.subarray(start, end));
        return false;
      }
      const denied = type === 'command.denied';
      if (!denied && type !== 'command.executed' && type !== 'command.failed') return false;
      const commands = open.get(session);
      const command = commands?.get(seq);
      if (command === undefined) return false;
      commands?.delete(seq);
      const rules = denied && !command.rule ? parseEvent(block.toString('utf8', start, end))?.['rules'] : undefined;
      return meets({ ...command, rule: command.rule || (denied && hasRule(rules)) }, denied);
    },
    ended(session) {
      const commands = open.get(session);
      open.delete(session);
      return commands !== undefined && [...commands.values()].some((command) => meets(command, false));
    },
  };
}

function isRule(name: string, wanted: string): boolean {
  const bare = wanted.includes('@') ? name : name.replace(/@\d+$/, '');
  return bare === wanted || bare.endsWith(`/${wanted}`);
}
