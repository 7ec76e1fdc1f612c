import type { Failures } from './context.ts';

export function createFailures(): Failures {
  /** By who found it, and the namespace. */
  const bySource = new Map<string, ReadonlyMap<string, readonly string[]>>();
  const listeners = new Set<(namespace: string) => void>();
  return {
    get: (namespace) => [...new Set([...bySource.values()].flatMap((found) => found.get(namespace) ?? []))],
    set(source, found) {
      const before = bySource.get(source) ?? new Map<string, readonly string[]>();
      const after = new Map([...found].filter(([, messages]) => messages.length > 0));
      if (after.size === 0) bySource.delete(source);
      else bySource.set(source, after);
      for (const namespace of new Set([...before.keys(), ...after.keys()])) {
        if (JSON.stringify(before.get(namespace)) === JSON.stringify(after.get(namespace))) continue;
        for (const listener of [...listeners]) listener(namespace);
      }
    },
    onChange(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}
