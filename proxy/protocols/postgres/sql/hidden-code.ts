/** Code that a statement runs without naming it: defaults, triggers, rules, views, policies, domains, and what a cursor reads. */
import type { SqlTuple } from '../../../../policy/command.ts';
import type { Catalog } from '../catalog/types.ts';
import type { StatementEffect } from './types.ts';

/** A function of users, or code that is not looked into. */
export const isUserCode = (tuple: SqlTuple): boolean =>
  tuple.type === 'function'
    ? tuple.judgement === 'user' || tuple.judgement === 'unknown'
    : tuple.kind === 'Opaque' || tuple.kind === 'Unknown';

/** Whether what names mean may be another after these accesses, though no text says so. */
export function mayMoveNames(
  tuples: readonly SqlTuple[],
  effects: readonly StatementEffect[],
  catalog: Catalog | undefined,
): boolean {
  if (catalog?.movesNames !== true) return false;
  // SHOW, SET, BEGIN and their like run nothing.
  return (
    tuples.some((tuple) => tuple.type !== 'kind' || tuple.harmless !== true) ||
    effects.some(({ type }) => type === 'fetch')
  );
}
