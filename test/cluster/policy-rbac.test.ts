/**
 * Rules compared with the RBAC of a real API server: the same lists as a ClusterRole and as an Allow rule, and the same questions to both.
 * They agree on everything but what policy never grants by a wildcard, or only as an operation: there policy grants no more than RBAC.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { KubeClient } from '../../kube/types.ts';
import { kubernetesCommand } from '../../policy/kubernetes/commands.ts';
import { explicitReason } from '../../policy/kubernetes/explicit.ts';
import { compileKubernetes, coversKubernetes, type KubernetesSpec } from '../../policy/kubernetes/match.ts';
import { operationOf } from '../../policy/kubernetes/operations.ts';
import { describeWith } from '../support/requires.ts';
import { type ControlPlane, controlPlaneNeeds, startControlPlane } from './control-plane.ts';
import { clientOf } from './kube-ground.ts';

interface Asked {
  readonly verb: string;
  readonly group: string;
  readonly resource: string;
  readonly subresource: string;
  readonly namespace: string;
  readonly name: string;
}

const some = <T>(values: readonly T[]): fc.Arbitrary<T[]> =>
  fc.uniqueArray(fc.constantFrom(...values), { minLength: 1, maxLength: 4 });

/** Within what RBAC has words for: a part of a resource's subresources (`pods/*`) is not. */
const rule: fc.Arbitrary<KubernetesSpec> = fc
  .record({
    verbs: some(['*', 'get', 'list', 'watch', 'create', 'update', 'patch', 'delete', 'deletecollection'] as const),
    apiGroups: some(['*', '', 'apps', 'example.com']),
    resources: some([
      '*',
      '*/status',
      '*/log',
      'pods',
      'pods/log',
      'pods/status',
      'secrets',
      'deployments',
      'deployments/scale',
      'namespaces',
      'nodes',
    ]),
    resourceNames: fc.oneof({ weight: 3, arbitrary: fc.constant(undefined) }, some(['web', 'db', 'shop'])),
    namespaces: fc.constantFrom<string[]>(['*'], ['shop']),
  })
  .map(({ resourceNames, ...rest }) => ({ ...rest, ...(resourceNames === undefined ? {} : { resourceNames }) }));

const TARGETS: readonly Omit<Asked, 'verb'>[] = [
  ['', 'pods', '', 'shop', 'web'],
  ['', 'pods', '', 'shop', ''],
  ['', 'pods', '', '', ''],
  ['', 'pods', '', 'other', 'web'],
  ['', 'pods', 'log', 'shop', 'web'],
  ['', 'pods', 'status', 'shop', 'web'],
  ['', 'pods', 'exec', 'shop', 'web'],
  ['', 'secrets', '', 'shop', 'db'],
  ['', 'namespaces', '', 'shop', 'shop'],
  ['', 'nodes', '', '', 'db'],
  ['apps', 'deployments', '', 'shop', 'web'],
  ['apps', 'deployments', '', 'shop', ''],
  ['apps', 'deployments', 'scale', 'shop', 'web'],
  ['apps', 'deployments', '', '', ''],
  ['example.com', 'widgets', '', 'shop', 'db'],
  ['example.com', 'widgets', 'log', 'shop', 'db'],
].map(([group = '', resource = '', subresource = '', namespace = '', name = '']) => ({
  group,
  resource,
  subresource,
  namespace,
  name,
}));
const VERBS = ['get', 'list', 'create', 'patch', 'delete', 'deletecollection'];
/** The same in every run; another one by RBAC_SEED. */
const SEED = Number(process.env['RBAC_SEED'] ?? 7);
const RULES = 16;

describeWith(controlPlaneNeeds, 'rules and RBAC', () => {
  let cluster: (ControlPlane & AsyncDisposable) | undefined;
  let client: KubeClient;
  beforeAll(async () => {
    cluster = await startControlPlane();
    client = await clientOf(cluster.kubeconfig);
  }, 1_200_000);
  afterAll(() => cluster?.stop());

  async function post(path: string, body: object): Promise<unknown> {
    const answer = await client.request('POST', path, { body });
    return JSON.parse(answer.body.toString('utf8'));
  }

  async function grant(
    name: string,
    { verbs, apiGroups, resources, resourceNames, namespaces }: KubernetesSpec,
  ): Promise<void> {
    const rbac = '/apis/rbac.authorization.k8s.io/v1';
    const roleRef = { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name };
    const subjects = [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name }];
    await post(`${rbac}/clusterroles`, { metadata: { name }, rules: [{ verbs, apiGroups, resources, resourceNames }] });
    const everywhere = namespaces?.includes('*') === true;
    await post(everywhere ? `${rbac}/clusterrolebindings` : `${rbac}/namespaces/shop/rolebindings`, {
      metadata: { name },
      roleRef,
      subjects,
    });
  }

  async function isAllowed(user: string, resourceAttributes: Asked): Promise<boolean> {
    const review = await post('/apis/authorization.k8s.io/v1/subjectaccessreviews', {
      spec: { user, resourceAttributes },
    });
    return (review as { readonly status: { readonly allowed: boolean } }).status.allowed;
  }

  test('agree wherever their words mean the same', async () => {
    await post('/api/v1/namespaces', { metadata: { name: 'shop' } });
    const rules = fc.sample(rule, { numRuns: RULES, seed: SEED });
    await Promise.all(rules.map((one, index) => grant(`rule-${index}`, one)));
    // Roles and both kinds of bindings reach the authorizer through watches: the last of each says that all are there.
    const probe = { verb: 'get', group: '', resource: 'events', subresource: '', namespace: 'shop', name: 'x' };
    for (const namespaces of [['*'], ['shop']]) {
      const name = `last-${namespaces[0] === '*' ? 'everywhere' : 'shop'}`;
      await grant(name, { verbs: ['get'], apiGroups: [''], resources: ['events'], namespaces });
      await expect.poll(() => isAllowed(name, probe), { timeout: 30_000 }).toBe(true);
    }

    let same = 0;
    let allowed = 0;
    let narrower = 0;
    for (const [index, spec] of rules.entries()) {
      const matcher = compileKubernetes(spec);
      const questions = TARGETS.flatMap((target) => VERBS.map((verb) => ({ verb, ...target })));
      const answers = await Promise.all(questions.map((question) => isAllowed(`rule-${index}`, question)));
      for (const [at, question] of questions.entries()) {
        const { tuples } = kubernetesCommand({ text: '', version: 'v1', ...question });
        const covered = tuples.every((tuple) => coversKubernetes(matcher, tuple));
        const own =
          operationOf(question.verb, question) !== undefined || explicitReason(question.verb, question) !== undefined;
        const said = { rule: spec, question, covered };
        if (own) {
          narrower++;
          expect({ ...said, covered: covered && answers[at] !== true }).toEqual({ ...said, covered: false });
        } else {
          same++;
          if (covered) allowed++;
          expect(said).toEqual({ ...said, covered: answers[at] });
        }
      }
    }
    expect(same).toBeGreaterThan(700);
    expect(allowed).toBeGreaterThan(50);
    expect(narrower).toBeGreaterThan(300);
  }, 120_000);
});
