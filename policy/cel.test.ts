import { describe, expect, it } from 'vitest';
import { compileCondition, MAX_STEPS } from './cel.ts';
import { commandVariables, MAX_STRING, scopeVariables } from './cel-variables.ts';
import type { SqlStatementFacts } from './command.ts';
import { compileConnection } from './connection.ts';
import type { Subject } from './subject.ts';
import { agent, command, connection, context, facts } from './testing/build.ts';

const target = compileConnection(connection('orders', {}, { tier: 'gold', 'app.kubernetes.io/name': 'shop' }));
const claims = { repository: 'acme/shop', nested: { list: [1, 2.5, 'x', null, true] }, constructor: 'odd', __proto: 1 };

function evaluate(
  text: string,
  {
    subject = {},
    sql = {},
    now = '2026-03-04T12:00:00Z',
    body = 'delete from t',
  }: {
    subject?: Partial<Subject>;
    sql?: Partial<SqlStatementFacts>;
    now?: string;
    body?: string;
  } = {},
): boolean | { readonly error: string } {
  const scope = scopeVariables({ ...agent, claims, ...subject }, target);
  const what = command([], [facts('Delete', sql)], body);
  const condition = compileCondition(text);
  return condition.evaluate(commandVariables(scope, what, 0, context(now), condition.paths));
}

const errorOf = (text: string): string | undefined => compileCondition(text).error;

describe('variables', () => {
  it.each([
    'subject.username == "system:serviceaccount:shop:agent" && subject.serviceAccount.name == "agent"',
    '!has(subject.issuer) && has(subject.serviceAccount) && !has(subject.onBehalfOf)',
    'subject.claims.repository.startsWith("acme/") && subject.claims["repository"] == "acme/shop"',
    'subject.claims.nested.list[0] == 1 && subject.claims.nested.list[1] == 2.5 && subject.claims.nested.list[3] == null',
    'subject.claims.constructor == "odd" && !has(subject.claims.toString)',
    'connection.labels["tier"] in ["gold", "silver"] && connection.labels["app.kubernetes.io/name"] == "shop"',
    'connection.host == "orders-db" && connection.port == 5432 && connection.database == "orders"',
    'command.protocol == "Postgres" && command.text.matches("(?i)^DELETE") && command["text"].size() > 3',
    'command.sql.kind == "Delete" && !command.sql.hasWhere && command.sql.relations.all(r, r.startsWith("public."))',
    'session.id == "s-1" && session.commands >= 3 && now - session.startedAt == duration("1h")',
    'session.clientAddress == "127.0.0.1" && session.applicationName == "psql" && session.startedAt.getHours() == 11',
    'size(subject.groups) == 0 && !("okta:dba" in subject.groups) && type(now) != string',
  ])('%s', (text) => {
    expect(evaluate(text)).toBe(true);
  });

  it.each([
    'subject.claims.missing == "x"',
    'subject.onBehalfOf == "ana"',
    'connection.labels["none"] == "x"',
    'subject.claims.toString == "x"',
    'subject.claims.nested == 1 || subject.claims.repository',
    '1 / 0 == 1',
  ])('%s is an error', (text) => {
    expect(errorOf(text)).toBeUndefined();
    expect(evaluate(text)).toHaveProperty('error');
  });

  it('follow the time zone, over midnight and summer time', () => {
    expect(evaluate('now.getHours("Europe/Berlin") == 0', { now: '2026-01-31T23:30:00Z' })).toBe(true);
    expect(evaluate('now.getDate("Europe/Berlin") == 1', { now: '2026-01-31T23:30:00Z' })).toBe(true);
    expect(evaluate('now.getHours("Europe/Berlin") == 1', { now: '2026-03-29T00:59:59Z' })).toBe(true);
    expect(evaluate('now.getHours("Europe/Berlin") == 3', { now: '2026-03-29T01:00:00Z' })).toBe(true);
    // An hour that Berlin skipped exists in UTC: the zone of the process must not matter.
    expect(evaluate('now.getHours() == 2 && now.getHours("UTC") == 2', { now: '2026-03-29T02:30:00Z' })).toBe(true);
    expect(evaluate('now.getDayOfWeek("Europe/Berlin") in [0, 6]', { now: '2026-03-07T12:00:00Z' })).toBe(true);
    expect(evaluate('now.getHours("-03:30") == 8 && now.getMinutes("-03:30") == 30')).toBe(true);
    expect(evaluate('now.getDayOfYear() == 62 && now.getMonth() == 2 && now.getFullYear() == 2026')).toBe(true);
  });
});

describe('compile time', () => {
  it.each([
    ['subjekt.username == "x"', '"subjekt" is not known'],
    ['command.sql.hasWere', 'command.sql has no field "hasWere"; it has kind, hasWhere'],
    ['command["sqll"].kind == "x"', 'command has no field "sqll"'],
    ['command.text.foo == 1', 'command.text is a string and has no field "foo"'],
    ['command == subject', 'command is no value of its own'],
    ['command[subject.username] == 1', 'command is no map'],
    ['frobnicate(now)', 'no function "frobnicate"'],
    ['now.getHours("Europe/Berln") > 1', '"Europe/Berln" is no time zone'],
    ['command.text.matches("(")', 'matches: '],
    ['command.text', 'gives a string'],
    ['1', 'gives a int'],
    ['google.protobuf.Timestamp{seconds: 1} == now', 'cannot be built'],
    ['@sallyport_step()', ''],
    ['__proto__ == 1', 'not known'],
    ['constructor == 1', 'not known'],
    ['1 +', ''],
    ['', ''],
  ])('refuses %s', (text, message) => {
    expect(errorOf(text)).toContain(message);
    expect(evaluate(text)).toEqual({ error: errorOf(text) });
  });

  it('does not let a variable of a macro be taken for a declared one outside it', () => {
    expect(errorOf('[1].all(x, x > 0) && x == 1')).toContain('"x" is not known');
    expect(errorOf('[1].all(x, x > 0)')).toBeUndefined();
  });
});

describe('caps', () => {
  it('refuse more than 4,096 characters', () => {
    expect(errorOf(`true ${' '.repeat(4091)}`)).toBeUndefined();
    expect(errorOf(`true ${' '.repeat(4092)}`)).toContain('at most 4096');
  });

  it('refuse deep nesting, and take a long flat chain', () => {
    expect(errorOf(`${'[true].exists(a, a == true) && '.repeat(60)}true`)).toBeUndefined();
    expect(errorOf(`${Array.from({ length: 40 }, () => '1').join(' + ')} == 40`)).toContain('32 deep');
    expect(errorOf(`${'['.repeat(40)}${']'.repeat(40)} == []`)).toContain('32 deep');
    expect(errorOf(`${'['.repeat(2000)}${']'.repeat(2000)} == []`)).toContain('deep');
    expect(() => compileCondition(`${'('.repeat(2040)}true${')'.repeat(2040)}`)).not.toThrow();
  });

  it('refuse more than three nested macros', () => {
    expect(errorOf('[1].all(a, [1].all(b, [1].all(c, a == b && b == c)))')).toBeUndefined();
    expect(errorOf('[1].all(a, [1].all(b, [1].all(c, [1].all(d, true))))')).toContain('more than 3 deep');
  });

  it('refuse lists of more than 1,000 elements', () => {
    const list = (length: number) => `1 in [${Array.from({ length }, () => 1).join(',')}]`;
    expect(errorOf(list(1000))).toBeUndefined();
    expect(errorOf(list(1001))).toContain('at most 1000');
  });

  it('end an evaluation that takes too many steps, and start afresh with the next', () => {
    const relations = Array.from({ length: 1000 }, (_, index) => `public.t${index}`);
    const square = 'command.sql.relations.all(a, command.sql.relations.exists(b, a == b + "!"))';
    expect(evaluate(`!${square}`, { sql: { relations: relations.slice(0, 300) } })).toBe(true);
    const cube = 'command.sql.relations.all(a, command.sql.relations.all(b, command.sql.relations.all(c, a != b + c)))';
    const before = performance.now();
    expect(evaluate(cube, { sql: { relations } })).toMatchObject({ error: expect.stringContaining(String(MAX_STEPS)) });
    expect(performance.now() - before).toBeLessThan(5000);
    expect(evaluate('command.sql.relations.all(a, a != "")', { sql: { relations } })).toBe(true);
  });

  it('make a condition fail that reads something too large, and only that one', () => {
    const body = 'x'.repeat(MAX_STRING + 1);
    expect(evaluate('command.text.contains("y")', { body })).toEqual({
      error: 'command.text is too large for a condition',
    });
    expect(evaluate('command.sql.hasWhere', { body })).toBe(false);
    const relations = Array.from({ length: 1001 }, () => 'a.b');
    expect(evaluate('size(command.sql.relations) > 5', { sql: { relations } })).toHaveProperty('error');
    const groups = Array.from({ length: 1001 }, (_, index) => `g:${index}`);
    expect(evaluate('"g:1" in subject.groups', { subject: { groups } })).toHaveProperty('error');
    const deep = Array.from({ length: 20 }).reduce<object>((inner) => ({ inner }), {});
    expect(evaluate('has(subject.claims.inner)', { subject: { claims: { deep } } })).toHaveProperty('error');
  });

  it('match regular expressions in linear time', () => {
    const before = performance.now();
    expect(evaluate('command.text.matches("^(a+)+$")', { body: `${'a'.repeat(20_000)}b` })).toBe(false);
    expect(performance.now() - before).toBeLessThan(5000);
  });
});
