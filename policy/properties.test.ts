import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { AccessPolicy, Resources } from '../api/resources.ts';
import type { SqlCommand, SqlTuple, StatementKind } from './command.ts';
import type { Decision, EffectiveLimits } from './decision.ts';
import type { RuleSpec } from './rule.ts';
import { connection, context, facts, guardrail, mask, policy, scopeOf } from './testing/build.ts';

/** Properties over arbitrary policies and commands, small enough that rules and commands often meet. */

const KINDS = ['Select', 'Delete', 'Truncate', 'CopyTo', 'DropSchema', 'Set', 'Opaque', 'Unknown'] as const;
const WORDS = [...KINDS, '*', 'Read', 'Write', 'DDL'] as const;
const RELATIONS = ['public.orders', 'public.users', 'audit.events'];
const PATTERNS = ['*.*', 'public.*', 'audit.*', 'public.orders', '*.users'];
const FUNCTIONS = ['*.*', 'public.*', 'public.f', 'pg_catalog.pg_read_file', 'pg_catalog.*'];
const CONDITIONS = [
  'command.sql.hasWhere',
  '!command.sql.hasWhere',
  'subject.claims.missing == 1',
  'not valid (',
  'now.getHours() > 11',
  'command.sql.kind == "Delete"',
];

const some = <T>(values: readonly T[]): fc.Arbitrary<T[]> =>
  fc.uniqueArray(fc.constantFrom(...values), { minLength: 1, maxLength: 3 });
const maybe = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(value, { nil: undefined });
/** Members that are undefined are left out, as in YAML. */
const tidy = <T extends object>(value: T): { [M in keyof T]?: Exclude<T[M], undefined> } =>
  Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)) as {
    [M in keyof T]?: Exclude<T[M], undefined>;
  };

const limits = fc.record({
  maxRowsReturned: maybe(fc.integer({ min: 1, max: 3 })),
  commandsPerMinute: maybe(fc.integer({ min: 1, max: 3 })),
});

const allowRule = fc
  .record({
    sql: fc.record({ statements: some(WORDS), relations: some(PATTERNS), functions: maybe(some(FUNCTIONS)) }).map(tidy),
    when: maybe(fc.constantFrom(...CONDITIONS)),
    approval: maybe(fc.constantFrom({}, { requiredApprovals: 2 })),
    limits: maybe(limits.map(tidy)),
  })
  .map((rule): Rule => ({ effect: 'Allow', ...tidy(rule) }));

const narrowingRule = fc
  .record({
    sql: maybe(
      fc
        .record({ statements: maybe(some(WORDS)), relations: maybe(some(PATTERNS)), functions: maybe(some(FUNCTIONS)) })
        .map(tidy),
    ),
    when: maybe(fc.constantFrom(...CONDITIONS)),
  })
  .chain((lists) =>
    fc
      .constantFrom<'Deny' | 'RequireApproval'>('Deny', 'RequireApproval')
      .map((effect): Rule => ({ effect, ...tidy(lists) })),
  );

type Rule = Omit<RuleSpec, 'name'>;
const named = (rules: readonly Rule[]): RuleSpec[] => rules.map((rule, index) => ({ name: `r${index}`, ...rule }));
const asPolicy = (name: string, rules: readonly Rule[]): AccessPolicy => policy(name, named(rules));

const tuple: fc.Arbitrary<SqlTuple> = fc.oneof(
  fc
    .record({ kind: fc.constantFrom<StatementKind>(...KINDS), relation: fc.constantFrom(...RELATIONS) })
    .map(({ kind, relation }) => {
      const [schema = '', name = ''] = relation.split('.');
      return { type: 'relation' as const, kind, schema, name, statement: 0 };
    }),
  fc.record({
    type: fc.constant('kind' as const),
    kind: fc.constantFrom<StatementKind>(...KINDS),
    statement: fc.constant(0),
    harmless: fc.boolean(),
  }),
  fc.constantFrom(
    { type: 'function' as const, schema: 'public', name: 'f', judgement: 'user' as const, statement: 0 },
    { type: 'function' as const, schema: 'pg_catalog', name: 'lower', judgement: 'safe' as const, statement: 0 },
    {
      type: 'function' as const,
      schema: 'pg_catalog',
      name: 'pg_read_file',
      judgement: 'dangerous' as const,
      statement: 0,
    },
  ),
);

const commandOf: fc.Arbitrary<SqlCommand> = fc
  .record({
    tuples: fc.array(tuple, { minLength: 1, maxLength: 4 }),
    hasWhere: fc.boolean(),
    kind: fc.constantFrom<StatementKind>(...KINDS),
  })
  .map(({ tuples, hasWhere, kind }) => ({
    protocol: 'Postgres' as const,
    text: 'text',
    tuples,
    statements: [facts(kind, { hasWhere })],
  }));

const mode = fc.constantFrom('Enforce' as const, 'Observe' as const);
const masked = fc.boolean();
const setting = fc.record({ mode, masked, hour: fc.integer({ min: 10, max: 14 }) });
type Setting = { mode: 'Enforce' | 'Observe'; masked: boolean; hour: number };

function decide(policies: readonly AccessPolicy[], command: SqlCommand, { mode, masked, hour }: Setting): Decision {
  const resources: Partial<Resources> = {
    connections: [connection('orders', { mode })],
    policies,
    maskingRules: masked ? [mask('m', { columns: [{ match: ['*.*.email'] }] })] : [],
  };
  return scopeOf(resources).decide(command, context(`2026-03-04T${hour}:00:00Z`));
}

const RANK = { Deny: 0, RequireApproval: 1, Allow: 2 } as const;
/** What the rules alone would give, whatever the mode. */
const strict = ({ verdict, observed }: Decision): number => RANK[observed ?? verdict];
const atMost = (narrow: EffectiveLimits, wide: EffectiveLimits): boolean =>
  (['maxRowsReturned', 'commandsPerMinute'] as const).every(
    (member) => (narrow[member] ?? Number.POSITIVE_INFINITY) <= (wide[member] ?? Number.POSITIVE_INFINITY),
  );

const rules = fc.array(fc.oneof(allowRule, narrowingRule), { maxLength: 6 });
const RUNS = { numRuns: 800 };

describe('for any policies and any command', () => {
  it('the order of policies, rules and list members changes nothing', () => {
    fc.assert(
      fc.property(rules, rules, commandOf, setting, (a, b, command, where) => {
        const forth = [policy('a', named(a)), policy('b', named(b))];
        const back = [...forth].reverse().map((one) => ({
          ...one,
          spec: {
            ...one.spec,
            rules: [...one.spec.rules].reverse().map((rule) => ({
              ...rule,
              ...(rule.sql === undefined
                ? {}
                : {
                    sql: tidy({
                      ...rule.sql,
                      statements: rule.sql.statements?.toReversed(),
                      relations: rule.sql.relations?.toReversed(),
                      functions: rule.sql.functions?.toReversed(),
                    }),
                  }),
            })),
          },
        })) as AccessPolicy[];
        const one = decide(forth, command, where);
        const other = decide(back, command, where);
        // The hint shows lists as they were written.
        expect({ ...other, hint: undefined }).toEqual({ ...one, hint: undefined });
      }),
      RUNS,
    );
  });

  it('the order of tuples changes neither verdict nor limits nor requirements', () => {
    fc.assert(
      fc.property(rules, commandOf, setting, (some, command, where) => {
        const one = decide([asPolicy('a', some)], command, where);
        const other = decide([asPolicy('a', some)], { ...command, tuples: command.tuples.toReversed() }, where);
        for (const member of ['verdict', 'observed', 'limits', 'requirements', 'rules', 'reuse'] as const) {
          expect(other[member]).toEqual(one[member]);
        }
      }),
      RUNS,
    );
  });

  it('adding an Allow never narrows, so removing one never widens', () => {
    fc.assert(
      fc.property(rules, allowRule, commandOf, setting, (some, more, command, where) => {
        const without = decide([asPolicy('a', some)], command, where);
        const withIt = decide([asPolicy('a', some), asPolicy('b', [more])], command, where);
        expect(RANK[withIt.verdict]).toBeGreaterThanOrEqual(RANK[without.verdict]);
        expect(strict(withIt)).toBeGreaterThanOrEqual(strict(without));
        if (strict(withIt) === strict(without) && strict(without) === RANK.Allow) {
          expect(atMost(without.limits, withIt.limits)).toBe(true);
        }
      }),
      RUNS,
    );
  });

  it('adding a Deny or a RequireApproval never widens', () => {
    fc.assert(
      fc.property(rules, narrowingRule, commandOf, setting, fc.boolean(), (some, more, command, where, asGuardrail) => {
        const added = asGuardrail ? guardrail('b', named([more])) : asPolicy('b', [more]);
        // In Observe a policy that names the subject lets it in; what may be narrowed has to be in already.
        const without = decide([asPolicy('a', [...some, present]), policy('c', [])], command, where);
        const withIt = decide([asPolicy('a', [...some, present]), policy('c', []), added], command, where);
        expect(RANK[withIt.verdict]).toBeLessThanOrEqual(RANK[without.verdict]);
        expect(strict(withIt)).toBeLessThanOrEqual(strict(without));
        if (withIt.verdict !== 'Deny') expect(atMost(withIt.limits, without.limits)).toBe(true);
      }),
      RUNS,
    );
  });

  it('adding a masking rule never widens', () => {
    fc.assert(
      fc.property(rules, commandOf, setting, (some, command, where) => {
        const open = decide([asPolicy('a', some)], command, { ...where, masked: false });
        const closed = decide([asPolicy('a', some)], command, { ...where, masked: true });
        expect(RANK[closed.verdict]).toBeLessThanOrEqual(RANK[open.verdict]);
      }),
      RUNS,
    );
  });

  it('nothing is allowed without an Allow rule, and a guardrail is none', () => {
    fc.assert(
      fc.property(fc.array(narrowingRule), rules, commandOf, masked, (narrowing, ofGuardrail, command, isMasked) => {
        const where: Setting = { mode: 'Enforce', masked: isMasked, hour: 12 };
        const decision = decide([asPolicy('a', narrowing), guardrail('g', named(ofGuardrail))], command, where);
        expect(decision.verdict).toBe('Deny');
      }),
      RUNS,
    );
  });

  it('a guardrail never grants', () => {
    fc.assert(
      fc.property(rules, rules, commandOf, setting, (some, ofGuardrail, command, where) => {
        const without = decide([asPolicy('a', some)], command, where);
        const withIt = decide([asPolicy('a', some), guardrail('g', named(ofGuardrail))], command, where);
        expect(RANK[withIt.verdict]).toBeLessThanOrEqual(RANK[without.verdict]);
      }),
      RUNS,
    );
  });

  it('Opaque and Unknown pass only where a rule names them, nothing is masked and no Deny stands', () => {
    fc.assert(
      fc.property(
        rules,
        commandOf,
        fc.constantFrom<'Opaque' | 'Unknown'>('Opaque', 'Unknown'),
        setting,
        (some, command, kind, where) => {
          const opaque: SqlCommand = { ...command, tuples: [...command.tuples, { type: 'kind', kind, statement: 0 }] };
          const decision = decide([asPolicy('a', some)], opaque, where);
          if (decision.verdict === 'Deny') return;
          expect(where.masked).toBe(false);
          // A Deny whose condition does not look at the command may not be in force at this hour.
          const inForce = (rule: Rule): boolean => rule.when !== 'now.getHours() > 11' || where.hour > 11;
          expect(
            some.some((rule) => rule.effect === 'Deny' && inForce(rule) && rule.when !== 'subject.claims.missing == 1'),
          ).toBe(false);
          if (where.mode === 'Observe') return;
          expect(some.some((rule) => rule.effect === 'Allow' && rule.sql?.statements?.includes(kind))).toBe(true);
        },
      ),
      RUNS,
    );
  });

  it('every tuple of an allowed command is covered on its own', () => {
    fc.assert(
      fc.property(rules, commandOf, masked, (some, command, isMasked) => {
        const where: Setting = { mode: 'Enforce', masked: isMasked, hour: 12 };
        const whole = decide([asPolicy('a', some)], command, where);
        const worst = Math.min(...whole.tuples.map(({ verdict }) => RANK[verdict]));
        expect(RANK[whole.verdict]).toBe(worst);
        for (const one of whole.tuples)
          if (one.verdict === 'Allow' && one.because === 'rule') expect(one.rules).not.toEqual([]);
      }),
      RUNS,
    );
  });
});

/** Keeps the subject named in Observe without granting anything that the commands here ask for. */
const present: Rule = { effect: 'Allow', sql: { statements: ['Notify'], relations: ['none.none'] } };
