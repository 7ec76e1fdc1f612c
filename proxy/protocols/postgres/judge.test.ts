import { expect, test } from 'vitest';
import { agent, allow, compiled, policy } from '../../../policy/testing/build.ts';
import { sketchCatalog } from './catalog/fixture.ts';
import { createJudgement } from './judge.ts';

const { bundle } = compiled({ policies: [policy('p', [allow('r', ['Read'], ['public.*'])])] });
const orders = bundle.connections[0]!;
const judgement = createJudgement(bundle.scope(agent, orders), orders);
const names = { uncommitted: false, searchPath: ['public'], role: 'app', temporary: new Set<string>() };

test('equal meanings of names share one environment and its verdicts', () => {
  const catalog = sketchCatalog([{ name: 'public.a', columns: ['id'] }]);
  const environment = judgement.environment({ ...names, catalog });
  expect(judgement.environment({ ...names, temporary: new Set(), catalog })).toBe(environment);
  expect(judgement.environment({ ...names, searchPath: ['other'], catalog })).not.toBe(environment);
});

test('an environment of an older catalog is let go, or a session full of DDL would fill the memory', () => {
  const [first, second] = [1, 2].map(() => sketchCatalog([{ name: 'public.a', columns: ['id'] }]));
  const environment = judgement.environment({ ...names, catalog: first });
  judgement.environment({ ...names, catalog: second });
  expect(judgement.environment({ ...names, catalog: first })).not.toBe(environment);
});
