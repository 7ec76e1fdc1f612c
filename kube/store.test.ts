import fc from 'fast-check';
import { expect, it } from 'vitest';
import { createStore } from './store.ts';
import type { Change, KubeObject } from './types.ts';

const object = (name: string, uid: string, resourceVersion: string, namespace = 'default'): KubeObject => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { namespace, name, uid, resourceVersion },
});
const types = (changes: readonly Change<KubeObject>[]): string[] =>
  changes.map(({ type, object: { metadata } }) => `${type} ${metadata.name} ${metadata.uid}`);

it('tells additions, updates and deletions', () => {
  const store = createStore();
  expect(types(store.put(object('a', '1', '1')))).toEqual(['added a 1']);
  expect(types(store.put(object('a', '1', '2')))).toEqual(['updated a 1']);
  expect(types(store.remove(object('a', '1', '3')))).toEqual(['deleted a 1']);
  expect(store.size).toBe(0);
  expect(store.list()).toEqual([]);
});

it('tells the same name with another UID as a deletion and an addition', () => {
  const store = createStore();
  store.put(object('a', '1', '1'));
  expect(types(store.put(object('a', '2', '5')))).toEqual(['deleted a 1', 'added a 2']);
  expect(types(store.replace([object('a', '3', '9')]))).toEqual(['deleted a 2', 'added a 3']);
  expect(store.size).toBe(1);
});

it('does not delete the successor of what was deleted', () => {
  const store = createStore();
  store.put(object('a', '2', '5'));
  expect(store.remove(object('a', '1', '4'))).toEqual([]);
  expect(store.get('default', 'a')?.metadata.uid).toBe('2');
});

it('keeps the very object while its version stays', () => {
  const store = createStore();
  const first = object('a', '1', '1');
  store.put(first);
  expect(store.put(object('a', '1', '1'))).toEqual([]);
  expect(store.replace([object('a', '1', '1')])).toEqual([]);
  expect(store.get('default', 'a')).toBe(first);
});

it('keeps namespaces and cluster-scoped objects apart', () => {
  const store = createStore();
  store.put(object('a', '1', '1', 'one'));
  store.put(object('a', '2', '1', 'two'));
  store.put({ apiVersion: 'v1', kind: 'Node', metadata: { name: 'a', uid: '3', resourceVersion: '1' } });
  expect(store.list('one').map(({ metadata }) => metadata.uid)).toEqual(['1']);
  expect(store.get(undefined, 'a')?.metadata.uid).toBe('3');
  expect(store.list()).toHaveLength(3);
});

it('equals any list that it was replaced with, and what it told adds up to it', () => {
  const some = fc.array(
    fc.record({
      name: fc.constantFrom('a', 'b', 'c', 'd'),
      namespace: fc.constantFrom('x', 'y'),
      uid: fc.constantFrom('1', '2', '3'),
      version: fc.constantFrom('1', '2', '3'),
    }),
    { maxLength: 8 },
  );
  fc.assert(
    fc.property(fc.array(some, { maxLength: 6 }), (lists) => {
      const store = createStore();
      const model = new Map<string, KubeObject>();
      for (const list of lists) {
        const unique = new Map(
          list.map(({ name, namespace, uid, version }) => [
            `${namespace}/${name}`,
            object(name, uid, version, namespace),
          ]),
        );
        for (const change of store.replace([...unique.values()])) {
          const key = `${change.object.metadata.namespace}/${change.object.metadata.name}`;
          expect(model.has(key)).toBe(change.type !== 'added');
          if (change.type === 'deleted') model.delete(key);
          else model.set(key, change.object);
        }
        const versions = (objects: Iterable<KubeObject>) => [...objects].map((each) => JSON.stringify(each)).sort();
        expect(versions(store.list())).toEqual(versions(unique.values()));
        expect(versions(model.values())).toEqual(versions(unique.values()));
        expect(store.size).toBe(unique.size);
      }
    }),
  );
});
