import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { AccessConnection, AccessPolicy } from '../api/resources.ts';
import type { Command, HttpCommand, KubernetesCommand } from './command.ts';
import type { Decision } from './decision.ts';
import type { KubernetesEffect } from './kubernetes/commands.ts';
import type { RuleSpec } from './rule.ts';
import { context, guardrail, mask, policy, scopeOf } from './testing/build.ts';
import { httpConnection, message, sent } from './testing/http.ts';
import { asked, execOf, kubernetesConnection, url } from './testing/kubernetes.ts';

/** The same properties as for SQL (properties.test.ts), over rules and commands of Kubernetes and of HTTP. */

type Rule = Omit<RuleSpec, 'name'>;
type Lists = Pick<Rule, 'kubernetes' | 'http'>;

const some = <T>(values: readonly T[]): fc.Arbitrary<T[]> =>
  fc.uniqueArray(fc.constantFrom(...values), { minLength: 1, maxLength: 3 });
/** Some of the lists, as a rule that takes away may have them. */
const partly = <T extends object>(full: fc.Arbitrary<T>, names: readonly (keyof T)[]): fc.Arbitrary<Partial<T>> =>
  fc
    .tuple(full, fc.subarray([...names]))
    .map(([all, kept]) => Object.fromEntries(kept.map((name) => [name, all[name]])) as Partial<T>);

const OPERATIONS = ['Scale', 'ScaleOut', 'ScaleIn', 'Exec', 'ReadSecret', 'ChangeRBAC', 'Opaque'] as const;
const VERBS = ['*', 'get', 'list', 'create', 'patch', 'delete', 'deletecollection'] as const;
const kubernetes = fc.record({
  operations: some(OPERATIONS),
  verbs: some(VERBS),
  resources: some([
    '*',
    '*/*',
    'pods',
    'pods/*',
    'pods/log',
    'secrets',
    'deployments',
    'deployments/scale',
    'namespaces',
  ]),
  apiGroups: some(['*', '', 'apps']),
  resourceNames: some(['web', 'db']),
  namespaces: some(['*', 'shop', 'sh*', 'kube-system']),
  commands: some(['**', 'cat *', 'rm **', 'env **', "sh -c 'rm a'"]),
});
type KubernetesLists = NonNullable<Rule['kubernetes']>;
/** As the schema wants it of an Allow. */
const kubernetesAllow: fc.Arbitrary<Lists> = fc
  .tuple(kubernetes, fc.subarray(['operations', 'verbs'] as const, { minLength: 1 }), fc.boolean(), fc.boolean())
  .map(([{ operations, verbs, resources, apiGroups, resourceNames, namespaces, commands }, kinds, grouped, one]) => ({
    kubernetes: {
      namespaces,
      resources,
      ...(kinds.includes('operations') ? { operations, commands } : {}),
      ...(kinds.includes('verbs') ? { verbs } : {}),
      ...(grouped ? { apiGroups } : {}),
      ...(one ? { resourceNames } : {}),
    },
  }));
const urls: fc.Arbitrary<Lists> = fc
  .record({ verbs: some(['*', 'get'] as const), nonResourceURLs: some(['*', '/metrics', '/version']) })
  .map((lists) => ({ kubernetes: lists }));

const scale = (operation: KubernetesEffect['operation'], name = 'web', namespace = 'shop'): KubernetesEffect => ({
  operation,
  group: 'apps',
  resource: 'deployments',
  namespace,
  name,
});
const requests: fc.Arbitrary<KubernetesCommand> = fc.oneof(
  fc
    .tuple(
      fc.constantFrom('get', 'list', 'create', 'patch', 'delete', 'deletecollection'),
      fc.constantFrom(
        'shop/pods/web',
        'shop/pods/web/log',
        'kube-system/pods',
        '/pods',
        '/nodes/n',
        'shop/secrets/db',
        '/secrets',
        'shop/namespaces/shop',
        'shop/deployments/web',
        'shop/deployments/web/scale',
        'shop/rolebindings/db',
        'shop/pods/web/status',
      ),
      fc.constantFrom<readonly KubernetesEffect[]>(
        [],
        [],
        [scale('ScaleOut')],
        [scale('Scale', 'db')],
        [scale('ScaleIn', 'web', 'kube-system')],
      ),
      fc.boolean(),
      fc.constantFrom(undefined, undefined, undefined, 'it is no JSON'),
      fc.constantFrom(undefined, { metadata: { labels: { team: 'a' } } }),
    )
    .map(([verb, target, effects, only, unknown, object]) =>
      asked(verb, target, {
        effects,
        only: only && effects.length > 0,
        ...(unknown === undefined ? {} : { unknown }),
        ...(object === undefined ? {} : { object }),
      }),
    ),
  fc
    .constantFrom(
      ['cat', '/a'],
      ['rm', 'a'],
      ['env', 'rm', 'a'],
      ['sh', '-c', 'cat /a; rm a'],
      ['sh', '-c', 'rm $x'],
      [],
    )
    .map((argv) => execOf(argv)),
  fc.constantFrom('/version', '/apis', '/metrics').map((path) => url(path)),
);

const METHODS = ['*', 'GET', 'HEAD', 'POST', 'DELETE'] as const;
const paths = some(['/**', '/v1/*', '/v1/**', '/v1/refunds', '/V1/x', '/mcp']);
const mcp = fc.record({
  methods: some(['*', 'tools/call', 'resources/read']),
  tools: some(['*', 'read', 're*', 'drop']),
});
const plain = fc.record({ methods: some(METHODS), paths });
const httpAllow: fc.Arbitrary<Lists> = fc.oneof(
  plain.map((http) => ({ http })),
  fc.record({ paths, mcp }).map((http) => ({ http })),
);
const httpCommands: fc.Arbitrary<HttpCommand> = fc.oneof(
  fc
    .tuple(
      fc.constantFrom('GET', 'HEAD', 'POST', 'TRACE'),
      fc.constantFrom('/', '/v1/refunds', '/v1/refunds/', '/V1/Refunds', '/v1/a;b', '/v1/..;/x', '/v1/x/y', '/mcp'),
      fc.constantFrom(undefined, { amount: 1 }, { amount: 100 }),
    )
    .map(([method, path, body]) => sent(method, path, body === undefined ? {} : { body })),
  fc
    .tuple(
      fc.constantFrom('tools/call', 'initialize', 'tools/list', 'resources/read', 'odd'),
      fc.constantFrom('read', 'drop'),
    )
    .map(([method, tool]) => message(method, method === 'tools/call' ? tool : '', { amount: 1 })),
);

interface Protocol {
  readonly connection: (mode: 'Enforce' | 'Observe') => AccessConnection;
  readonly allowed: fc.Arbitrary<Lists>;
  readonly taken: fc.Arbitrary<Lists>;
  readonly commands: fc.Arbitrary<Command>;
  readonly conditions: readonly string[];
  /** Keeps the subject named without granting anything. */
  readonly present: Lists;
}

const PROTOCOLS: readonly (readonly [string, Protocol])[] = [
  [
    'Kubernetes',
    {
      connection: (mode) => kubernetesConnection('cluster', { mode }),
      allowed: fc.oneof({ weight: 5, arbitrary: kubernetesAllow }, urls),
      taken: fc.oneof(
        {
          weight: 5,
          arbitrary: partly<KubernetesLists>(kubernetes, [
            'operations',
            'verbs',
            'resources',
            'apiGroups',
            'resourceNames',
            'namespaces',
          ]).map((lists) => ({ kubernetes: lists })),
        },
        urls,
        fc.constant({}),
      ),
      commands: requests,
      conditions: ['command.kubernetes.name == "web"', 'command.kubernetes.object.metadata.labels.team == "a"'],
      present: { kubernetes: { verbs: ['get'], resources: ['nothing'], namespaces: ['none'] } },
    },
  ],
  [
    'HTTP',
    {
      connection: (mode) => httpConnection('cluster', { mode }),
      allowed: httpAllow,
      taken: fc.oneof(
        partly(plain, ['methods', 'paths']).map((http) => ({ http })),
        fc.record({ mcp: partly(mcp, ['methods', 'tools']) }).map((http) => ({ http })),
        fc.constant({}),
      ),
      commands: httpCommands,
      conditions: [
        'command.http.method == "POST"',
        'command.http.body.amount > 10',
        'command.mcp.arguments.amount == 1',
      ],
      present: { http: { methods: ['GET'], paths: ['/none'] } },
    },
  ],
];

const named = (all: readonly Rule[]): RuleSpec[] => all.map((one, index) => ({ name: `r${index}`, ...one }));
const RANK = { Deny: 0, RequireApproval: 1, Allow: 2 } as const;
const strict = ({ verdict, observed }: Decision): number => RANK[observed ?? verdict];
const RUNS = { numRuns: 250 };

describe.each(PROTOCOLS)('for any policies and any command of %s', (_, protocol) => {
  const when = fc.option(fc.constantFrom(...protocol.conditions, 'now.getHours() > 11', 'not valid ('), {
    nil: undefined,
  });
  const allowRule = fc.tuple(protocol.allowed, when, fc.boolean()).map(
    ([lists, condition, approval]): Rule => ({
      effect: 'Allow',
      ...lists,
      ...(condition === undefined ? {} : { when: condition }),
      ...(approval ? { approval: {} } : {}),
    }),
  );
  const narrowingRule = fc
    .tuple(fc.constantFrom('Deny' as const, 'RequireApproval' as const), protocol.taken, when)
    .map(
      ([effect, lists, condition]): Rule => ({
        effect,
        ...lists,
        ...(condition === undefined ? {} : { when: condition }),
      }),
    );
  const rules = fc.array(fc.oneof(allowRule, narrowingRule), { maxLength: 6 });
  const setting = fc.record({
    mode: fc.constantFrom('Enforce' as const, 'Observe' as const),
    masked: fc.boolean(),
    hour: fc.integer({ min: 10, max: 14 }),
  });
  type Setting = { mode: 'Enforce' | 'Observe'; masked: boolean; hour: number };

  function decide(policies: readonly AccessPolicy[], command: Command, { mode, masked, hour }: Setting): Decision {
    const maskingRules = masked ? [mask('m', { fields: [{ match: ['**.email'] }] })] : [];
    const scope = scopeOf({ connections: [protocol.connection(mode)], policies, maskingRules }, undefined, 'cluster');
    return scope.decide(command, context(`2026-03-04T${hour}:00:00Z`));
  }

  it('the order of policies, rules and tuples changes nothing', () => {
    fc.assert(
      fc.property(rules, rules, protocol.commands, setting, (a, b, command, where) => {
        const forth = decide([policy('a', named(a)), policy('b', named(b))], command, where);
        const back = [policy('b', named(b).toReversed()), policy('a', named(a).toReversed())];
        const other = decide(back, { ...command, tuples: command.tuples.toReversed() } as Command, where);
        for (const member of ['verdict', 'observed', 'limits', 'requirements', 'rules', 'reuse'] as const) {
          expect(other[member]).toEqual(forth[member]);
        }
      }),
      RUNS,
    );
  });

  it('adding an Allow never narrows, so removing one never widens', () => {
    fc.assert(
      fc.property(rules, allowRule, protocol.commands, setting, (given, more, command, where) => {
        const without = decide([policy('a', named(given))], command, where);
        const withIt = decide([policy('a', named(given)), policy('b', named([more]))], command, where);
        expect(strict(withIt)).toBeGreaterThanOrEqual(strict(without));
        expect(RANK[withIt.verdict]).toBeGreaterThanOrEqual(RANK[without.verdict]);
      }),
      RUNS,
    );
  });

  it('adding a Deny, a RequireApproval or a mask never widens', () => {
    fc.assert(
      fc.property(
        rules,
        narrowingRule,
        protocol.commands,
        setting,
        fc.boolean(),
        (given, more, command, where, guard) => {
          const base = [policy('a', named([...given, { effect: 'Allow', ...protocol.present }])), policy('c', [])];
          const added = guard ? guardrail('b', named([more])) : policy('b', named([more]));
          const without = decide(base, command, { ...where, masked: false });
          const withIt = decide([...base, added], command, where);
          expect(strict(withIt)).toBeLessThanOrEqual(strict(without));
          expect(RANK[withIt.verdict]).toBeLessThanOrEqual(RANK[without.verdict]);
        },
      ),
      RUNS,
    );
  });

  it('nothing is allowed without an Allow rule, and a guardrail is none', () => {
    fc.assert(
      fc.property(fc.array(narrowingRule), rules, protocol.commands, setting, (narrowing, ofGuard, command, where) => {
        const policies = [policy('a', named(narrowing)), guardrail('g', named(ofGuard))];
        expect(decide(policies, command, { ...where, mode: 'Enforce' }).verdict).toBe('Deny');
      }),
      RUNS,
    );
  });

  it('every part of an allowed command is covered on its own', () => {
    fc.assert(
      fc.property(rules, protocol.commands, setting, (given, command, where) => {
        const policies = [policy('a', named(given))];
        const strictly = { ...where, mode: 'Enforce' as const };
        if (decide(policies, command, strictly).verdict !== 'Allow') return;
        for (const tuple of command.tuples) {
          expect(decide(policies, { ...command, tuples: [tuple] } as Command, strictly).verdict).toBe('Allow');
        }
      }),
      RUNS,
    );
  });
});

describe('for any policies of Kubernetes', () => {
  const wildcards = fc
    .record({
      verbs: some(['*', 'get', 'list', 'create', 'patch', 'delete'] as const),
      resources: some(['*', '*/*', 'pods/*']),
      namespaces: some(['*', 'shop']),
    })
    .map((lists): Rule => ({ effect: 'Allow', kubernetes: lists }));

  it('what may be granted by name only is in no wildcard', () => {
    const explicit = fc.constantFrom<KubernetesCommand>(
      asked('get', 'shop/secrets/db'),
      asked('list', '/secrets'),
      asked('patch', 'shop/secrets/db'),
      asked('create', 'shop/secrets/db'),
      asked('deletecollection', 'shop/pods'),
      asked('get', 'shop/pods/web/exec', {}, { argv: ['id'] }),
      asked('create', 'shop/pods/web/portforward'),
      asked('get', 'shop/pods/web/proxy'),
      asked('update', 'shop/deployments/web/scale'),
      asked('patch', 'shop/deployments/web', { effects: [scale('ScaleOut')] }),
      asked('update', 'shop/pods/web/status'),
      asked('create', 'shop/rolebindings/db'),
      asked('create', 'shop/serviceaccounts/db/token'),
      asked('get', 'shop/pods/web', { unknown: 'it is no JSON' }),
    );
    fc.assert(
      fc.property(fc.array(wildcards, { minLength: 1, maxLength: 5 }), explicit, (given, command) => {
        const scope = scopeOf(
          { connections: [kubernetesConnection()], policies: [policy('a', named(given))] },
          undefined,
          'cluster',
        );
        expect(scope.decide(command, context()).verdict).toBe('Deny');
      }),
      RUNS,
    );
  });
});
