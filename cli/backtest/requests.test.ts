import { describe, expect, it } from 'vitest';
import { DEFAULT_CONFIGURATION } from '../../api/configuration.ts';
import type { RuleSpec } from '../../policy/rule.ts';
import { compiled, deny, policy } from '../../policy/testing/build.ts';
import { allowHttp, httpConnection } from '../../policy/testing/http.ts';
import { allowKubernetes, kubernetesConnection } from '../../policy/testing/kubernetes.ts';
import type { CommandView } from '../../record/commands.ts';
import { createJudge, type Judged } from './judge.ts';

/** What a recorded request comes out as under other rules. */
function again(
  name: 'api' | 'cluster',
  rules: readonly RuleSpec[],
  text: string | undefined,
  recorded: Partial<CommandView> = {},
): Judged {
  const resources = {
    connections: [httpConnection('api'), kubernetesConnection('cluster')],
    policies: [policy('p', rules)],
    maskingRules: [],
  };
  const { bundle } = compiled(resources);
  const loaded = { resources, keyValues: [], findings: [], places: new Map(), files: [], passedOver: [] };
  const judge = createJudge({ bundle, loaded, configuration: DEFAULT_CONFIGURATION }, new Map());
  return judge.judge({
    session: {
      session: 's',
      namespace: 'shop',
      name,
      startedAt: '2026-03-04T11:00:00Z',
      username: 'system:serviceaccount:shop:agent',
      serviceAccount: { namespace: 'shop', name: 'agent' },
      groups: [],
    },
    command: {
      session: 's',
      seq: 1,
      time: '2026-03-04T12:00:00Z',
      verdict: 'Allow',
      outcome: 'executed',
      ...(text === undefined ? {} : { text }),
      ...recorded,
    },
  });
}

const change = (judged: Judged) => (judged.type === 'judged' ? judged.changes : judged.reason);

describe('recorded requests decided again', () => {
  const reads = allowKubernetes({ verbs: ['get', 'list'], resources: ['*'] });
  const pods = 'GET /api/v1/namespaces/shop/pods?limit=500';
  it('of Kubernetes, where their URL says all', () => {
    expect(change(again('cluster', [reads], pods))).toEqual([]);
    expect(change(again('cluster', [], pods))).toEqual([
      { change: 'allow-to-deny', because: 'no rule allows it', denied: 'list pods in shop' },
    ]);
    const exec = 'POST /api/v1/namespaces/shop/pods/web/exec?command=id&stdout=true';
    expect(change(again('cluster', [reads], exec))).toMatchObject([{ denied: 'Exec of id in pods/exec shop/web' }]);
    const nowAllowed = again('cluster', [reads], pods, { verdict: 'Deny', outcome: 'denied' });
    expect(change(nowAllowed)).toMatchObject([{ change: 'deny-to-allow', because: 'shop/p/allow' }]);
  });

  it('not where it does not', () => {
    for (const text of [
      'PATCH /apis/apps/v1/namespaces/shop/deployments/web',
      'POST /api/v1/namespaces/shop/pods',
      'PUT /api/v1/namespaces/shop/pods/exec/status',
    ]) {
      expect(change(again('cluster', [reads], text))).toContain('in its body');
    }
    expect(change(again('cluster', [reads], undefined))).toContain('not recorded');
    expect(change(again('cluster', [reads], 'GET /api/v1/../x'))).toContain('no request');
  });

  it('of HTTP, where no rule looks at more than text', () => {
    const gets = allowHttp({ methods: ['GET'], paths: ['/v1/**'] });
    const text = 'GET https://api.example.com/v1/charges?limit=3';
    const few = { ...gets, when: 'command.http.query["limit"] == ["3"]' };
    expect(change(again('api', [few], text))).toEqual([]);
    expect(change(again('api', [few], `${text}0`))).toMatchObject([{ change: 'allow-to-deny' }]);
    const no = deny('no', { http: { paths: ['/v1/charges'] }, message: 'Not these.' });
    expect(change(again('api', [gets, no], text))).toEqual([
      { change: 'allow-to-deny', because: 'shop/p/no', denied: 'GET /v1/charges', message: 'Not these.' },
    ]);
    for (const when of ['has(command.http.body.x)', '"x" in command.http.headers', 'command.http.contentType == ""']) {
      expect(change(again('api', [gets, { ...no, when }], text))).toContain('not looked at here');
    }
  });
});
