import { expect, it } from 'vitest';
import { compileMask, planMasks } from '../../../../policy/mask-plan.ts';
import { mask } from '../../../../policy/testing/build.ts';
import { createObjectMasks } from './objects.ts';

/** `LIST_MIB=100` for the length that was promised; the bound does not depend on it. */
const LIST_BYTES = Number(process.env['LIST_MIB'] ?? 16) * 1024 * 1024;
const CHUNK = 64 * 1024;

const pod = (index: number) =>
  `{"metadata":{"name":"pod-${index}","namespace":"shop","annotations":{"note":"${'x'.repeat(3000)}"}},"spec":{"containers":[{"name":"c","env":[{"name":"PASSWORD","value":"hunter22"}]}]}},`;

function* list(): Generator<Buffer> {
  yield Buffer.from('{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[');
  let piece = '';
  for (let index = 0, sent = 0; sent < LIST_BYTES; index++) {
    piece += pod(index);
    if (piece.length < CHUNK) continue;
    sent += piece.length;
    // Chunks end anywhere in an object.
    const chunk = Buffer.from(piece, 'latin1');
    yield chunk.subarray(0, CHUNK);
    yield chunk.subarray(CHUNK);
    piece = '';
  }
  yield Buffer.from('{"metadata":{"name":"last"}}]}');
}

it('a list of any length is masked with the memory of its largest object', () => {
  const plan = planMasks([compileMask(mask('k8s', { kubernetes: [{ env: ['*'] }, { secrets: ['*'] }] }))]);
  const masks = createObjectMasks(plan, () => undefined);
  let counted = 0;
  const request = {
    ...{ isResourceRequest: true, path: '/api/v1/pods', verb: 'list', apiGroup: '', resource: 'pods' },
    ...{ subresource: '', namespace: '', name: '' },
  };
  const answer = masks.answer({ status: 200, headers: ['content-type', 'application/json'] }, request, () => counted++);
  if (answer.body !== 'masked') throw new Error(answer.body);
  let read = 0;
  let written = 0;
  let kept = 0;
  let objects = 0;
  const saving = '"hunter22"'.length - '"***"'.length;
  for (const chunk of list()) {
    read += chunk.length;
    const shown = answer.transform.write(chunk);
    if (shown !== undefined) {
      written += shown.length;
      expect(shown.includes('hunter22')).toBe(false);
    }
    objects = counted;
    kept = Math.max(kept, read - written - objects * saving);
  }
  written += answer.transform.end()?.length ?? 0;
  expect(objects).toBeGreaterThan(LIST_BYTES / 4096);
  expect(read - written).toBe(objects * saving);
  // What came in and did not go out is one object at most: nothing else can grow.
  expect(kept).toBeLessThan(2 * pod(0).length);
});
