import type { Failures } from './context.ts';

export function createFailures(): Failures {
  const byNamespace = new Map<string, readonly string[]>();
  const listeners = new Set<(namespace: string) => void>();
  return {
    get: (namespace) => byNamespace.get(namespace) ?? [],
    set(namespace, messages) {
      if (JSON.stringify(byNamespace.get(namespace) ?? []) === JSON.stringify(messages)) return;
      if (messages.length === 0) byNamespace.delete(namespace);
      else byNamespace.set(namespace, messages);
      for (const listener of [...listeners]) listener(namespace);
    },
    onChange(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}
