import type { EffectiveLimits } from './decision.ts';

const MEMBERS = [
  'commandsPerMinute',
  'maxRowsReturned',
  'maxBytesReturned',
  'maxRowsAffected',
  'maxDurationMs',
] as const;

function combine(
  all: readonly EffectiveLimits[],
  pick: (values: readonly (number | undefined)[]) => number | undefined,
): EffectiveLimits {
  const result: { -readonly [M in keyof EffectiveLimits]: EffectiveLimits[M] } = {};
  for (const member of MEMBERS) {
    const value = pick(all.map((limits) => limits[member]));
    if (value !== undefined) result[member] = value;
  }
  return result;
}

/** Of several grants of one thing the loosest counts; a grant without a limit has none. `all` is not empty. */
export function loosest(all: readonly EffectiveLimits[]): EffectiveLimits {
  if (all.length === 1 && all[0] !== undefined) return all[0];
  return combine(all, (values) =>
    values.some((value) => value === undefined) ? undefined : Math.max(...values.map(Number)),
  );
}

/** Of several ceilings over one thing the strictest counts; an absent one is none. */
export function strictest(all: readonly EffectiveLimits[]): EffectiveLimits {
  if (all.length === 1 && all[0] !== undefined) return all[0];
  return combine(all, (values) => {
    const given = values.filter((value) => value !== undefined);
    return given.length === 0 ? undefined : Math.min(...given);
  });
}
