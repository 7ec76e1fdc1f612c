import type { KubeObject, Reflector } from '../../kube/types.ts';

/** Several copies of one type, of different selections, as one: rights are given by name, and a copy has one selection. */
export function unionOf<T extends KubeObject>(first: Reflector<T>, ...others: readonly Reflector<T>[]): Reflector<T> {
  const all = [first, ...others];
  return {
    type: first.type,
    get(namespace, name) {
      for (const one of all) {
        const found = one.get(namespace, name);
        if (found !== undefined) return found;
      }
      return undefined;
    },
    list: (namespace) => all.flatMap((one) => one.list(namespace)),
    get size() {
      return all.reduce((sum, { size }) => sum + size, 0);
    },
    onChange(listener) {
      const ends = all.map((one) => one.onChange(listener));
      return () => {
        for (const end of ends) end();
      };
    },
    async synced(signal) {
      await Promise.all(all.map((one) => one.synced(signal)));
    },
    get hasSynced() {
      return all.every(({ hasSynced }) => hasSynced);
    },
    status: () => all.map((one) => one.status()).find(({ phase }) => phase !== 'watching') ?? first.status(),
    async run(signal) {
      await Promise.all(all.map((one) => one.run(signal)));
    },
  };
}
