import { describe, expect, it } from 'vitest';
import type { HttpCommand } from '../command.ts';
import type { Decision } from '../decision.ts';
import type { RuleSpec } from '../rule.ts';
import { context, deny, hold } from '../testing/build.ts';
import { allowHttp as allow, message, httpScope as scope, sent } from '../testing/http.ts';

const decide = (rules: readonly RuleSpec[], command: HttpCommand): Decision => scope(rules).decide(command, context());
const verdict = (rules: readonly RuleSpec[], command: HttpCommand): Decision['verdict'] =>
  decide(rules, command).verdict;

const everything = allow({ methods: ['*'], paths: ['/**'] });

describe('paths', () => {
  it.each([
    ['/v1/charges', '/v1/charges', true],
    ['/v1/charges', '/v1/charges/', false],
    ['/v1/charges', '/V1/charges', false],
    ['/v1/charges/*', '/v1/charges/c1', true],
    ['/v1/charges/*', '/v1/charges', false],
    ['/v1/charges/*', '/v1/charges/', false],
    ['/v1/charges/', '/v1/charges/', true],
    ['/v1/charges/**', '/v1/charges/', true],
    ['/v1/charges/*', '/v1/charges/c1/refunds', false],
    ['/v1/charges/**', '/v1/charges', true],
    ['/v1/charges/**', '/v1/charges/c1/refunds', true],
    ['/v1/charges/**', '/v1/charge', false],
    ['/v1/**/refunds', '/v1/refunds', true],
    ['/v1/**/refunds', '/v1/a/b/refunds', true],
    ['/v1/c*s/x', '/v1/charges/x', true],
    ['/', '/', true],
    ['/*', '/', false],
    ['/**', '/', true],
    ['/a b/é', '/a b/é', true],
    // What a server may read as another path.
    ['/v1/*', '/v1/a%2f..%2fadmin', false],
    ['/v1/**', '/v1/..;/admin', false],
    ['/v1/**', '/v1/a\\..\\admin', false],
    ['/v1/**', '/v1/%252e%252e/admin', false],
    ['/v1/*', '/v1/a\nb', false],
    ['/v1/*', '/v1/100%', true],
  ])('%s covers %s: %s', (pattern, path, covered) => {
    expect(verdict([allow({ methods: ['GET'], paths: [pattern] })], sent('GET', path))).toBe(
      covered ? 'Allow' : 'Deny',
    );
  });

  it.each([
    '/v1/refunds',
    '/v1/refunds/',
    '/V1/Refunds',
    '/v1/refunds;jsessionid=1',
    '/v1;x=1/refunds',
    '/v1/..;/refunds',
    '/v1/x%2f..%2frefunds',
    '/v1\\refunds',
  ])('a rule that takes away reads %s as some server would', (path) => {
    // Covered as it is written, so that only the other rule counts.
    const given = allow({ methods: ['POST'], paths: [path] });
    expect(verdict([given], sent('POST', path))).toBe('Allow');
    expect(verdict([given, deny('no', { http: { paths: ['/v1/refunds'] } })], sent('POST', path))).toBe('Deny');
    expect(verdict([given, hold('no', { http: { paths: ['/v1/refunds'] } })], sent('POST', path))).toBe(
      'RequireApproval',
    );
  });

  it('others stay as they are', () => {
    const no = deny('no', { http: { paths: ['/v1/refunds', '/admin/**'] } });
    expect(verdict([everything, no], sent('POST', '/v1/refunds/r1'))).toBe('Allow');
    expect(verdict([everything, no], sent('POST', '/v1/refund'))).toBe('Allow');
    expect(verdict([everything, no], sent('GET', '/admin'))).toBe('Deny');
    expect(verdict([everything, no], sent('GET', '/ADMIN/x/y'))).toBe('Deny');
  });
});

describe('methods', () => {
  it.each([
    [['GET'], 'GET', true],
    [['GET'], 'HEAD', true],
    [['HEAD'], 'GET', false],
    [['GET'], 'POST', false],
    [['GET'], 'get', false],
    [['*'], 'OPTIONS', true],
    [['*'], 'TRACE', false],
    [['*'], 'CONNECT', false],
    [['*'], 'PROPFIND', false],
  ] as const)('%j cover %s: %s', (methods, method, covered) => {
    expect(verdict([allow({ methods: [...methods], paths: ['/**'] })], sent(method, '/'))).toBe(
      covered ? 'Allow' : 'Deny',
    );
  });

  it('are taken away with what stands for them', () => {
    const no = (...methods: NonNullable<NonNullable<RuleSpec['http']>['methods']>) => deny('no', { http: { methods } });
    expect(verdict([everything, no('GET')], sent('HEAD', '/'))).toBe('Deny');
    expect(verdict([everything, no('HEAD')], sent('GET', '/'))).toBe('Allow');
    expect(verdict([everything, no('DELETE')], sent('POST', '/'))).toBe('Allow');
  });
});

describe('conditions', () => {
  const may = (when: string) => [{ ...everything, when }];
  it.each([
    ['command.http.query["limit"] == ["10"]', { query: { limit: ['10'] } }, true],
    ['command.http.query["limit"].all(v, int(v) <= 100)', { query: { limit: ['10', '1000'] } }, false],
    ['!("force" in command.http.query)', { query: {} }, true],
    ['!("force" in command.http.query)', { query: { force: [''] } }, false],
    ['command.http.headers["x-env"] == "test"', { headers: { 'x-env': 'test' } }, true],
    ['command.http.headers["x-env"] == "test"', {}, false],
    ['command.http.host == "api.example.com"', {}, true],
    ['command.http.contentType == "application/json"', { contentType: 'application/json' }, true],
    ['command.http.body.amount <= 100', { body: { amount: 100 } }, true],
    ['command.http.body.amount <= 100', { body: { amount: 100.5 } }, false],
    ['command.http.body.amount <= 100', { body: { amount: '1' } }, false],
    ['command.http.body.amount <= 100', { body: [{ amount: 1 }] }, false],
    ['command.http.body.amount <= 100', {}, false],
    ['command.http.body[0].amount == 1', { body: [{ amount: 1 }] }, true],
    ['!has(command.http.body.admin)', { body: {} }, true],
    // Nobody read it, so nobody knows that it is not there.
    ['!has(command.http.body.admin)', {}, false],
    ['!has(command.http.body)', {}, true],
    ['command.mcp.tool == ""', {}, false],
  ])('%s on %j: %s', (when, rest, met) => {
    expect(verdict(may(when), sent('POST', '/v1/refunds', rest))).toBe(met ? 'Allow' : 'Deny');
    // The other way round: what is not known is hit.
    const errors = decide(may(when), sent('POST', '/v1/refunds', rest)).tuples[0]?.errors ?? [];
    expect(
      verdict([everything, deny('no', { when, http: { methods: ['POST'] } })], sent('POST', '/v1/refunds', rest)),
    ).toBe(met || errors.length > 0 ? 'Deny' : 'Allow');
  });

  it('a body that is too large for a condition is not there', () => {
    const deep = Array.from({ length: 40 }).reduce<unknown>((inner) => ({ inner }), 1);
    for (const body of [deep, { list: Array.from({ length: 2000 }, () => 1) }, { text: 'x'.repeat(70_000) }]) {
      const decision = decide(may('has(command.http.body.list) || true'), sent('POST', '/', { body }));
      expect(decision.verdict).toBe('Deny');
      expect(decision.tuples[0]?.errors?.join()).toContain('too large');
      expect(verdict([everything], sent('POST', '/', { body }))).toBe('Allow');
    }
  });

  it('say what has to be read, and how long a decision lasts', () => {
    expect(scope([everything]).needs).toEqual({ body: false, headers: false, object: false });
    expect(scope([everything, deny('no', { when: 'has(command.http.body.x)' })]).needs.body).toBe(true);
    const reuse = (when: string) => decide(may(when), sent('GET', '/')).reuse;
    expect(reuse('command.http.query == {} || true')).toBe('text');
    expect(reuse('!("x" in command.http.headers)')).toBe('never');
    expect(reuse('!has(command.http.body)')).toBe('never');
    expect(decide([everything], sent('GET', '/')).reuse).toBe('text');
  });
});

describe('MCP', () => {
  const mcp = (spec: NonNullable<NonNullable<RuleSpec['http']>['mcp']>, rest: Partial<RuleSpec> = {}) =>
    allow({ mcp: spec }, rest);
  const search = mcp({ methods: ['tools/call'], tools: ['search_*', 'read'] });

  it('is covered by no rule about paths, but taken away by it', () => {
    expect(verdict([everything], message('tools/call', 'search_web'))).toBe('Deny');
    expect(verdict([everything], message('initialize'))).toBe('Deny');
    expect(decide([everything], message('tools/call', 'search_web')).message).toContain(
      'a rule whose mcp names this tool',
    );
    expect(verdict([search], sent('POST', '/mcp'))).toBe('Deny');
    expect(verdict([search, deny('no', { http: { paths: ['/mcp'] } })], message('tools/call', 'read'))).toBe('Deny');
    expect(verdict([search, deny('no', { http: { methods: ['GET'] } })], message('tools/call', 'read'))).toBe('Allow');
  });

  it.each([
    ['search_web', true],
    ['read', true],
    ['Read', false],
    ['delete', false],
    ['', false],
  ])('tool %j: %s', (tool, covered) => {
    expect(verdict([search], message('tools/call', tool))).toBe(covered ? 'Allow' : 'Deny');
    expect(scope([search]).offersTool('/mcp', tool)).toBe(covered);
  });

  it.each([
    ['initialize', true],
    ['ping', true],
    ['tools/list', true],
    ['notifications/initialized', true],
    ['', true],
    ['resources/read', false],
    ['prompts/get', false],
    ['admin/reset', false],
  ])('a session needs %j: %s', (method, harmless) => {
    expect(verdict([search], message(method))).toBe(harmless ? 'Allow' : 'Deny');
    expect(verdict([search, hold('people', { http: { mcp: { methods: ['*'] } } })], message(method))).toBe(
      harmless ? 'Allow' : 'Deny',
    );
    expect(verdict([search, deny('no', { http: { mcp: { methods: ['*'] } } })], message(method))).toBe('Deny');
    expect(verdict([allow({ mcp: { methods: ['*'], tools: ['x'] } })], message(method))).toBe(
      method === 'admin/reset' ? 'Deny' : 'Allow',
    );
  });

  it('at a path of its own', () => {
    const one = allow({ paths: ['/a'], mcp: { methods: ['tools/call'], tools: ['*'] } });
    expect(verdict([one], message('tools/call', 'x', {}, '/a'))).toBe('Allow');
    expect(verdict([one], message('tools/call', 'x', {}, '/b'))).toBe('Deny');
    expect(verdict([one], message('initialize', '', undefined, '/b'))).toBe('Deny');
    expect(scope([one]).offersTool('/b', 'x')).toBe(false);
  });

  it('is judged on arguments', () => {
    const small = mcp({ methods: ['tools/call'], tools: ['refund'] }, { when: 'command.mcp.arguments.amount <= 50' });
    expect(verdict([small], message('tools/call', 'refund', { amount: 50 }))).toBe('Allow');
    expect(verdict([small], message('tools/call', 'refund', { amount: 51 }))).toBe('Deny');
    expect(verdict([small], message('tools/call', 'refund', {}))).toBe('Deny');
    expect(verdict([small], message('tools/call', 'refund'))).toBe('Deny');
    expect(scope([small]).offersTool('/mcp', 'refund')).toBe(true);
    const people = hold('big', {
      http: { mcp: { tools: ['refund'] } },
      when: 'command.mcp.arguments.amount > 20',
    });
    expect(verdict([small, people], message('tools/call', 'refund', { amount: 20 }))).toBe('Allow');
    expect(verdict([small, people], message('tools/call', 'refund', { amount: 21 }))).toBe('RequireApproval');
    expect(decide([small], message('tools/call', 'refund', { amount: 1 })).reuse).toBe('never');
  });

  it('tools that a rule takes away are not offered, unless it looks at more than their names', () => {
    const all = mcp({ methods: ['*'], tools: ['*'] });
    const no = (rest: Partial<RuleSpec> = {}) => deny('no', { http: { mcp: { tools: ['delete_*'] } }, ...rest });
    expect(scope([all, no()]).offersTool('/mcp', 'delete_x')).toBe(false);
    expect(scope([all, no({ when: 'command.mcp.arguments.all' })]).offersTool('/mcp', 'delete_x')).toBe(true);
    expect(scope([all, no()]).offersTool('/mcp', 'read')).toBe(true);
    expect(verdict([all, no()], message('tools/call', 'delete_x'))).toBe('Deny');
    expect(verdict([all, no()], message('resources/read'))).toBe('Allow');
  });

  it('of a batch every message is judged', () => {
    const [a, b] = [message('tools/call', 'read', {}), message('tools/call', 'delete', {})];
    const batch: HttpCommand = {
      ...a,
      statements: [...a.statements, ...b.statements],
      tuples: [...a.tuples, ...b.tuples.map((tuple) => ({ ...tuple, statement: 1 }))],
    };
    expect(verdict([search], a)).toBe('Allow');
    expect(verdict([search], batch)).toBe('Deny');
    expect(decide([search], batch).denied).toBe('tools/call of delete at /mcp');
  });
});

describe('words', () => {
  it('say what was denied and what is allowed', () => {
    const decision = decide([allow({ methods: ['GET'], paths: ['/v1/**'] })], sent('POST', '/v1/refunds'));
    expect(decision.denied).toBe('POST /v1/refunds');
    expect(decision.hint).toBe('Allowed here: GET of /v1/** (rule shop/p/allow).');
    expect(decide([allow({ mcp: { methods: ['tools/call'], tools: ['a'] } })], sent('GET', '/')).hint).toBe(
      'Allowed here: tools/call of a (rule shop/p/allow).',
    );
  });
});
