import type { StreamIdentity } from './chain.ts';

/**
 * Where removals are recorded: a place of its own in the record that nothing is removed from, so that what is gone stays explained. No namespace has
 * a dot in its name, so that no connection is called so.
 */
export const LEDGER = { namespace: 'sallyport.dev', name: 'retention' } as const;

export function isLedger({ namespace, name }: Pick<StreamIdentity, 'namespace' | 'name'>): boolean {
  return namespace === LEDGER.namespace && name === LEDGER.name;
}
