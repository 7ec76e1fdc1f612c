import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { AccessPolicy } from '../api/resources.ts';
import type { StatementKind } from './command.ts';
import { expandStatements } from './kinds.ts';
import type { Rights } from './rights.ts';
import type { RuleSpec } from './rule.ts';
import { allow, connection, context, deny, hold, on, policy, scopeOf } from './testing/build.ts';

const rightsOf = (...rules: RuleSpec[]): Rights => scope(policy('p', rules)).rights;
const scope = (...policies: AccessPolicy[]) => scopeOf({ connections: [connection()], policies });
const kinds = (set: ReadonlySet<StatementKind>): StatementKind[] => [...set].sort();

describe('what a target has to let a subject do', () => {
  test('the union of the Allow rules, on the names that they match', () => {
    const rights = rightsOf(allow('a', ['Read'], ['public.*']), allow('b', ['Update'], ['public.orders']));
    expect(kinds(rights.on('public', 'orders'))).toEqual(['Explain', 'Select', 'Show', 'Update']);
    expect(kinds(rights.on('public', 'other'))).toEqual(['Explain', 'Select', 'Show']);
    expect(kinds(rights.on('hidden', 'orders'))).toEqual([]);
  });

  test('conditions and approvals are left out: they only narrow', () => {
    const rights = rightsOf(
      allow('a', ['Delete'], ['public.*'], { when: 'command.sql.hasWhere', approval: {} }),
      hold('h', { sql: { statements: ['Write'] } }),
      deny('d', { when: "now > timestamp('2020-01-01T00:00:00Z')" }),
    );
    expect(kinds(rights.on('public', 'orders'))).toEqual(['Delete']);
  });

  test('a Deny rule without a condition, or with one that cannot be read, is taken off', () => {
    const all = allow('a', ['Read', 'Write'], ['*.*']);
    expect(kinds(rightsOf(all, deny('d', { sql: { statements: ['Write'] } })).on('s', 't'))).toEqual([
      'Explain',
      'Select',
      'Show',
    ]);
    const secret = rightsOf(all, deny('d', { sql: { relations: ['s.secret'] } }));
    expect(kinds(secret.on('s', 'secret'))).toEqual([]);
    expect(kinds(secret.on('s', 'open'))).toContain('Select');
    expect(kinds(rightsOf(all, deny('d', { when: 'this is no CEL' })).on('s', 't'))).toEqual([]);
  });

  test('within a schema: what some name there may get', () => {
    const rights = rightsOf(allow('a', ['CreateTable'], ['work.new_*']), allow('b', ['DDL'], ['*.scratch']));
    expect(rights.within('work').has('CreateTable')).toBe(true);
    expect(rights.within('other').has('CreateTable')).toBe(true);
    const narrowed = rightsOf(
      allow('a', ['CreateTable'], ['work.*']),
      deny('d', { sql: { statements: ['DDL'], relations: ['work.keep'] } }),
    );
    expect(narrowed.within('work').has('CreateTable')).toBe(true);
    expect(narrowed.within('other').size).toBe(0);
    expect(
      rightsOf(allow('a', ['CreateTable'], ['work.*']), deny('d', { sql: { statements: ['DDL'] } })).within('work')
        .size,
    ).toBe(0);
  });

  test('functions by pattern, less those that are denied', () => {
    const rights = rightsOf(
      allow('a', ['Read'], ['*.*'], { sql: { functions: ['app.*'] } }),
      deny('d', { sql: { functions: ['app.secret'] } }),
    );
    expect([rights.calls('app', 'f'), rights.calls('app', 'secret'), rights.calls('public', 'f')]).toEqual([
      true,
      false,
      false,
    ]);
  });

  test('the key tells sets of rights apart, and not names, order or conditions', () => {
    const one = rightsOf(allow('a', ['Read'], ['a.*', 'b.*']), allow('b', ['Update'], ['a.t']));
    const same = rightsOf(
      allow('x', ['Update'], ['a.t'], { when: 'true' }),
      allow('y', ['Read'], ['b.*', 'a.*']),
      allow('z', ['Read'], ['a.*', 'b.*']),
    );
    expect(same.key).toBe(one.key);
    expect(rightsOf(allow('a', ['Read'], ['a.*'])).key).not.toBe(one.key);
    expect(rightsOf(allow('a', ['Read'], ['a.*']), deny('d')).key).not.toBe(
      rightsOf(allow('a', ['Read'], ['a.*'])).key,
    );
  });

  test('whatever policy allows is among the rights', () => {
    const words = fc.constantFrom('Read', 'Write', 'DDL', 'Select', 'Update', 'Truncate', '*' as const);
    const relations = fc.constantFrom('public.*', '*.*', 'public.orders', 'other.t', '*.orders');
    const effect = fc.constantFrom('Allow', 'Deny', 'RequireApproval' as const);
    const rule = fc.record({
      effect,
      words: fc.uniqueArray(words, { minLength: 1 }),
      relations: fc.uniqueArray(relations, { minLength: 1 }),
      conditional: fc.boolean(),
    });
    const names = fc.constantFrom('public.orders', 'public.t', 'other.t', 'other.orders');
    fc.assert(
      fc.property(
        fc.array(rule, { maxLength: 5 }),
        fc.constantFrom(...expandStatements(['Read', 'Write', 'DDL'], true)),
        names,
        (rules, kind, name) => {
          const specs = rules.map(
            ({ effect: e, words: statements, relations: list, conditional }, at): RuleSpec => ({
              name: `r${at}`,
              effect: e as RuleSpec['effect'],
              sql: { statements: statements as ['Read'], relations: list },
              ...(conditional ? { when: 'command.sql.hasWhere' } : {}),
            }),
          );
          const subject = scope(policy('p', specs));
          const [schema = '', relation = ''] = name.split('.');
          if (subject.decide(on(kind, name), context()).verdict !== 'Deny')
            expect(subject.rights.on(schema, relation).has(kind)).toBe(true);
        },
      ),
    );
  });
});
