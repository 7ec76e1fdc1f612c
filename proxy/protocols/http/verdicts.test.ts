import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { CompiledConnection, PolicyScope, SessionFacts } from '../../../policy/bundle.ts';
import type { HttpCommand } from '../../../policy/command.ts';
import type { HttpSpec } from '../../../policy/http/match.ts';
import type { RuleSpec } from '../../../policy/rule.ts';
import { agent, compiled, policy } from '../../../policy/testing/build.ts';
import { HOST, httpConnection, message } from '../../../policy/testing/http.ts';
import type { AskedRequest } from './port.ts';
import { createVerdict, type Verdict } from './verdict.ts';
import { createVerdicts } from './verdicts.ts';

/** Conditions on what is in the text of a request, and on what is not. */
const CONDITIONS = [
  undefined,
  'command.http.method == "GET"',
  'command.http.path.startsWith("/a")',
  '"q" in command.http.query && command.http.query["q"][0] == "1"',
  'command.text.endsWith("1")',
  'command.http.headers["x-team"] == "blue"',
  'command.http.contentType == "text/plain"',
  'has(command.http.body) && command.http.body == "1"',
  'session.commands > 3',
  'now > timestamp("2026-06-01T00:00:00Z")',
];

type Method = NonNullable<HttpSpec['methods']>[number];

const rule: fc.Arbitrary<RuleSpec> = fc
  .record({
    effect: fc.constantFrom('Allow' as const, 'Allow' as const, 'Deny' as const, 'RequireApproval' as const),
    methods: fc.constantFrom<Method[][]>(['GET'], ['*'], ['POST', 'GET']),
    paths: fc.constantFrom<string[][]>(['/**'], ['/a/*'], ['/b']),
    when: fc.constantFrom(...CONDITIONS),
  })
  .map(({ effect, methods, paths, when }) => ({
    name: 'rule',
    effect,
    http: { methods, paths },
    ...(when === undefined ? {} : { when }),
  }));

/** What the text says. */
interface Line {
  readonly method: string;
  readonly path: string;
  readonly query: string | undefined;
}

interface Sent extends Line {
  readonly team: string;
  readonly type: string;
  readonly body: string;
  readonly commands: number;
  readonly month: number;
}

const line: fc.Arbitrary<Line> = fc.record({
  method: fc.constantFrom('GET', 'POST', 'HEAD'),
  path: fc.constantFrom('/a/x', '/b', '/c'),
  query: fc.constantFrom(undefined, '1', '2'),
});

const rest: fc.Arbitrary<Omit<Sent, keyof Line>> = fc.record({
  team: fc.constantFrom('blue', 'red'),
  type: fc.constantFrom('', 'text/plain'),
  body: fc.constantFrom('1', '2'),
  commands: fc.constantFrom(1, 5),
  month: fc.constantFrom(2, 9),
});

/** Few lines, each of them again and again, with all else different. */
const requests: fc.Arbitrary<readonly Sent[]> = fc
  .tuple(fc.array(line, { minLength: 2, maxLength: 2 }), fc.array(fc.tuple(fc.nat(1), rest), { maxLength: 12 }))
  .map(([lines, sent]) => sent.map(([index, more]) => ({ ...(lines[index] ?? PLAIN), ...more })));

function commandOf({ method, path, query, team, type, body }: Sent): HttpCommand {
  return {
    protocol: 'HTTP',
    text: `${method} https://${HOST}${path}${query === undefined ? '' : `?q=${query}`}`,
    statements: [
      {
        ...{ method, path, host: HOST, headers: { 'x-team': team }, contentType: type, body },
        query: query === undefined ? {} : { q: [query] },
      },
    ],
    tuples: [{ type: 'http', method, host: HOST, path, statement: 0 }],
  };
}

const PLAIN: Sent = {
  method: 'GET',
  path: '/b',
  query: undefined,
  team: '',
  type: '',
  body: '',
  commands: 1,
  month: 2,
};

const factsOf = (commands: number): SessionFacts => ({
  ...{ id: 's', startedAt: new Date(0), clientAddress: '127.0.0.1', applicationName: '', commands },
});

const askedOf = (command: HttpCommand): AskedRequest => ({ text: command.text, command, body: undefined });

function scopeOf(rules: readonly RuleSpec[]): { scope: PolicyScope; connection: CompiledConnection } {
  const named = rules.map((each, index) => ({ ...each, name: `r${index}` }));
  const { bundle } = compiled({ connections: [httpConnection()], policies: [policy('p', named)] });
  const connection = bundle.connection('shop', 'api');
  if (connection === undefined) throw new Error('the test has no connection');
  return { scope: bundle.scope(agent, connection), connection };
}

it('a verdict that is remembered is the one that would be given', () => {
  const seen = { hits: 0 };
  fc.assert(
    fc.property(fc.array(rule, { minLength: 1, maxLength: 4 }), requests, (rules, sent) => {
      const { scope, connection } = scopeOf(rules);
      let at = new Date(0);
      const verdicts = createVerdicts(16, () => at);
      const given = new Set<Verdict>();
      for (const one of sent) {
        at = new Date(Date.UTC(2026, one.month, 1));
        const command = commandOf(one);
        const session = factsOf(one.commands);
        const verdict = verdicts.of(askedOf(command), scope, connection, session);
        if (given.has(verdict)) seen.hits++;
        given.add(verdict);
        const fresh = createVerdict(scope.decide(command, { now: at, session }), connection, () => scope.permissions());
        expect(verdict).toEqual(fresh);
      }
    }),
    { numRuns: 200 },
  );
  expect(seen.hits).toBeGreaterThan(100);
});

it('what a dialect says is decided each time, and long texts are not kept', () => {
  const { scope, connection } = scopeOf([{ name: 'r', effect: 'Allow', http: { methods: ['*'], paths: ['/**'] } }]);
  const verdicts = createVerdicts();
  const of = (asked: AskedRequest): Verdict => verdicts.of(asked, scope, connection, factsOf(1));
  const plain = askedOf(commandOf({ ...PLAIN, path: '/b' }));
  expect(of(plain)).toBe(of(plain));
  const spoken: AskedRequest = { ...askedOf(message('tools/list')), text: plain.text, dialect: {} };
  expect(of(spoken)).not.toBe(of(plain));
  const long = askedOf(commandOf({ ...PLAIN, path: `/${'x'.repeat(2000)}` }));
  expect(of(long)).not.toBe(of(long));
});

it('what is remembered is bounded', () => {
  const { scope, connection } = scopeOf([{ name: 'r', effect: 'Allow', http: { methods: ['*'], paths: ['/**'] } }]);
  const verdicts = createVerdicts(2);
  const of = (path: string): Verdict =>
    verdicts.of(askedOf(commandOf({ ...PLAIN, path })), scope, connection, factsOf(1));
  const first = of('/1');
  of('/2');
  expect(of('/1')).toBe(first);
  of('/3');
  expect(of('/1')).not.toBe(first);
});
