import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { AccessPolicy } from '../../api/resources.ts';
import type { SshCommand } from '../command.ts';
import type { Decision } from '../decision.ts';
import type { RuleSpec } from '../rule.ts';
import { context, guardrail, policy } from '../testing/build.ts';
import { type SshSpec, sshConnection, sshScope } from '../testing/ssh.ts';
import { channelCommand, fileCommand, forwardCommand, shellCommand, subsystemCommand } from './commands.ts';
import { analyseExec } from './exec.ts';

/** The same properties as for SQL (policy/properties.test.ts), over rules and commands of SSH. */

const OPERATIONS = ['Exec', 'Shell', 'ReadFile', 'WriteFile', 'LocalForward', 'AgentForward', 'Opaque'] as const;
const COMMANDS = ['**', 'id', 'rm **', 'rm *', 'sudo **', 'sudo rm *', '* x', '/bin/rm x', "sh -c 'rm x'"];
const LINES = [
  'id',
  'rm x',
  'rm -r x',
  '/bin/rm x',
  'sudo rm x',
  'sudo id',
  'id; rm x',
  'id $x',
  "sh -c 'rm x'",
  'id >/srv/a',
  'id </srv/.a',
  'scp -t /srv',
  'rsync --server -e.L . /srv',
  'xargs rm',
  '',
];
const PATHS = ['/**', '/srv/**', '/srv/*', '/srv/.*', '/srv/a', '/etc/**'];
const FILES = ['/srv/a', '/srv/.a', '/srv/a/b', '/etc/x', '/srv'];
const DESTINATIONS = ['*:*', 'db:*', '*:5432', 'unix:*'];
const CONDITIONS = [
  'command.ssh.operation == "Exec"',
  'size(command.ssh.argv) > 1',
  'command.sql.hasWhere',
  'now.getHours() > 11',
  'not valid (',
];

const some = <T>(values: readonly T[]): fc.Arbitrary<T[]> =>
  fc.uniqueArray(fc.constantFrom(...values), { minLength: 1, maxLength: 3 });
const lists = fc.record({
  operations: some(OPERATIONS),
  loginUsers: fc.constantFrom<string[]>(['*'], ['deploy'], ['root'], ['deploy', 'root']),
  commands: some(COMMANDS),
  paths: some(PATHS),
  destinations: some(DESTINATIONS),
});
const when = fc.option(fc.constantFrom(...CONDITIONS), { nil: undefined });
type Rule = Omit<RuleSpec, 'name'>;
const rule = (
  effect: Rule['effect'],
  ssh: SshSpec | undefined,
  condition: string | undefined,
  rest: Partial<Rule> = {},
): Rule => ({
  effect,
  ...(ssh === undefined ? {} : { ssh }),
  ...(condition === undefined ? {} : { when: condition }),
  ...rest,
});
const allowRule = fc
  .tuple(lists, when, fc.boolean())
  .map(([ssh, condition, approval]) => rule('Allow', ssh, condition, approval ? { approval: {} } : {}));
const narrowingRule = fc
  .tuple(
    fc.constantFrom('Deny' as const, 'RequireApproval' as const),
    fc.option(
      fc.tuple(lists, fc.subarray(['operations', 'loginUsers', 'commands', 'paths', 'destinations'] as const)),
      { nil: undefined },
    ),
    when,
  )
  .map(([effect, given, condition]) => {
    if (given === undefined) return rule(effect, undefined, condition);
    const [all, kept] = given;
    const ssh = Object.fromEntries(kept.map((name) => [name, all[name]])) as SshSpec;
    return rule(effect, ssh, condition);
  });
const rules = fc.array(fc.oneof(allowRule, narrowingRule), { maxLength: 6 });
const named = (all: readonly Rule[]): RuleSpec[] => all.map((one, index) => ({ name: `r${index}`, ...one }));

const command: fc.Arbitrary<SshCommand> = fc
  .tuple(
    fc.constantFrom('deploy', 'root'),
    fc.oneof(
      {
        weight: 5,
        arbitrary: fc.constantFrom(...LINES).map((line) => (loginUser: string) => analyseExec(line, { loginUser })),
      },
      fc
        .record({
          operation: fc.constantFrom('ReadFile' as const, 'WriteFile' as const),
          path: fc.constantFrom(...FILES),
          tree: fc.boolean(),
        })
        .map((file) => (loginUser: string) => fileCommand('x', [file], { loginUser })),
      fc.constantFrom(
        (loginUser: string) => shellCommand({ loginUser }),
        (loginUser: string) => channelCommand('AgentForward', { loginUser }),
        (loginUser: string) => subsystemCommand('sftp', { loginUser }),
        (loginUser: string) => forwardCommand('LocalForward', { host: 'db', port: 5432 }, { loginUser }),
        (loginUser: string) => forwardCommand('LocalForward', { socket: '/run/x' }, { loginUser }),
      ),
    ),
  )
  .map(([user, make]) => make(user));

const setting = fc.record({
  mode: fc.constantFrom('Enforce' as const, 'Observe' as const),
  hour: fc.integer({ min: 10, max: 14 }),
});
type Setting = { mode: 'Enforce' | 'Observe'; hour: number };
function decide(policies: readonly AccessPolicy[], one: SshCommand, { mode, hour }: Setting): Decision {
  const connections = [sshConnection('web', { mode })];
  return sshScope([], { connections, policies }).decide(one, context(`2026-03-04T${hour}:00:00Z`));
}
const RANK = { Deny: 0, RequireApproval: 1, Allow: 2 } as const;
const strict = ({ verdict, observed }: Decision): number => RANK[observed ?? verdict];
/** A rule that names the subject and grants nothing that the commands above do. */
const present: Rule = { effect: 'Allow', ssh: { operations: ['X11Forward'], loginUsers: ['nobody'] } };
const RUNS = { numRuns: 250 };

describe('for any policies and any SSH command', () => {
  it('no order changes anything', () => {
    fc.assert(
      fc.property(rules, rules, command, setting, (a, b, one, where) => {
        const forth = [policy('a', named(a)), policy('b', named(b))];
        const back = [...forth]
          .reverse()
          .map((each) => ({ ...each, spec: { ...each.spec, rules: [...each.spec.rules].reverse() } }));
        const first = decide(forth, one, where);
        const other = decide(back, { ...one, tuples: one.tuples.toReversed() }, where);
        for (const member of ['verdict', 'observed', 'limits', 'requirements', 'rules', 'reuse'] as const) {
          expect(other[member]).toEqual(first[member]);
        }
      }),
      RUNS,
    );
  });

  it('adding an Allow never narrows, so removing one never widens', () => {
    fc.assert(
      fc.property(rules, allowRule, command, setting, (given, more, one, where) => {
        const without = decide([policy('a', named(given))], one, where);
        const withIt = decide([policy('a', named(given)), policy('b', named([more]))], one, where);
        expect(strict(withIt)).toBeGreaterThanOrEqual(strict(without));
        expect(RANK[withIt.verdict]).toBeGreaterThanOrEqual(RANK[without.verdict]);
      }),
      RUNS,
    );
  });

  it('adding a Deny or a RequireApproval never widens', () => {
    fc.assert(
      fc.property(rules, narrowingRule, command, setting, fc.boolean(), (given, more, one, where, asGuardrail) => {
        const base = [policy('a', named([...given, present])), policy('c', [])];
        const added = asGuardrail ? guardrail('b', named([more])) : policy('b', named([more]));
        const without = decide(base, one, where);
        const withIt = decide([...base, added], one, where);
        expect(strict(withIt)).toBeLessThanOrEqual(strict(without));
        expect(RANK[withIt.verdict]).toBeLessThanOrEqual(RANK[without.verdict]);
      }),
      RUNS,
    );
  });

  it('every part of an allowed command is covered on its own', () => {
    fc.assert(
      fc.property(rules, command, setting, (given, one, where) => {
        const policies = [policy('a', named(given))];
        if (decide(policies, one, { ...where, mode: 'Enforce' }).verdict !== 'Allow') return;
        for (const tuple of one.tuples) {
          expect(decide(policies, { ...one, tuples: [tuple] }, { ...where, mode: 'Enforce' }).verdict).toBe('Allow');
        }
      }),
      RUNS,
    );
  });

  it('what is opaque passes only where a rule says Opaque and no Deny stands', () => {
    const opaque = fc
      .constantFrom('id $x', 'xargs rm', 'python3 -c 1', 'a=b', '')
      .map((line) => analyseExec(line, { loginUser: 'deploy' }));
    fc.assert(
      fc.property(rules, opaque, setting, (given, one, where) => {
        if (decide([policy('a', named(given))], one, { ...where, mode: 'Enforce' }).verdict === 'Deny') return;
        const names = ({ effect, ssh }: Rule): boolean =>
          effect === 'Allow' && ssh?.operations?.includes('Opaque') === true;
        expect(given.some(names)).toBe(true);
        expect(given.filter(({ effect, when: condition }) => effect === 'Deny' && condition === undefined)).toEqual([]);
      }),
      RUNS,
    );
  });
});
