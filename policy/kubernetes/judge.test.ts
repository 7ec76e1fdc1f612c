import { describe, expect, it } from 'vitest';
import type { KubernetesCommand } from '../command.ts';
import type { Decision } from '../decision.ts';
import type { RuleSpec } from '../rule.ts';
import { context, deny, hold, mask, policy } from '../testing/build.ts';
import {
  allowKubernetes as allow,
  asked,
  execOf,
  kubernetesConnection,
  kubernetesScope as scope,
  url,
} from '../testing/kubernetes.ts';
import type { KubernetesEffect } from './commands.ts';

const decide = (rules: readonly RuleSpec[], command: KubernetesCommand): Decision =>
  scope(rules).decide(command, context());
const verdict = (rules: readonly RuleSpec[], command: KubernetesCommand): Decision['verdict'] =>
  decide(rules, command).verdict;

const everything = allow({ verbs: ['*'], resources: ['*'] });
const inShop = (spec: Parameters<typeof allow>[0]): RuleSpec => allow({ namespaces: ['shop'], ...spec });
const web = { group: 'apps', resource: 'deployments', namespace: 'shop', name: 'web' };
const scaled = (
  operation: 'Scale' | 'ScaleOut' | 'ScaleIn',
  rest: Partial<KubernetesEffect> = {},
): KubernetesEffect => ({
  operation,
  ...web,
  ...rest,
});

/** Every way to make more of the same. */
const SCALE_OUT: readonly (readonly [string, KubernetesCommand])[] = [
  ['scale subresource, update', asked('update', 'shop/deployments/web/scale', { effects: [scaled('ScaleOut')] })],
  ['scale subresource, patch', asked('patch', 'shop/deployments/web/scale', { effects: [scaled('ScaleOut')] })],
  ['scale subresource that nobody looked into', asked('patch', 'shop/deployments/web/scale')],
  ['patch of replicas alone', asked('patch', 'shop/deployments/web', { effects: [scaled('ScaleOut')], only: true })],
  ['patch of more', asked('patch', 'shop/deployments/web', { effects: [scaled('ScaleOut')] })],
  ['update', asked('update', 'shop/deployments/web', { effects: [scaled('ScaleOut')] })],
  [
    'apply of what is not there yet',
    asked('patch', 'shop/deployments/web', { effects: [scaled('ScaleOut')], also: ['create'] }),
  ],
  ['create with many', asked('create', 'shop/deployments/web', { effects: [scaled('ScaleOut', { replicas: 50 })] })],
  ['autoscaler', asked('create', 'shop/horizontalpodautoscalers/web', { effects: [scaled('Scale')] })],
  ['change of an autoscaler', asked('patch', 'shop/horizontalpodautoscalers/web', { effects: [scaled('ScaleOut')] })],
];

describe('scaling', () => {
  const may = inShop({
    verbs: ['get', 'create', 'update', 'patch'],
    resources: ['deployments', 'horizontalpodautoscalers'],
  });
  const mayScale = { ...inShop({ operations: ['Scale'] }), name: 'scale' };

  it.each(SCALE_OUT)('has to be approved by whatever route: %s', (_, command) => {
    for (const operations of [['ScaleOut'], ['Scale']] as const) {
      const held = hold('people', { kubernetes: { operations: [...operations] } });
      expect(verdict([may, mayScale], command)).toBe('Allow');
      expect(verdict([may, mayScale, held], command)).toBe('RequireApproval');
    }
    const words: RuleSpec['kubernetes'][] = [
      { operations: ['ScaleOut'], resources: ['deployments'], namespaces: ['shop'] },
      { operations: ['ScaleOut'], resources: ['*/scale'] },
      { operations: ['ScaleOut'], resources: ['deployments/scale'] },
      { operations: ['ScaleOut'], resources: ['deployments'], apiGroups: ['apps'], resourceNames: ['web'] },
      { verbs: ['update', 'patch'], resources: ['deployments/scale'] },
    ];
    for (const kubernetes of words) {
      expect(verdict([may, mayScale, deny('no', kubernetes && { kubernetes })], command)).toBe('Deny');
    }
  });

  it.each(SCALE_OUT)('is no part of a wildcard: %s', (name, command) => {
    // Who may create may say how many.
    expect(verdict([everything], command)).toBe(name === 'create with many' ? 'Allow' : 'Deny');
  });

  it('comes with the operation alone where the request is nothing else', () => {
    for (const command of [
      asked('update', 'shop/deployments/web/scale', { effects: [scaled('ScaleIn')] }),
      asked('patch', 'shop/deployments/web/scale'),
      asked('get', 'shop/deployments/web/scale'),
      asked('patch', 'shop/deployments/web', { effects: [scaled('ScaleOut')], only: true }),
    ]) {
      expect(verdict([mayScale], command)).toBe('Allow');
      expect(verdict([inShop({ operations: ['Scale'], resources: ['statefulsets'] })], command)).toBe('Deny');
    }
    expect(verdict([mayScale], asked('patch', 'shop/deployments/web', { effects: [scaled('ScaleOut')] }))).toBe('Deny');
    expect(verdict([mayScale], asked('get', 'shop/deployments/web'))).toBe('Deny');
    expect(verdict([mayScale], asked('update', 'pay/deployments/web/scale'))).toBe('Deny');
  });

  it('is part of making something anew, by apply too, but rules about it count', () => {
    const made = asked('patch', 'shop/deployments/web', {
      effects: [scaled('ScaleOut', { replicas: 3, previousReplicas: 0 })],
      also: ['create'],
    });
    expect(verdict([may], made)).toBe('Allow');
    expect(verdict([may, hold('people', { kubernetes: { operations: ['ScaleOut'] } })], made)).toBe('RequireApproval');
    expect(verdict([inShop({ verbs: ['patch'], resources: ['deployments'] })], made)).toBe('Deny');
    const woken = asked('patch', 'shop/deployments/web', {
      effects: [scaled('ScaleOut', { replicas: 3, previousReplicas: 0 })],
    });
    expect(verdict([may], woken)).toBe('Deny');
  });

  it('in one direction is not scaling in the other, and an unknown direction is both', () => {
    const command = (operation: 'Scale' | 'ScaleOut' | 'ScaleIn') =>
      asked('patch', 'shop/deployments/web/scale', { effects: [scaled(operation)] });
    const only = (...operations: ('Scale' | 'ScaleOut' | 'ScaleIn')[]) => [inShop({ operations })];
    expect(verdict(only('ScaleIn'), command('ScaleIn'))).toBe('Allow');
    expect(verdict(only('ScaleIn'), command('ScaleOut'))).toBe('Deny');
    expect(verdict(only('ScaleIn'), command('Scale'))).toBe('Deny');
    expect(verdict(only('ScaleOut'), command('Scale'))).toBe('Deny');
    expect(verdict(only('ScaleOut', 'ScaleIn'), command('Scale'))).toBe('Allow');
    const closed = deny('no', { kubernetes: { operations: ['ScaleIn'] } });
    expect(verdict([...only('Scale'), closed], command('ScaleOut'))).toBe('Allow');
    expect(verdict([...only('Scale'), closed], command('Scale'))).toBe('Deny');
  });

  it('is judged on how many, and fails closed where that is not known', () => {
    const few = { ...inShop({ operations: ['Scale'] }), when: 'command.kubernetes.replicas <= 5' };
    const to = (replicas?: number) =>
      asked('patch', 'shop/deployments/web/scale', {
        effects: [scaled('ScaleOut', replicas === undefined ? {} : { replicas, previousReplicas: 1 })],
      });
    expect(verdict([few], to(5))).toBe('Allow');
    expect(verdict([few], to(6))).toBe('Deny');
    expect(verdict([few], to())).toBe('Deny');
    const many = hold('many', {
      kubernetes: { operations: ['ScaleOut'] },
      when: 'command.kubernetes.replicas > 2 * command.kubernetes.previousReplicas',
    });
    expect(verdict([few, many], to(2))).toBe('Allow');
    expect(verdict([few, many], to(3))).toBe('RequireApproval');
  });
});

describe('delete namespace', () => {
  const guard = deny('no', { kubernetes: { verbs: ['delete', 'deletecollection'], resources: ['namespaces'] } });
  const may = allow({ verbs: ['get', 'delete', 'deletecollection'], resources: ['namespaces', 'pods'] });
  it.each([
    ['delete', asked('delete', 'shop/namespaces/shop')],
    ['deletecollection', asked('deletecollection', '/namespaces')],
    ['with nothing but delete forbidden', asked('delete', 'shop/namespaces/shop')],
  ])('is denied by one rule: %s', (_, command) => {
    expect(verdict([may], command)).toBe('Allow');
    expect(verdict([may, guard], command)).toBe('Deny');
    expect(verdict([may, deny('no', { kubernetes: { verbs: ['delete'], resources: ['namespaces'] } })], command)).toBe(
      'Deny',
    );
  });

  it('leaves everything else', () => {
    expect(verdict([may, guard], asked('get', 'shop/namespaces/shop'))).toBe('Allow');
    expect(verdict([may, guard], asked('delete', 'shop/pods/web-1'))).toBe('Allow');
  });
});

describe('what no wildcard grants', () => {
  it.each([
    ['create', 'shop/pods/web/proxy'],
    ['get', 'shop/services/web/proxy'],
    ['get', '/nodes/n1/proxy'],
    ['patch', 'shop/pods/web/status'],
    ['get', 'shop/deployments/web/scale'],
    ['deletecollection', 'shop/pods'],
    ['create', 'shop/secrets/s'],
    ['update', 'shop/secrets/s'],
    ['update', '/certificatesigningrequests/c/approval'],
    ['create', '/validatingwebhookconfigurations/w'],
    ['delete', '/customresourcedefinitions/c'],
    ['patch', '/apiservices/a'],
    ['create', 'shop/pods/web/binding'],
    ['patch', 'shop/accesspolicies/agents'],
    ['', 'shop/pods/web'],
    ['escalate', '/clusterroles/admin'],
  ])('%s %s', (verb, target) => {
    const command = asked(verb, target);
    const [, resource = '', , subresource] = target.split('/');
    const named = subresource === undefined ? resource : `${resource}/${subresource}`;
    const verbs = (...list: string[]) => list as NonNullable<Parameters<typeof allow>[0]['verbs']>;
    expect(verdict([everything], command)).toBe('Deny');
    expect(verdict([allow({ verbs: ['*'], resources: [named, '*/*', '*'] })], command)).toBe('Deny');
    expect(verdict([allow({ verbs: verbs(verb), resources: ['*', '*/*', `${resource}/*`] })], command)).toBe('Deny');
    expect(verdict([allow({ verbs: verbs(verb), resources: [named] })], command)).toBe('Allow');
    expect(decide([everything], command).message).toContain('names verb and resource');
    // Rules that take away read wildcards as they stand.
    const given = allow({ verbs: verbs(verb), resources: [named] });
    expect(verdict([given, deny('no', { kubernetes: { verbs: ['*'], resources: ['*'] } })], command)).toBe('Deny');
    expect(verdict([given, hold('no', { kubernetes: { resources: ['*'] } })], command)).toBe('RequireApproval');
  });

  it.each([
    ['get', 'shop/secrets/s', 'ReadSecret'],
    ['list', 'shop/secrets', 'ReadSecret'],
    ['watch', '/secrets', 'ReadSecret'],
    ['create', 'shop/pods/web/portforward', 'PortForward'],
    ['get', 'shop/pods/web/portforward', 'PortForward'],
    ['create', 'shop/pods/web/eviction', 'Evict'],
    ['create', 'shop/serviceaccounts/web/token', 'Impersonate'],
    ['create', 'shop/rolebindings/b', 'ChangeRBAC'],
    ['patch', '/clusterroles/b', 'ChangeRBAC'],
    ['deletecollection', 'shop/rolebindings', 'ChangeRBAC'],
  ] as const)('%s %s, which only the operation %s grants', (verb, target, operation) => {
    const command = asked(verb, target);
    const [, resource = '', , subresource] = target.split('/');
    const named = subresource === undefined ? resource : `${resource}/${subresource}`;
    expect(verdict([everything], command)).toBe('Deny');
    expect(verdict([allow({ verbs: [verb], resources: [named] })], command)).toBe('Deny');
    expect(decide([everything], command).message).toContain(`operation ${operation}`);
    expect(verdict([allow({ operations: [operation] })], command)).toBe('Allow');
    expect(verdict([allow({ operations: [operation], resources: [resource] })], command)).toBe('Allow');
    expect(verdict([allow({ operations: [operation], resources: ['pods/log', 'nodes'] })], command)).toBe('Deny');
    const closed = (kubernetes: NonNullable<RuleSpec['kubernetes']>) =>
      verdict([allow({ operations: [operation] }), deny('no', { kubernetes })], command);
    expect(closed({ operations: [operation] })).toBe('Deny');
    expect(closed({ verbs: [verb], resources: [named] })).toBe('Deny');
    expect(closed({ verbs: ['*'], resources: ['*'] })).toBe('Deny');
    expect(closed({ namespaces: ['*'] })).toBe('Deny');
    expect(closed({ operations: ['Exec'] })).toBe('Allow');
  });

  it('a pod that reaches beyond itself needs its operation too', () => {
    const command = asked('create', 'shop/pods/p', {
      effects: [
        { operation: 'PrivilegedPod', group: '', resource: 'pods', namespace: 'shop', name: 'p' },
        { operation: 'UseServiceAccount', group: '', resource: 'serviceaccounts', namespace: 'shop', name: 'deployer' },
      ],
    });
    const create = inShop({ verbs: ['create'], resources: ['pods'] });
    const privileged = inShop({ operations: ['PrivilegedPod'] });
    const as = inShop({
      operations: ['UseServiceAccount'],
      resources: ['serviceaccounts'],
      resourceNames: ['deployer'],
    });
    expect(verdict([create], asked('create', 'shop/pods/p'))).toBe('Allow');
    expect(verdict([everything], command)).toBe('Deny');
    expect(verdict([create, privileged], command)).toBe('Deny');
    expect(verdict([create, as], command)).toBe('Deny');
    expect(verdict([create, privileged, as], command)).toBe('Allow');
    // The account is used, not created.
    const guard = deny('no', { kubernetes: { verbs: ['create'], resources: ['serviceaccounts'] } });
    expect(verdict([create, privileged, as, guard], command)).toBe('Allow');
  });
});

describe('secrets', () => {
  it('are read by whoever gets them back', () => {
    const writes = allow({
      verbs: ['create', 'update', 'patch', 'delete', 'deletecollection'],
      resources: ['secrets'],
    });
    const reads = { ...allow({ operations: ['ReadSecret'] }), name: 'read' };
    for (const [verb, target] of [
      ['patch', 'shop/secrets/s'],
      ['delete', 'shop/secrets/s'],
      ['deletecollection', 'shop/secrets'],
    ] as const) {
      expect(verdict([writes], asked(verb, target))).toBe('Deny');
      expect(verdict([reads], asked(verb, target))).toBe('Deny');
      expect(verdict([writes, reads], asked(verb, target))).toBe('Allow');
    }
    expect(verdict([writes], asked('create', 'shop/secrets/s'))).toBe('Allow');
    expect(verdict([writes], asked('update', 'shop/secrets/s'))).toBe('Allow');
  });

  it('of all namespaces are those of each', () => {
    const reads = allow({ operations: ['ReadSecret'] });
    const system = deny('no', { kubernetes: { operations: ['ReadSecret'], namespaces: ['kube-system'] } });
    expect(verdict([reads, system], asked('list', 'kube-system/secrets'))).toBe('Deny');
    expect(verdict([reads, system], asked('list', '/secrets'))).toBe('Deny');
    expect(verdict([reads, system], asked('list', 'shop/secrets'))).toBe('Allow');
    expect(verdict([inShop({ operations: ['ReadSecret'] })], asked('list', '/secrets'))).toBe('Deny');
  });

  it('are shown by a list as by a get', () => {
    const reads = allow({ operations: ['ReadSecret'] });
    const guard = deny('no', { kubernetes: { verbs: ['get'], resources: ['secrets'], resourceNames: ['root'] } });
    for (const [verb, target] of [
      ['get', 'shop/secrets/root'],
      ['list', 'shop/secrets'],
      ['watch', '/secrets'],
    ] as const) {
      expect(verdict([reads, guard], asked(verb, target))).toBe('Deny');
    }
    expect(verdict([reads, guard], asked('get', 'shop/secrets/other'))).toBe('Allow');
  });
});

describe('lists mean what they mean in RBAC', () => {
  it.each([
    ['pods', 'get', 'shop/pods/a', true],
    ['pods', 'get', 'shop/pods/a/log', false],
    ['pods/log', 'get', 'shop/pods/a/log', true],
    ['pods/log', 'get', 'shop/pods/a', false],
    ['pods/*', 'get', 'shop/pods/a/log', true],
    ['pods/*', 'get', 'shop/pods/a', false],
    ['*/log', 'get', 'shop/pods/a/log', true],
    ['*', 'get', 'shop/pods/a/log', true],
    ['*', 'list', 'shop/deployments', true],
    ['*', 'list', '/deployments', false],
    ['*', 'get', 'other/pods/a', false],
    ['*', 'get', '/nodes/n', false],
  ])('resources %s and %s %s', (resource, verb, target, covered) => {
    expect(verdict([inShop({ verbs: ['get', 'list'], resources: [resource] })], asked(verb, target))).toBe(
      covered ? 'Allow' : 'Deny',
    );
  });

  it('in groups, names and namespaces', () => {
    const one = (spec: Parameters<typeof allow>[0], command: KubernetesCommand) =>
      verdict([allow({ verbs: ['*'], resources: ['*'], ...spec })], command);
    expect(one({ apiGroups: ['apps'] }, asked('get', 'shop/deployments/a'))).toBe('Allow');
    expect(one({ apiGroups: [''] }, asked('get', 'shop/deployments/a'))).toBe('Deny');
    expect(one({ resourceNames: ['a'] }, asked('get', 'shop/pods/a'))).toBe('Allow');
    expect(one({ resourceNames: ['a'] }, asked('get', 'shop/pods/b'))).toBe('Deny');
    expect(one({ resourceNames: ['a'] }, asked('list', 'shop/pods'))).toBe('Deny');
    expect(one({ namespaces: ['shop-*'] }, asked('get', 'shop-1/pods/a'))).toBe('Allow');
    expect(one({ namespaces: ['shop-*'] }, asked('get', '/nodes/a'))).toBe('Deny');
  });

  it('and a rule that takes away reaches what it may be about', () => {
    const closed = (kubernetes: NonNullable<RuleSpec['kubernetes']>, command: KubernetesCommand) =>
      verdict(
        [
          allow({ verbs: ['create', 'deletecollection', 'get', 'list'], resources: ['pods', 'nodes', 'widgets'] }),
          deny('no', { kubernetes }),
        ],
        command,
      );
    // The name is not known yet, or there are many.
    expect(closed({ resourceNames: ['a'] }, asked('create', 'shop/pods'))).toBe('Deny');
    expect(closed({ resourceNames: ['a'] }, asked('create', 'shop/pods/b'))).toBe('Allow');
    expect(closed({ resourceNames: ['a'] }, asked('deletecollection', 'shop/pods'))).toBe('Deny');
    expect(closed({ namespaces: ['kube-system'] }, asked('list', '/pods'))).toBe('Deny');
    expect(closed({ namespaces: ['kube-system'] }, asked('list', '/widgets'))).toBe('Deny');
    expect(closed({ namespaces: ['kube-system'] }, asked('list', '/nodes'))).toBe('Allow');
    expect(closed({ namespaces: ['kube-system'] }, asked('list', 'shop/pods'))).toBe('Allow');
  });

  it('a rule with operations and verbs is about both', () => {
    const both = inShop({ operations: ['ReadSecret'], verbs: ['get'], resources: ['pods', 'secrets'] });
    expect(verdict([both], asked('get', 'shop/pods/a'))).toBe('Allow');
    expect(verdict([both], asked('get', 'shop/secrets/a'))).toBe('Allow');
    expect(verdict([both], asked('list', 'shop/pods'))).toBe('Deny');
    const kubernetes = { operations: ['ReadSecret'], verbs: ['get'] } as NonNullable<RuleSpec['kubernetes']>;
    const reads = allow({ verbs: ['get', 'list'], resources: ['pods'] });
    expect(verdict([reads, deny('no', { kubernetes })], asked('get', 'shop/pods/a'))).toBe('Deny');
    expect(verdict([reads, deny('no', { kubernetes })], asked('list', 'shop/pods'))).toBe('Allow');
  });
});

describe('what needs no rule', () => {
  const pods = inShop({ verbs: ['get'], resources: ['pods'] });
  it.each([
    '/',
    '/api',
    '/api/v1',
    '/apis',
    '/apis/apps/v1',
    '/version',
    '/version/',
    '/openapi/v3',
    '/openapi/v2',
    '/readyz',
    '/healthz/etcd',
    '/livez',
  ])('%s', (path) => {
    expect(verdict([pods], url(path))).toBe('Allow');
    expect(verdict([pods], url(path, 'post'))).toBe('Deny');
    expect(verdict([], url(path))).toBe('Deny');
    const held = [hold('all'), hold('some', { kubernetes: { verbs: ['*'] } })];
    expect(verdict([pods, ...held], url(path))).toBe('Allow');
    expect(verdict([pods, deny('no', { kubernetes: { nonResourceURLs: ['*'] } })], url(path))).toBe('Deny');
    expect(verdict([pods, deny('no', { kubernetes: { namespaces: ['*'], verbs: ['*'] } })], url(path))).toBe('Allow');
  });

  it('asking about oneself', () => {
    const review = asked('create', '/selfsubjectaccessreviews');
    expect(verdict([pods], review)).toBe('Allow');
    expect(verdict([pods, hold('creates', { kubernetes: { verbs: ['create'] } })], review)).toBe('Allow');
    expect(verdict([pods], { ...review, tuples: review.tuples.map((tuple) => ({ ...tuple, group: '' })) })).toBe(
      'Deny',
    );
  });

  it.each(['/metrics', '/logs/kube-apiserver.log', '/debug/pprof', '/apisx', '/versions'])('but %s does', (path) => {
    expect(verdict([pods, everything], url(path))).toBe('Deny');
    const given = (...nonResourceURLs: string[]): RuleSpec => ({
      name: 'urls',
      effect: 'Allow',
      kubernetes: { verbs: ['get'], nonResourceURLs },
    });
    expect(verdict([given(path)], url(path))).toBe('Allow');
    expect(verdict([given('*')], url(path))).toBe('Allow');
    expect(verdict([given(`${path.slice(0, 4)}*`)], url(path))).toBe('Allow');
    expect(verdict([given(`${path}/*`)], url(path))).toBe('Deny');
    expect(verdict([given(path)], url(path, 'post'))).toBe('Deny');
  });
});

describe('exec', () => {
  const may = (...commands: string[]): RuleSpec => inShop({ operations: ['Exec'], resources: ['pods'], commands });
  it.each([
    [['cat /etc/hosts'], ['cat', '/etc/hosts'], true],
    [['cat /etc/*'], ['cat', '/etc/hosts'], true],
    [['cat /etc/*'], ['cat', '/etc/../root/key'], false],
    [['cat *'], ['cat', '-n'], false],
    [['cat **'], ['cat', 'a', 'b'], true],
    [['**'], ['sh'], false],
    [['sh'], ['sh'], true],
    [['cat /a', 'ls /b'], ['sh', '-c', 'cat /a && ls /b'], true],
    [['cat /a'], ['sh', '-c', 'cat /a && ls /b'], false],
    [['cat /a'], ['/bin/bash', '-ec', 'cat /a'], true],
    [['cat /a'], ['bash', '-lc', 'cat /a'], false],
    [['**'], ['sh', '-c', 'cat $HOME'], false],
    [['**'], ['sh', '-c', 'cat /a > /b'], false],
    [["sh -c 'cat $HOME'"], ['sh', '-c', 'cat $HOME'], true],
    [["sh -c 'cat /a'"], ['sh', '-c', 'cat /a'], true],
    [['sh -c *'], ['sh', '-c', 'env rm /a'], true],
    [['**'], ['sh', '-c', 'env rm /a'], false],
    [['cat /a'], [], false],
    [['**'], [], true],
  ])('commands %j and %j', (commands, argv, covered) => {
    expect(verdict([may(...commands)], execOf(argv))).toBe(covered ? 'Allow' : 'Deny');
  });

  it('is the same over GET, for attach and for a debug container', () => {
    const rules = [may('cat /a')];
    expect(verdict(rules, asked('get', 'shop/pods/w/exec', {}, { argv: ['cat', '/a'] }))).toBe('Allow');
    expect(verdict([may('**')], asked('create', 'shop/pods/w/attach'))).toBe('Allow');
    expect(verdict(rules, asked('create', 'shop/pods/w/attach'))).toBe('Deny');
    const debug = (argv: string[]) =>
      asked('patch', 'shop/pods/w/ephemeralcontainers', {
        effects: [
          { operation: 'Exec', group: '', resource: 'pods', namespace: 'shop', name: 'w', container: 'd', argv },
        ],
      });
    expect(verdict(rules, debug(['cat', '/a']))).toBe('Allow');
    expect(verdict(rules, debug(['rm', '/a']))).toBe('Deny');
    expect(verdict([everything, rules[0] ?? everything], asked('patch', 'shop/pods/w/ephemeralcontainers'))).toBe(
      'Deny',
    );
  });

  it('is hit by what takes it away', () => {
    const rules = (kubernetes: NonNullable<RuleSpec['kubernetes']>, message?: string) => [
      may('**', 'env **', 'sh **'),
      deny('no', { kubernetes, ...(message === undefined ? {} : { message }) }),
    ];
    const rm = { operations: ['Exec'], commands: ['rm **'] } as NonNullable<RuleSpec['kubernetes']>;
    expect(verdict(rules(rm), execOf(['cat', '/a']))).toBe('Allow');
    for (const argv of [
      ['rm', '-rf', '/a'],
      ['/bin/rm', '/a'],
      ['env', 'rm', '/a'],
      ['sh', '-c', 'cat /a; rm /b'],
      ['sh', '-c', 'rm $X'],
      [],
    ]) {
      expect(verdict(rules(rm), execOf(argv))).toBe('Deny');
    }
    for (const verb of ['create', 'get'] as const) {
      const byVerb = rules({ verbs: [verb], resources: ['pods/exec'] });
      for (const sent of ['create', 'get']) {
        expect(verdict(byVerb, asked(sent, 'shop/pods/w/exec', {}, { argv: ['cat'] }))).toBe('Deny');
      }
    }
    expect(verdict(rules({ operations: ['Exec'], resources: ['pods/attach'] }), execOf(['cat']))).toBe('Allow');
  });

  it('through a wrapper that no rule names is opaque: every Deny rule hits it', () => {
    const other = deny('no', {
      kubernetes: { verbs: ['delete'], resources: ['namespaces'] },
      message: 'no namespaces',
    });
    const rules = [inShop({ operations: ['Exec', 'Opaque'], commands: ['cat *'] })];
    expect(verdict(rules, execOf(['env', 'cat']))).toBe('Allow');
    const decision = decide([...rules, other], execOf(['env', 'cat']));
    expect(decision.verdict).toBe('Deny');
    expect(decision.message).toContain('cannot be seen');
    expect(verdict([may('env **'), other], execOf(['env', 'cat']))).toBe('Allow');
  });
});

describe('what was not understood', () => {
  const unknown = asked('patch', 'shop/deployments/web', { unknown: 'it is no JSON' });
  const may = inShop({ verbs: ['patch'], resources: ['deployments'], operations: ['Opaque'] });
  it('is covered by its name only', () => {
    expect(verdict([everything], unknown)).toBe('Deny');
    expect(decide([everything], unknown).message).toContain('it is no JSON');
    expect(verdict([may], unknown)).toBe('Allow');
    expect(verdict([inShop({ operations: ['Opaque'], resources: ['pods'] }), everything], unknown)).toBe('Deny');
  });
  it('is hit by every rule, whatever it is about', () => {
    for (const rest of [
      { kubernetes: { operations: ['Evict' as const] } },
      { kubernetes: { nonResourceURLs: ['/metrics'] } },
      { kubernetes: { namespaces: ['other'] }, when: 'command.kubernetes.name == "x"' },
    ]) {
      expect(verdict([may, deny('no', rest)], unknown)).toBe('Deny');
      expect(verdict([may, hold('no', rest)], unknown)).toBe('RequireApproval');
    }
  });
  it('never passes where something is masked', () => {
    const masked = (spec: Parameters<typeof mask>[1]) =>
      kubernetesScopeOf([may], spec).decide(unknown, context()).verdict;
    expect(masked({ fields: [{ match: ['data.*'] }] })).toBe('Deny');
    expect(masked({ content: [{ detectors: ['Email'] }] })).toBe('Deny');
    expect(masked({ columns: [{ match: ['*.*.email'] }] })).toBe('Allow');
  });
  const kubernetesScopeOf = (rules: RuleSpec[], spec: Parameters<typeof mask>[1]) =>
    scope([], {
      connections: [kubernetesConnection()],
      policies: [policy('p', rules)],
      maskingRules: [mask('m', spec)],
    });
});

describe('conditions', () => {
  const create = (object?: unknown) => asked('create', 'shop/pods/p', object === undefined ? {} : { object });
  const may = (when: string) => [{ ...inShop({ verbs: ['create'], resources: ['pods'] }), when }];
  it('read the object, and fail closed without it', () => {
    const rules = may('command.kubernetes.object.spec.containers.all(c, c.image.startsWith("registry.example.com/"))');
    expect(scope(rules).needs).toEqual({ body: false, headers: false, object: true });
    const pod = (image: string) => ({ spec: { containers: [{ image }] } });
    expect(verdict(rules, create(pod('registry.example.com/a')))).toBe('Allow');
    expect(verdict(rules, create(pod('evil/a')))).toBe('Deny');
    expect(verdict(rules, create({ spec: {} }))).toBe('Deny');
    expect(verdict(rules, create())).toBe('Deny');
    const guard = deny('no', {
      when: 'command.kubernetes.object.metadata.labels.team == "x"',
      kubernetes: { verbs: ['create'] },
    });
    expect(verdict([...may('true'), guard], create(pod('a')))).toBe('Deny');
    expect(verdict([...may('true'), guard], create({ metadata: { labels: { team: 'y' } } }))).toBe('Allow');
  });

  it('are refused where they name what is not there', () => {
    expect(decide(may('command.kubernetes.nmae == "p"'), create()).tuples[0]?.errors?.join()).toContain(
      'has no field "nmae"',
    );
  });

  it('say how long a decision lasts', () => {
    const reuse = (when: string, command: KubernetesCommand) =>
      decide([{ ...inShop({ verbs: ['*'], resources: ['*'] }), when }], command).reuse;
    expect(reuse('command.kubernetes.name == "p"', asked('get', 'shop/pods/p'))).toBe('text');
    expect(reuse('now.getHours() == 12', asked('get', 'shop/pods/p'))).toBe('never');
    expect(reuse('true', asked('patch', 'shop/pods/p'))).toBe('never');
    expect(reuse('!has(command.kubernetes.object)', asked('get', 'shop/pods/p'))).toBe('never');
  });
});

describe('words', () => {
  it.each([
    ['delete namespaces shop', asked('delete', 'shop/namespaces/shop')],
    ['list pods in shop', asked('list', 'shop/pods')],
    ['get pods/log shop/web', asked('get', 'shop/pods/web/log')],
    ['get /metrics', url('/metrics')],
    ['Scale (patch) of deployments.apps/scale shop/web', asked('patch', 'shop/deployments/web/scale')],
    ["Exec of cat '/a b' in pods/exec shop/web-1", execOf(['cat', '/a b'])],
    ['ReadSecret (list) of secrets in all namespaces', asked('list', '/secrets')],
    ['list pods in all namespaces', asked('list', '/pods')],
    ['list nodes', asked('list', '/nodes')],
    ['get nodes n', asked('get', '/nodes/n')],
  ])('%s', (words, command) => {
    expect(decide([], command).denied).toBe(words);
  });

  it('say why a list of everything is not covered', () => {
    const pods = inShop({ verbs: ['list'], resources: ['pods'] });
    expect(decide([pods], asked('list', '/pods')).message).toContain('ask for one namespace');
    expect(decide([pods], asked('list', 'pay/pods')).message).toBeUndefined();
  });

  it('say what is allowed instead', () => {
    expect(decide([inShop({ verbs: ['get', 'list'], resources: ['pods'] })], asked('delete', 'shop/pods/a')).hint).toBe(
      'Allowed here: get, list of pods in shop (rule shop/p/allow).',
    );
  });
});
