import { globsOverlap } from '../glob.ts';
import type { RuleSpec } from '../rule.ts';
import { type ArgvPattern, argvPatternsMeet, compileArgvPattern } from './argv-pattern.ts';
import type { SshMatcher } from './match.ts';
import { pathPatternsMeet } from './path-pattern.ts';
import { rsyncServer } from './rsync.ts';
import { scpServer } from './scp.ts';
import { programReason } from './split.ts';

type SshSpec = NonNullable<RuleSpec['ssh']>;

/** An entry of one of the lists that nothing can ever match. */
export interface DeadEntry {
  readonly list: 'commands' | 'destinations';
  readonly index: number;
  readonly entry: string;
  readonly reason: string;
}

/** Entries of an Allow rule that no command could be covered by, whatever the agent sends. */
export function deadEntries({ commands = [], destinations = [] }: SshSpec): readonly DeadEntry[] {
  const dead: DeadEntry[] = [];
  for (const [index, entry] of commands.entries()) {
    const reason = deadCommand(compileArgvPattern(entry));
    if (reason !== undefined) dead.push({ list: 'commands', index, entry, reason });
  }
  for (const [index, entry] of destinations.entries()) {
    const port = Number(/:([0-9]+)$/.exec(entry)?.[1] ?? '1');
    if (entry.startsWith('unix:') || port <= 65_535) continue;
    dead.push({ list: 'destinations', index, entry, reason: 'ports end at 65535' });
  }
  return dead;
}

function deadCommand({ words }: ArgvPattern): string | undefined {
  const [first] = words;
  if (first?.length !== 1) return undefined;
  const [program = ''] = first;
  const reason = programReason(program);
  if (reason !== undefined) return `such a line is opaque: ${reason}`;
  // With a path wherever a star stands, would it be taken for a file transfer?
  const argv = words.map((pieces) => (pieces.length === 1 ? (pieces[0] ?? '') : pieces.join('x').replace(/^x/, '/x')));
  const transfer = scpServer(argv) ?? rsyncServer(argv);
  if (transfer === undefined || 'reason' in transfer) return undefined;
  return `${program} ${argv[1] ?? ''} moves files: it is judged by rules with ReadFile or WriteFile and paths`;
}

/** Login users that the rule names and no certificate of the connection is signed for. */
export function usersWithoutPrincipal({ loginUsers = [] }: SshSpec, principals: readonly string[]): readonly string[] {
  return loginUsers.filter((user) => user !== '*' && !principals.includes(user));
}

const some = <T>(
  mine: readonly T[] | undefined,
  theirs: readonly T[] | undefined,
  meet: (a: T, b: T) => boolean,
): boolean => mine === undefined || theirs === undefined || mine.some((a) => theirs.some((b) => meet(a, b)));

const sameUser = (a: string, b: string): boolean => a === '*' || b === '*' || a === b;

/** Whether an Allow rule grants anything that the other rule could hit, by their lists alone. */
export function sshRulesMeet(rule: SshMatcher, allow: SshMatcher): boolean {
  if (!some(listOf(rule.loginUsers), listOf(allow.loginUsers), sameUser)) return false;
  const { operations } = rule;
  // What is opaque is hit by every rule.
  const shared = [...(allow.operations ?? [])].filter(
    (operation) => operation === 'Opaque' || operations === undefined || operations.has(operation),
  );
  return shared.some((operation) => {
    switch (operation) {
      case 'Exec':
        return some(rule.commands, allow.commands, (a, b) => mayRun(a, b));
      case 'ReadFile':
      case 'WriteFile':
        return some(rule.paths, allow.paths, pathPatternsMeet);
      case 'LocalForward':
      case 'RemoteForward':
        return some(rule.destinations, allow.destinations, (a, b) => globsOverlap(a.text, b.text));
      case 'Subsystem':
        return some(listOf(rule.subsystems), listOf(allow.subsystems), (a, b) => a === b);
      default:
        return true;
    }
  });
}

const listOf = (set: ReadonlySet<string> | undefined): readonly string[] | undefined => set && [...set];

/** A rule may hit what a wrapper runs, so any of the words that follow may begin a match. */
function mayRun(rule: ArgvPattern, allow: ArgvPattern): boolean {
  if (allow.open) return true;
  return allow.words.some((_, from) =>
    argvPatternsMeet(rule, { ...allow, words: allow.words.slice(from) }, globsOverlap),
  );
}

/** Commands and files are out of reach of every rule once there is a shell. */
export function isUndoneByShell({ operations }: SshMatcher): boolean {
  return (
    operations !== undefined &&
    !operations.has('Shell') &&
    ['Exec', 'ReadFile', 'WriteFile'].some((one) => (operations as ReadonlySet<string>).has(one))
  );
}

/** Whether somebody whom both rules are about gets a shell from one of them. */
export function givesShell(allow: SshMatcher, rule: SshMatcher): boolean {
  return allow.operations?.has('Shell') === true && some(listOf(rule.loginUsers), listOf(allow.loginUsers), sameUser);
}
