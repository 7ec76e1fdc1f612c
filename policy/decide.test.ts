import { describe, expect, it } from 'vitest';
import type { Resources } from '../api/resources.ts';
import type { Command } from './command.ts';
import type { RuleSpec } from './rule.ts';
import {
  agent,
  allow,
  calls,
  command,
  connection,
  context,
  deny,
  facts,
  guardrail,
  hold,
  mask,
  on,
  only,
  policy,
  scopeOf,
} from './testing/build.ts';

const decide = (resources: Partial<Resources>, what: Command, now?: string) =>
  scopeOf(resources).decide(what, context(now));
const verdict = (resources: Partial<Resources>, what: Command, now?: string) => decide(resources, what, now).verdict;
const reads = policy('reads', [allow('read', ['Read'], ['public.*'])]);

describe('covering', () => {
  it('denies by default and says what was denied and what is allowed instead', () => {
    expect(verdict({}, on('Select', 'public.orders'))).toBe('Deny');
    const decision = decide({ policies: [reads] }, on('Delete', 'public.orders'));
    expect(decision).toMatchObject({ verdict: 'Deny', denied: 'Delete on public.orders', rules: [] });
    expect(decision.hint).toBe('Allowed here: Read on public.* (rule shop/reads/read).');
    expect(decision.tuples[0]).toMatchObject({ verdict: 'Deny', because: 'default' });
  });

  it('allows when every tuple is covered, and names the rules', () => {
    const decision = decide({ policies: [reads] }, on('Select', 'public.orders'));
    expect(decision).toMatchObject({ verdict: 'Allow', rules: [{ policy: 'reads', rule: 'read' }], reuse: 'shape' });
    expect(verdict({ policies: [reads] }, on('Select', 'audit.events'))).toBe('Deny');
  });

  it('judges a tuple whole: kind of one rule and relation of another never add up', () => {
    const policies = [policy('p', [allow('a', ['Truncate'], ['tmp.*']), allow('b', ['Update'], ['public.orders'])])];
    expect(verdict({ policies }, on('Truncate', 'public.orders'))).toBe('Deny');
    expect(verdict({ policies }, on('Truncate', 'tmp.x'))).toBe('Allow');
  });

  it('takes different rules for different tuples', () => {
    const policies = [policy('p', [allow('a', ['Delete'], ['public.a']), allow('b', ['Select'], ['public.b'])])];
    const both = command(
      [
        { type: 'relation', kind: 'Delete', schema: 'public', name: 'a', statement: 0 },
        { type: 'relation', kind: 'Select', schema: 'public', name: 'b', statement: 0 },
      ],
      [facts('Delete')],
    );
    const decision = decide({ policies }, both);
    expect(decision.verdict).toBe('Allow');
    expect(decision.rules.map((ref) => ref.rule)).toEqual(['a', 'b']);
  });

  it.each(['CopyTo', 'CopyFrom', 'CopyProgram', 'Opaque', 'Unknown'] as const)('grants %s only by name', (kind) => {
    const wide = policy('wide', [allow('all', ['*', 'Read', 'Write', 'DDL', 'DCL', 'Session'], ['*.*'])]);
    const named = policy('named', [allow('one', [kind], ['*.*'])]);
    expect(verdict({ policies: [wide] }, only(kind))).toBe('Deny');
    expect(verdict({ policies: [wide] }, on(kind, 'public.orders'))).toBe('Deny');
    expect(verdict({ policies: [wide, named] }, only(kind))).toBe('Allow');
  });

  it('grants neither roles nor ALTER SYSTEM with DDL, but takes both away with it', () => {
    const granted = policy('p', [allow('ddl', ['DDL'], ['*.*'])]);
    const everything = policy('p', [allow('all', ['*'], ['*.*'])]);
    const none = policy('q', [deny('no-ddl', { sql: { statements: ['DDL'] } })]);
    expect(verdict({ policies: [granted] }, only('CreateSchema'))).toBe('Allow');
    for (const kind of ['CreateRole', 'DropRole', 'AlterSystem'] as const) {
      expect(verdict({ policies: [granted] }, only(kind))).toBe('Deny');
      expect(verdict({ policies: [everything] }, only(kind))).toBe('Allow');
      expect(verdict({ policies: [everything, none] }, only(kind))).toBe('Deny');
    }
  });

  it('does not pass a command that has statements and no tuple', () => {
    expect(verdict({ policies: [reads] }, command([], [facts('Select')]))).toBe('Deny');
    expect(verdict({ policies: [reads] }, command([], []))).toBe('Allow');
    expect(verdict({}, command([], []))).toBe('Deny');
  });

  it('refuses to judge a command of another protocol', () => {
    const scope = scopeOf({ connections: [connection('orders', { protocol: 'SSH' })] });
    expect(() => scope.decide(only('Select'), context())).toThrow('speaks SSH');
  });
});

describe('functions', () => {
  const select = (...tuples: ReturnType<typeof calls>[]) =>
    command([{ type: 'relation', kind: 'Select', schema: 'public', name: 'orders', statement: 0 }, ...tuples]);
  const withFunctions = (...functions: string[]) => ({
    policies: [policy('p', [allow('r', ['Read'], ['public.*'], { sql: { functions } })])],
  });

  it('covers what merely computes with any Allow rule of the statement kind', () => {
    for (const judgement of ['safe', 'volatile'] as const) {
      expect(verdict({ policies: [reads] }, select(calls('pg_catalog.lower', judgement)))).toBe('Allow');
      expect(verdict(withFunctions('public.f'), select(calls('pg_catalog.lower', judgement)))).toBe('Allow');
    }
    const writes = policy('p', [allow('w', ['Insert'], ['public.*'])]);
    expect(verdict({ policies: [writes] }, command([calls('pg_catalog.lower', 'safe')], [facts('Select')]))).toBe(
      'Deny',
    );
  });

  it.each(['user', 'unknown'] as const)('covers a %s function with a pattern only', (judgement) => {
    expect(verdict({ policies: [reads] }, select(calls('public.f', judgement)))).toBe('Deny');
    expect(verdict(withFunctions('public.*'), select(calls('public.f', judgement)))).toBe('Allow');
    expect(verdict(withFunctions('other.*'), select(calls('public.f', judgement)))).toBe('Deny');
  });

  it('covers a dangerous function by its exact name only', () => {
    const read = select(calls('pg_catalog.pg_read_file', 'dangerous'));
    expect(verdict({ policies: [reads] }, read)).toBe('Deny');
    expect(verdict(withFunctions('*.*', 'pg_catalog.*', 'pg_catalog.pg_read_*'), read)).toBe('Deny');
    expect(verdict(withFunctions('pg_catalog.pg_read_file'), read)).toBe('Allow');
  });

  it('never covers a function whose statement is not there, and hits it with every Deny', () => {
    const stray = command([{ ...calls('pg_catalog.lower', 'safe'), statement: 7 }]);
    expect(verdict({ policies: [reads] }, stray)).toBe('Deny');
    const decision = decide(
      { policies: [reads, policy('d', [deny('x', { sql: { statements: ['DropTable'] } })])] },
      stray,
    );
    expect(decision.rules.map((ref) => ref.rule)).toEqual(['x']);
  });

  it('is hit by a Deny on functions, dangerous ones by a glob too; other tuples are not', () => {
    const no = policy('d', [deny('no-files', { sql: { functions: ['pg_catalog.pg_read_*'] } })]);
    const policies = [...(withFunctions('pg_catalog.pg_read_file').policies ?? []), no];
    expect(decide({ policies }, select(calls('pg_catalog.pg_read_file', 'dangerous'))).rules[0]?.rule).toBe('no-files');
    expect(verdict({ policies }, select(calls('pg_catalog.lower', 'safe')))).toBe('Allow');
  });
});

describe('Deny and RequireApproval', () => {
  const all = policy('all', [allow('all', ['*', 'CopyTo', 'CopyFrom', 'Opaque', 'Unknown'], ['*.*'])]);

  it('hits relations and kinds alike when only statements are listed', () => {
    const no = policy('no', [
      deny('no-drop', { message: 'Open a migration.', sql: { statements: ['DropTable', 'DropSchema'] } }),
    ]);
    const decision = decide({ policies: [all, no] }, on('DropTable', 'public.orders'));
    expect(decision).toMatchObject({ verdict: 'Deny', message: 'Open a migration.', rules: [{ rule: 'no-drop' }] });
    expect(verdict({ policies: [all, no] }, only('DropSchema'))).toBe('Deny');
    expect(verdict({ policies: [all, no] }, on('Select', 'public.orders'))).toBe('Allow');
  });

  it('with relations hits those relations only, whatever the kind', () => {
    const no = policy('no', [deny('closed', { sql: { relations: ['audit.*'] } })]);
    for (const kind of ['Select', 'CopyTo', 'DropTable'] as const) {
      expect(verdict({ policies: [all, no] }, on(kind, 'audit.events'))).toBe('Deny');
      expect(verdict({ policies: [all, no] }, on(kind, 'public.events'))).toBe('Allow');
    }
    expect(verdict({ policies: [all, no] }, only('Select'))).toBe('Allow');
  });

  it('reads Read and Write widely: COPY is taken away with them', () => {
    const no = policy('no', [deny('x', { sql: { statements: ['Read'], relations: ['secret.*'] } })]);
    expect(verdict({ policies: [all, no] }, on('CopyTo', 'secret.keys'))).toBe('Deny');
    expect(verdict({ policies: [all, no] }, on('CopyFrom', 'secret.keys'))).toBe('Allow');
  });

  it.each(['Opaque', 'Unknown'] as const)('hits %s with every rule of the protocol and of none', (kind) => {
    const rests: Partial<RuleSpec>[] = [
      { sql: { statements: ['DropTable'], relations: ['audit.*'] } },
      { sql: { functions: ['public.f'] } },
      { when: 'command.sql.hasWhere', sql: { statements: ['Delete'] } },
      {},
    ];
    for (const rest of rests) {
      expect(verdict({ policies: [all, policy('n', [deny('x', rest)])] }, only(kind))).toBe('Deny');
      expect(verdict({ policies: [all, policy('n', [hold('x', rest)])] }, only(kind))).toBe('RequireApproval');
    }
    const about = deny('x', { message: 'No drops.', sql: { statements: ['DropTable'] } });
    expect(decide({ policies: [all, policy('n', [about])] }, only(kind)).message).toContain('every Deny rule applies');
    const everything = deny('y', { message: 'Closed.' });
    expect(decide({ policies: [all, policy('n', [about, everything])] }, only(kind)).message).toBe('Closed.');
    const elsewhere: Partial<RuleSpec> = { http: { methods: ['GET'] } };
    expect(verdict({ policies: [all, policy('n', [deny('x', elsewhere)])] }, only(kind))).toBe('Allow');
    const notNow: Partial<RuleSpec> = { when: 'now.getHours() > 20', sql: { statements: ['Delete'] } };
    expect(verdict({ policies: [all, policy('n', [deny('x', notNow)])] }, only(kind))).toBe('Allow');
  });

  it.each(['Opaque', 'Unknown'] as const)('never passes %s where a masking rule applies', (kind) => {
    const maskingRules = [mask('pii', { columns: [{ match: ['*.*.email'] }] })];
    const decision = decide({ policies: [all], maskingRules }, only(kind));
    expect(decision.verdict).toBe('Deny');
    expect(decision.message).toContain('shop/pii');
    const excepted = [
      mask('pii', { columns: [{ match: ['*.*.email'] }], exceptSubjects: [{ serviceAccount: { name: 'agent' } }] }),
    ];
    expect(verdict({ policies: [all], maskingRules: excepted }, only(kind))).toBe('Allow');
  });

  it('wins over any Allow, and hits what needs no rule too', () => {
    const no = policy('no', [deny('no-set', { sql: { statements: ['Set'] } })]);
    expect(verdict({ policies: [all, no] }, only('Set', true))).toBe('Deny');
  });

  it('RequireApproval never grants', () => {
    expect(verdict({ policies: [policy('h', [hold('h')])] }, on('Select', 'public.orders'))).toBe('Deny');
  });

  it('asks for every requirement on its own', () => {
    const holds = policy('h', [
      hold('two', {
        message: 'Ask.',
        sql: { statements: ['Delete'] },
        approval: { requiredApprovals: 2, reuseFor: '15m' },
      }),
      hold('one', { sql: { relations: ['public.*'] } }),
    ]);
    const decision = decide({ policies: [all, holds] }, on('Delete', 'public.orders'));
    expect(decision.verdict).toBe('RequireApproval');
    expect(decision.requirements).toMatchObject([
      { rule: { rule: 'one' }, requiredApprovals: 1, timeoutMs: 600_000, hold: 'Wait' },
      { rule: { rule: 'two' }, requiredApprovals: 2, reuseForMs: 900_000, message: 'Ask.' },
    ]);
  });

  it('asks for the approval of an Allow rule only when no other covers', () => {
    const withApproval = policy('a', [
      allow('asked', ['Delete'], ['public.*'], { approval: { approvers: { groups: ['oncall'] } } }),
    ]);
    const decision = decide({ policies: [withApproval] }, on('Delete', 'public.orders'));
    expect(decision).toMatchObject({ verdict: 'RequireApproval', requirements: [{ rule: { rule: 'asked' } }] });
    expect(verdict({ policies: [withApproval, all] }, on('Delete', 'public.orders'))).toBe('Allow');
    const easier = policy('b', [allow('easy', ['Delete'], ['public.*'], { approval: {} })]);
    expect(decide({ policies: [withApproval, easier] }, on('Delete', 'public.orders')).requirements).toMatchObject([
      { rule: { rule: 'easy' } },
    ]);
  });
});

describe('what needs no rule of its own', () => {
  it('passes as soon as something is granted', () => {
    const catalog = command([
      { type: 'relation', kind: 'Select', schema: 'pg_catalog', name: 'pg_class', statement: 0, harmlessCatalog: true },
      calls('pg_catalog.pg_get_userbyid', 'safe'),
    ]);
    const writes = policy('w', [allow('w', ['Insert'], ['public.*'])]);
    for (const what of [only('Transaction', true), only('Set', true), catalog]) {
      expect(decide({ policies: [writes] }, what).tuples[0]).toMatchObject({ verdict: 'Allow', because: 'harmless' });
      expect(verdict({ policies: [writes] }, what)).toBe('Allow');
      expect(verdict({}, what)).toBe('Deny');
    }
    expect(verdict({ policies: [writes] }, only('Set'))).toBe('Deny');
  });

  it('does not make a function harmless beside a relation that is not', () => {
    const mixed = command([
      { type: 'relation', kind: 'Select', schema: 'pg_catalog', name: 'pg_class', statement: 0, harmlessCatalog: true },
      { type: 'relation', kind: 'Insert', schema: 'public', name: 'log', statement: 0 },
      calls('pg_catalog.lower', 'safe'),
    ]);
    const decision = decide({ policies: [policy('w', [allow('w', ['Delete'], ['public.*'])])] }, mixed);
    expect(decision.tuples[2]).toMatchObject({ verdict: 'Deny', because: 'default' });
  });
});

describe('guardrails', () => {
  it('narrow in every namespace and never grant', () => {
    const grant = guardrail('g', [allow('all', ['*'], ['*.*'])]);
    expect(verdict({ policies: [grant] }, on('Select', 'public.orders'))).toBe('Deny');
    expect(scopeOf({ policies: [grant] }).mayConnect).toBe(false);
    const narrow = guardrail('g', [deny('no', { sql: { statements: ['Select'] } })]);
    expect(verdict({ policies: [reads, narrow] }, on('Select', 'public.orders'))).toBe('Deny');
  });

  it('do not select by name', () => {
    const named = guardrail('g', [deny('no', {})], { connections: { names: ['orders'] } });
    expect(verdict({ policies: [reads, named] }, on('Select', 'public.orders'))).toBe('Allow');
  });

  it('a policy of a third namespace never applies', () => {
    const foreign = { ...policy('x', [allow('all', ['*'], ['*.*'])]), metadata: { namespace: 'other', name: 'x' } };
    expect(verdict({ policies: [foreign] }, on('Select', 'public.orders'))).toBe('Deny');
  });
});

describe('conditions', () => {
  const afterHours = 'now.getHours("Europe/Berlin") >= 18 || now.getHours("Europe/Berlin") < 8';
  const writes = policy('w', [allow('w', ['Delete', 'Update'], ['public.*'])]);

  it('look at the time, and the verdict is then never reused', () => {
    const held = policy('h', [hold('late', { when: afterHours, sql: { statements: ['Delete'] } })]);
    const what = on('Delete', 'public.orders');
    expect(verdict({ policies: [writes, held] }, what, '2026-03-04T12:00:00Z')).toBe('Allow');
    const late = decide({ policies: [writes, held] }, what, '2026-03-04T17:30:00Z');
    expect(late).toMatchObject({ verdict: 'RequireApproval', reuse: 'never' });
    expect(decide({ policies: [writes, held] }, on('Update', 'public.orders')).reuse).toBe('shape');
  });

  it('are judged on the sub-statement that the tuple comes from', () => {
    const no = policy('n', [
      deny('wide', { when: '!command.sql.hasWhere', sql: { statements: ['Delete', 'Update'] } }),
    ]);
    const two = (first: boolean, second: boolean): Command =>
      command(
        [
          { type: 'relation', kind: 'Delete', schema: 'public', name: 'a', statement: 0 },
          { type: 'relation', kind: 'Update', schema: 'public', name: 'b', statement: 1 },
        ],
        [facts('Delete', { hasWhere: first }), facts('Update', { hasWhere: second })],
      );
    expect(verdict({ policies: [writes, no] }, two(true, true))).toBe('Allow');
    const decision = decide({ policies: [writes, no] }, two(true, false));
    expect(decision.tuples.map((tuple) => tuple.verdict)).toEqual(['Allow', 'Deny']);
    expect(decision.reuse).toBe('shape');
  });

  it.each([
    ['a missing field', 'subject.issuer == "github"'],
    ['an unknown name', 'subjekt == 1'],
    ['no expression at all', '1 +'],
    ['no truth value', 'subject.claims.x'],
  ])('with %s keep an Allow from matching and make Deny and RequireApproval match', (_, when) => {
    const what = on('Delete', 'public.orders');
    const granted = decide({ policies: [policy('a', [allow('a', ['Delete'], ['public.*'], { when })])] }, what);
    expect(granted.verdict).toBe('Deny');
    expect(granted.tuples[0]?.errors?.[0]).toMatch(/^shop\/a\/a: ./);
    const denied = decide({ policies: [writes, policy('d', [deny('d', { when })])] }, what);
    expect(denied).toMatchObject({ verdict: 'Deny', rules: [{ rule: 'd' }] });
    expect(denied.tuples[0]?.errors).toHaveLength(1);
    expect(verdict({ policies: [writes, policy('h', [hold('h', { when })])] }, what)).toBe('RequireApproval');
  });

  it.each([
    ['command.text.contains("x")', 'text'],
    ['command.sql.hasLiterals', 'text'],
    ['command.sql.kind == "Delete" || subject.username == "x" || connection.port == 1', 'shape'],
    ['session.commands > 100', 'never'],
    ['now > timestamp("2020-01-01T00:00:00Z") || command.text == ""', 'never'],
  ])('that read %s make the verdict good for: %s', (when, reuse) => {
    const policies = [writes, policy('c', [allow('c', ['Delete'], ['public.*'], { when })])];
    expect(decide({ policies }, on('Delete', 'public.orders')).reuse).toBe(reuse);
  });
});

describe('limits', () => {
  const limited = (name: string, limits: object, relations = ['public.*']) =>
    allow(name, ['Select'], relations, { limits });

  it('take the loosest of the rules that cover a tuple, and the ceiling of the connection', () => {
    const rules = [limited('a', { maxRowsReturned: 10, maxDuration: '1m' }), limited('b', { maxRowsReturned: 500 })];
    const connections = [connection('orders', { limits: { maxRowsReturned: 100, maxBytesReturned: 4096 } })];
    expect(decide({ policies: [policy('p', rules)] }, on('Select', 'public.a')).limits).toEqual({
      maxRowsReturned: 500,
    });
    expect(decide({ policies: [policy('p', rules)], connections }, on('Select', 'public.a')).limits).toEqual({
      maxRowsReturned: 100,
      maxBytesReturned: 4096,
    });
    expect(decide({ policies: [policy('p', rules.slice(0, 1))] }, on('Select', 'public.a')).limits).toEqual({
      maxRowsReturned: 10,
      maxDurationMs: 60_000,
    });
  });

  it('take the strictest over the tuples and over the rules that hold', () => {
    const rules = [
      limited('a', { maxRowsReturned: 10 }, ['public.a']),
      limited('b', { maxRowsReturned: 20 }, ['public.b']),
    ];
    const both = command([
      { type: 'relation', kind: 'Select', schema: 'public', name: 'b', statement: 0 },
      { type: 'relation', kind: 'Select', schema: 'public', name: 'a', statement: 0 },
    ]);
    expect(decide({ policies: [policy('p', rules)] }, both).limits).toEqual({ maxRowsReturned: 10 });
    const held = policy('h', [hold('h', { sql: { statements: ['Select'] }, limits: { maxRowsReturned: 5 } })]);
    expect(decide({ policies: [policy('p', rules), held] }, both).limits).toEqual({ maxRowsReturned: 5 });
  });

  it('of a rule that asks for approval do not loosen what is granted without', () => {
    const rules = [
      limited('free', { maxRowsReturned: 10 }),
      allow('asked', ['Select'], ['public.*'], { approval: {} }),
    ];
    expect(decide({ policies: [policy('p', rules)] }, on('Select', 'public.a'))).toMatchObject({
      verdict: 'Allow',
      limits: { maxRowsReturned: 10 },
    });
  });
});

describe('Observe', () => {
  const connections = [connection('orders', { mode: 'Observe' })];

  it('passes what would be denied by default or held, and says so', () => {
    const decision = decide({ connections, policies: [reads] }, on('Delete', 'public.orders'));
    expect(decision).toMatchObject({ verdict: 'Allow', observed: 'Deny', denied: 'Delete on public.orders' });
    const held = policy('h', [hold('h', { sql: { statements: ['Select'] } })]);
    expect(decide({ connections, policies: [reads, held] }, on('Select', 'public.orders'))).toMatchObject({
      verdict: 'Allow',
      observed: 'RequireApproval',
      rules: [{ rule: 'h' }],
      requirements: [],
    });
    expect(decide({ connections, policies: [reads] }, on('Select', 'public.a')).observed).toBeUndefined();
  });

  it('enforces Deny rules, and masking over what cannot be understood', () => {
    const no = policy('n', [deny('n', { sql: { statements: ['DropTable'] } })]);
    expect(verdict({ connections, policies: [reads, no] }, on('DropTable', 'public.a'))).toBe('Deny');
    expect(verdict({ connections, policies: [reads, no] }, only('Unknown'))).toBe('Deny');
    expect(verdict({ connections, policies: [reads] }, only('Unknown'))).toBe('Allow');
    const maskingRules = [mask('m', { fields: [{ match: ['a'] }] })];
    expect(verdict({ connections, policies: [reads], maskingRules }, only('Unknown'))).toBe('Deny');
  });

  it('lets in only whom a policy of its own namespace is about', () => {
    const may = (policies: Resources['policies']) => scopeOf({ connections, policies }).mayConnect;
    expect(may([])).toBe(false);
    expect(may([guardrail('g', [hold('h')])])).toBe(false);
    expect(may([policy('p', [deny('d', { sql: { statements: ['DropTable'] } })])])).toBe(false);
    const named = { subjects: [{ serviceAccount: { name: 'agent' } }] };
    expect(may([policy('p', [deny('d', { sql: { statements: ['DropTable'] } })], named)])).toBe(true);
    expect(may([reads])).toBe(true);
    expect(verdict({ connections }, on('Select', 'public.a'))).toBe('Deny');
  });

  it('keeps to the limits', () => {
    const policies = [policy('p', [allow('r', ['Select'], ['public.*'], { limits: { maxRowsReturned: 3 } })])];
    expect(decide({ connections, policies }, on('Select', 'public.a')).limits).toEqual({ maxRowsReturned: 3 });
  });
});

describe('the view of a subject', () => {
  it('may connect when something is granted, and not when it is revoked', () => {
    expect(scopeOf({ policies: [reads] }).mayConnect).toBe(true);
    const revoked = guardrail('revoked', [deny('revoked', { message: 'Ask.' })], {
      subjects: [{ serviceAccount: { namespace: 'shop', name: 'agent' } }],
    });
    const scope = scopeOf({ policies: [reads, revoked] });
    expect(scope.mayConnect).toBe(false);
    expect(scope.revoked).toEqual({ rule: 'sallyport-system/revoked/revoked', message: 'Ask.' });
    expect(scope.decide(on('Select', 'public.a'), context()).verdict).toBe('Deny');
    expect(
      scopeOf({ policies: [reads, revoked] }, { ...agent, serviceAccount: { namespace: 'shop', name: 'b' } }).revoked,
    ).toBeUndefined();
    const conditional = policy('c', [deny('c', { when: 'session.commands > 3' })]);
    expect(scopeOf({ policies: [reads, conditional] }).revoked).toBeUndefined();
  });

  it('knows whether names matter', () => {
    const wide = allow('all', ['*'], ['*.*'], { sql: { functions: ['*.*'] } });
    const sensitive = (resources: Partial<Resources>) => scopeOf(resources).nameSensitive;
    expect(sensitive({ policies: [policy('p', [wide])] })).toBe(false);
    expect(sensitive({ policies: [policy('p', [{ ...wide, when: 'command.sql.hasWhere' }])] })).toBe(true);
    expect(sensitive({ policies: [policy('p', [wide]), reads] })).toBe(true);
    expect(sensitive({ policies: [policy('p', [wide, deny('d', { sql: { statements: ['DropTable'] } })])] })).toBe(
      true,
    );
    expect(
      sensitive({ policies: [policy('p', [wide])], maskingRules: [mask('m', { columns: [{ match: ['*.*.a'] }] })] }),
    ).toBe(true);
  });

  it('knows whether relations matter', () => {
    const wide = allow('all', ['*'], ['*.*'], { sql: { functions: ['pg_catalog.lo_get'] } });
    const sensitive = (resources: Partial<Resources>) => scopeOf(resources).relationSensitive;
    expect(sensitive({ policies: [policy('p', [wide])] })).toBe(false);
    expect(sensitive({ policies: [policy('p', [wide]), reads] })).toBe(true);
    expect(sensitive({ policies: [policy('p', [{ ...wide, when: 'command.sql.hasWhere' }])] })).toBe(true);
    expect(sensitive({ policies: [policy('p', [wide, deny('d', { sql: { relations: ['audit.*'] } })])] })).toBe(true);
    expect(
      sensitive({ policies: [policy('p', [wide])], maskingRules: [mask('m', { columns: [{ match: ['*.*.a'] }] })] }),
    ).toBe(true);
  });

  it('knows whether nothing may be changed', () => {
    const readOnly = (rule: Parameters<typeof policy>[1][number], mode: 'Enforce' | 'Observe' = 'Enforce') =>
      scopeOf({ policies: [policy('p', [rule])], connections: [connection('orders', { mode })] }).readOnly;
    expect(readOnly(allow('r', ['Read', 'CopyTo', 'Session'], ['*.*']))).toBe(true);
    expect(readOnly(allow('r', ['Read', 'Insert'], ['*.*']))).toBe(false);
    expect(readOnly(allow('r', ['Read'], ['*.*'], { sql: { functions: ['public.f'] } }))).toBe(false);
    expect(readOnly(allow('r', ['Read'], ['*.*']), 'Observe')).toBe(false);
  });

  it('lists what is permitted', () => {
    const rows = scopeOf({
      policies: [reads, policy('d', [deny('no', { message: 'No.', sql: { relations: ['audit.*'] } })])],
      maskingRules: [
        mask('pii', {
          columns: [
            { match: ['*.*.ssn', '*.*.email'] },
            { match: ['*.*.card'], transform: { partial: { keepLast: 4 } } },
          ],
        }),
      ],
    }).permissions();
    expect(rows).toEqual([
      {
        effect: 'Allow',
        statements: 'Read',
        relations: 'public.*',
        functions: '',
        condition: '',
        rule: 'shop/reads/read',
        message: '',
      },
      {
        effect: 'Deny',
        statements: '*',
        relations: 'audit.*',
        functions: '',
        condition: '',
        rule: 'shop/d/no',
        message: 'No.',
      },
      {
        effect: 'Mask',
        statements: '',
        relations: '*.*.ssn, *.*.email',
        functions: '',
        condition: '',
        rule: 'shop/pii',
        message: 'shown as ***',
      },
      {
        effect: 'Mask',
        statements: '',
        relations: '*.*.card',
        functions: '',
        condition: '',
        rule: 'shop/pii',
        message: 'only the last 4 characters shown',
      },
    ]);
  });
});
