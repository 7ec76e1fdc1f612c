import { describe, expect, it } from 'vitest';
import type { AccessConnection } from '../api/resources.ts';
import type { HttpSpec } from './http/match.ts';
import type { KubernetesSpec } from './kubernetes/match.ts';
import type { RuleSpec } from './rule.ts';
import { compiled, mask, policy } from './testing/build.ts';
import { httpConnection } from './testing/http.ts';
import { kubernetesConnection } from './testing/kubernetes.ts';

const told = (connection: AccessConnection, rules: readonly RuleSpec[]): string[] =>
  compiled({ connections: [connection], policies: [policy('p', rules)] }).problems.map(
    ({ code, message, path }) => `${code} ${path.slice(2).join('.')} ${message}`,
  );

describe('problems of Kubernetes rules', () => {
  const of = (kubernetes: KubernetesSpec, effect: RuleSpec['effect'] = 'Allow') =>
    told(kubernetesConnection(), [{ name: 'r', effect, kubernetes }]);

  it.each<[string, KubernetesSpec, string]>([
    [
      'a singular',
      { verbs: ['get'], resources: ['pod'], namespaces: ['*'] },
      'SPP013 0.kubernetes.resources.0 rule r: "pod" can never match: resources are plurals, and it is called pods',
    ],
    [
      'a short name',
      { verbs: ['get'], resources: ['pods', 'deploy/scale'], namespaces: ['*'] },
      'called deployments/scale',
    ],
    [
      'the wrong group',
      { verbs: ['get'], resources: ['deployments'], apiGroups: [''], namespaces: ['*'] },
      'it is of the API group apps, which apiGroups leaves out',
    ],
    [
      'something of the cluster',
      { verbs: ['get'], resources: ['nodes'], namespaces: ['shop'] },
      'it stands in no namespace',
    ],
    [
      'secrets by their verbs',
      { verbs: ['get', 'list'], resources: ['secrets'], namespaces: ['*'] },
      'only the operation ReadSecret grants it',
    ],
    [
      'exec by its verb',
      { verbs: ['create'], resources: ['pods/exec'], namespaces: ['*'] },
      'only the operation Exec grants it',
    ],
    [
      'scale inside a wildcard',
      { verbs: ['*'], resources: ['deployments/scale'], namespaces: ['*'] },
      'never inside the verb *',
    ],
    [
      'everything at once',
      { verbs: ['deletecollection'], resources: ['*'], namespaces: ['*'] },
      'SPP013 0.kubernetes.verbs.0',
    ],
    [
      'an operation on something else',
      { operations: ['ReadSecret'], resources: ['pods'], namespaces: ['*'] },
      'SPP013 0.kubernetes.operations.0 rule r: "ReadSecret" can never match: it is done to secrets',
    ],
  ])('%s', (_, spec, problem) => {
    expect(of(spec).join('\n')).toContain(problem);
  });

  it.each<[KubernetesSpec]>([
    [{ verbs: ['get'], resources: ['pods', 'pods/log', '*', 'widgets', 'namespaces'], namespaces: ['shop'] }],
    [{ verbs: ['get', 'create'], resources: ['secrets'], namespaces: ['shop'] }],
    [{ verbs: ['get'], resources: ['deployments/scale', 'nodes'], namespaces: ['*'] }],
    [{ verbs: ['*'], resources: ['deployments'], apiGroups: ['apps', 'example.com'], namespaces: ['shop'] }],
    [{ operations: ['Scale', 'ReadSecret', 'Exec'], resources: ['*'], namespaces: ['shop'], commands: ['id'] }],
    [{ operations: ['Scale'], verbs: ['get'], resources: ['deployments', 'deployments/scale'], namespaces: ['shop'] }],
    [{ operations: ['ReadSecret'], verbs: ['get'], resources: ['secrets', 'pods'], namespaces: ['shop'] }],
    [{ verbs: ['deletecollection'], resources: ['pods'], namespaces: ['shop'] }],
    [{ verbs: ['get'], nonResourceURLs: ['/metrics'] }],
  ])('none of %j', (spec) => {
    expect(of(spec)).toEqual([]);
  });

  it('of rules that take away', () => {
    expect(of({ verbs: ['delete'], resources: ['namespace'] }, 'Deny').join()).toContain('it is called namespaces');
    expect(of({ operations: ['Exec'], resources: ['deployments'] }, 'Deny').join()).toContain('it is done to pods');
    // Wildcards are read as they stand.
    expect(of({ verbs: ['get'], resources: ['secrets'] }, 'Deny')).toEqual([]);
    expect(of({ verbs: ['*'], resources: ['pods/exec'] }, 'Deny')).toEqual([]);
  });

  it('approval of what nothing grants', () => {
    const held = (kubernetes: KubernetesSpec, allowed: KubernetesSpec) =>
      told(kubernetesConnection(), [
        { name: 'held', effect: 'RequireApproval', kubernetes },
        { name: 'allowed', effect: 'Allow', kubernetes: allowed },
      ]);
    const reads: KubernetesSpec = { verbs: ['get'], resources: ['*'], namespaces: ['*'] };
    expect(held({ operations: ['ScaleOut'] }, reads).join()).toContain('SPP005');
    expect(held({ operations: ['ScaleOut'] }, { operations: ['Scale'], namespaces: ['*'] })).toEqual([]);
    expect(held({ operations: ['ScaleOut'] }, { ...reads, verbs: ['create'] })).toEqual([]);
    expect(held({ verbs: ['get'] }, reads)).toEqual([]);
  });
});

describe('problems of masking rules', () => {
  const codes = (connections: AccessConnection[], names: string[]): string[] => {
    const rule = mask('secrets', { connections: { names }, kubernetes: [{ secrets: ['*'] }] });
    return compiled({ connections, maskingRules: [rule] }).problems.map(
      ({ code, path }) => `${code} ${path.join('.')}`,
    );
  };

  it('about objects where nobody speaks Kubernetes', () => {
    const [cluster, api] = [kubernetesConnection('cluster'), httpConnection('api')];
    expect(codes([cluster, api], ['api'])).toEqual(['SPP018 spec.kubernetes']);
    expect(codes([cluster, api], ['api', 'cluster'])).toEqual([]);
  });
});

describe('problems of HTTP rules', () => {
  const of = (http: HttpSpec) => told(httpConnection(), [{ name: 'r', effect: 'Allow', http }]);
  it('say what a path means', () => {
    expect(of({ methods: ['GET'], paths: ['/v1/%20x'] }).join()).toContain('SPP013 0.http.paths.0');
    expect(of({ methods: ['GET'], paths: ['/v1/x**/y'] })).toEqual([
      'SPP016 0.http.paths.0 rule r: "/v1/x**/y" means /v1/x*/y: only a whole segment ** crosses segments, and in x** it stays inside one',
    ]);
    expect(of({ methods: ['GET'], paths: ['/**', '/v1/*/x', '/100%'] })).toEqual([]);
  });

  it('about MCP where nobody speaks it', () => {
    const search: HttpSpec = { mcp: { methods: ['tools/call'], tools: ['search'] } };
    const speaking = httpConnection('api', { http: { mcp: { paths: ['/mcp'] } } });
    expect(of(search).join()).toContain(
      'SPP004 0 rule r can never match: it is about MCP, and none of the connections',
    );
    expect(told(speaking, [{ name: 'r', effect: 'Allow', http: search }])).toEqual([]);
    const plain: HttpSpec = { methods: ['POST'], paths: ['/v1/**', '/mcp'] };
    expect(told(speaking, [{ name: 'r', effect: 'Allow', http: plain }])).toEqual([
      'SPP013 0.http.paths.1 rule r: "/mcp" can never match: messages of MCP there are granted by rules with mcp only',
    ]);
    expect(told(speaking, [{ name: 'r', effect: 'Deny', http: plain }])).toEqual([]);
  });

  it('approval of what nothing grants', () => {
    const held = (http: HttpSpec, allowed: HttpSpec) =>
      told(httpConnection('api', { http: { mcp: { paths: ['/mcp'] } } }), [
        { name: 'held', effect: 'RequireApproval', http },
        { name: 'allowed', effect: 'Allow', http: allowed },
      ]);
    const reads: HttpSpec = { methods: ['GET'], paths: ['/v1/*'] };
    expect(held({ methods: ['POST'] }, reads).join()).toContain('SPP005');
    expect(held({ paths: ['/v2/**'] }, reads).join()).toContain('SPP005');
    expect(held({ mcp: { methods: ['tools/call'] } }, reads).join()).toContain('SPP005');
    expect(held({ methods: ['HEAD'], paths: ['/V1/**'] }, reads)).toEqual([]);
    expect(held({ paths: ['/**'] }, { mcp: { methods: ['ping'] } })).toEqual([]);
  });
});

describe('conditions on what most requests do not have', () => {
  const of = (connection: AccessConnection, rule: Omit<RuleSpec, 'name'>) =>
    told(connection, [
      { name: 'r', ...rule },
      { name: 'http', effect: 'Allow', http: { methods: ['*'], paths: ['/**'] } },
      { name: 'cluster', effect: 'Allow', kubernetes: { verbs: ['*'], resources: ['*'], namespaces: ['*'] } },
    ]).filter((problem) => !problem.startsWith('SPP004'));
  const body = 'command.http.body.amount > 5';
  const object = 'command.kubernetes.object.metadata.name == "x"';

  it.each<[string, AccessConnection, Omit<RuleSpec, 'name'>]>([
    ['methods', httpConnection(), { effect: 'Deny', when: body, http: { paths: ['/v1/refunds'] } }],
    ['methods', httpConnection(), { effect: 'RequireApproval', when: body, http: { methods: ['GET', 'POST'] } }],
    ['verbs', kubernetesConnection(), { effect: 'Deny', when: object, kubernetes: { namespaces: ['shop'] } }],
    ['verbs', kubernetesConnection(), { effect: 'Deny', when: object, kubernetes: { verbs: ['*'] } }],
  ])('are told of, with the list that would say which: %s', (list, connection, rule) => {
    const policies = [policy('p', [{ name: 'r', ...rule }])];
    const found = compiled({ connections: [connection], policies }).problems.find(({ code }) => code === 'SPP017');
    expect(found?.path).toEqual(['spec', 'rules', 0, 'when']);
    expect(found?.message).toContain('rule r hits every request that has no command.');
    expect(found?.fix).toContain(`name in ${list} only`);
  });

  it.each<[AccessConnection, Omit<RuleSpec, 'name'>]>([
    [httpConnection(), { effect: 'Deny', when: body, http: { methods: ['POST', 'PUT'] } }],
    [httpConnection(), { effect: 'Deny', when: `has(command.http.body) && ${body}`, http: { paths: ['/**'] } }],
    [httpConnection(), { effect: 'Allow', when: body, http: { methods: ['GET'], paths: ['/**'] } }],
    [kubernetesConnection(), { effect: 'Deny', when: object, kubernetes: { verbs: ['create', 'patch'] } }],
    [kubernetesConnection(), { effect: 'Deny', when: object, kubernetes: { operations: ['PrivilegedPod'] } }],
  ])('and not where they are there, or asked for', (connection, rule) => {
    expect(of(connection, rule)).toEqual([]);
  });
});
