import { expect, test } from 'vitest';
import { parseTarget } from '../http/core/target.ts';
import { describeRequest } from './describe.ts';
import { parseRequestInfo } from './request/request-info.ts';

test.each([
  ['GET', '/version', 'kubectl get --raw /version'],
  ['GET', '/api/v1/namespaces/shop/pods', 'kubectl get pods -n shop'],
  ['GET', '/api/v1/pods?labelSelector=app%3Dweb', 'kubectl get pods -A -l app=web'],
  ['GET', '/api/v1/nodes/n1', 'kubectl get nodes n1'],
  ['GET', '/apis/example.com/v1/namespaces/shop/things/a', 'kubectl get things.example.com a -n shop'],
  ['GET', '/api/v1/namespaces/shop/pods?watch=1', 'kubectl get pods -n shop --watch'],
  ['GET', '/api/v1/namespaces/shop/pods/web/log?container=c&follow=true', 'kubectl logs web -n shop -c c --follow'],
  ['DELETE', '/api/v1/namespaces/shop', 'kubectl delete namespaces shop'],
  ['DELETE', '/api/v1/namespaces/shop/pods?dryRun=All', 'kubectl delete pods --all -n shop --dry-run=server'],
  [
    'POST',
    "/api/v1/namespaces/shop/pods/web/exec?command=sh&command=-c&command=echo%20'hi'&stdin=true&tty=1&container=c",
    "kubectl exec web -n shop -c c -it -- sh -c 'echo '\\''hi'\\'''",
  ],
  ['PATCH', '/apis/apps/v1/namespaces/shop/deployments/web/scale', 'kubectl scale deployments web -n shop'],
  ['PATCH', '/apis/apps/v1/namespaces/shop/deployments/web', 'kubectl patch deployments web -n shop'],
  [
    'PUT',
    '/apis/apps/v1/namespaces/shop/deployments/web/status',
    'kubectl replace deployments web -n shop --subresource=status',
  ],
])('%s %s is %s', (method, target, words) => {
  const parsed = parseTarget(target);
  if ('code' in parsed) throw new Error(parsed.message);
  const info = parseRequestInfo({ method, ...parsed });
  if ('refusal' in info) throw new Error(info.refusal);
  expect(describeRequest(info, { query: parsed.query })).toBe(words);
});
