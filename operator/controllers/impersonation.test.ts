import { describe, expect, test } from 'vitest';
import type { AccessConnection, AccessPolicy } from '../../api/resources.ts';
import { connection } from '../desired/inputs.fixture.ts';
import { impersonationIn } from './impersonation.ts';

const cluster = (credential: AccessConnection['spec']['credential'] = { impersonate: {} }): AccessConnection =>
  connection('cluster', {
    protocol: 'Kubernetes',
    target: { host: 'kubernetes.default.svc', port: 443 },
    ...(credential === undefined ? {} : { credential }),
  });

function policy(subjects: AccessPolicy['spec']['subjects'], more: Partial<AccessPolicy['spec']> = {}): AccessPolicy {
  return {
    apiVersion: 'sallyport.dev/v1alpha1',
    kind: 'AccessPolicy',
    metadata: { name: 'agents', namespace: 'shop' },
    spec: {
      connections: { names: ['cluster'] },
      subjects,
      rules: [{ name: 'read', effect: 'Allow' }],
      ...more,
    } as AccessPolicy['spec'],
  };
}

const agent = { serviceAccount: { namespace: 'bots', name: 'agent' } };
const every = { serviceAccount: { namespace: 'bots', name: '*' } };

const found = (more: Partial<Parameters<typeof impersonationIn>[0]> = {}) =>
  impersonationIn({
    namespace: 'bots',
    connections: [cluster()],
    policies: [policy([agent])],
    accounts: ['sallyport-proxy', 'planner', 'default', 'agent'],
    guardrailNamespace: 'sallyport-system',
    ...more,
  });

describe('proxies may act as', () => {
  test.each<[string, readonly string[], readonly AccessPolicy[]]>([
    ['the account that a policy names', ['agent'], [policy([agent])]],
    [
      'all accounts that are there, where it says *, but never as a proxy',
      ['agent', 'default', 'planner'],
      [policy([every])],
    ],
    ['all that are there, where it says everyone', ['agent', 'default', 'planner'], [policy([{ everyone: true }])]],
    ['none that is excepted', ['default', 'planner'], [policy([every], { exceptSubjects: [agent] })]],
  ])('%s', (_what, accounts, policies) => {
    expect(found({ policies })).toEqual({ accounts, proxies: ['shop'] });
  });

  test.each<[string, Partial<Parameters<typeof impersonationIn>[0]>]>([
    ['an account that is not there', { accounts: ['default'] }],
    ['one of another namespace', { policies: [policy([{ serviceAccount: { namespace: 'web', name: 'agent' } }])] }],
    [
      'one whose policy is about another connection',
      { policies: [policy([agent], { connections: { names: ['orders'] } })] },
    ],
    [
      'one whose policy only denies',
      { policies: [policy([agent], { rules: [{ name: 'no', effect: 'Deny' }] } as never)] },
    ],
    [
      'anybody, where a Secret has a token that may',
      { connections: [cluster({ impersonate: { secretRef: { name: 'token' } } })] },
    ],
    [
      'anybody, where the target has an account for all',
      { connections: [cluster({ serviceAccountToken: { name: 'deployer' } })] },
    ],
    ['anybody of Kubernetes itself', { namespace: 'kube-system', policies: [policy([{ everyone: true }])] }],
    ['the operator', { namespace: 'sallyport-system', policies: [policy([{ everyone: true }])] }],
  ])('not as %s', (_what, more) => {
    expect(found(more)).toBeUndefined();
  });

  test('a guardrail allows nothing', () => {
    const guardrail = {
      ...policy([agent], { connections: { all: true } }),
      metadata: { name: 'all', namespace: 'sallyport-system' },
    };
    expect(found({ policies: [guardrail] })).toBeUndefined();
  });

  test('those of several namespaces with connections are listed once', () => {
    const other = { ...cluster(), metadata: { name: 'cluster', namespace: 'platform' } };
    expect(found({ connections: [cluster(), other] })).toEqual({ accounts: ['agent'], proxies: ['platform', 'shop'] });
  });
});
