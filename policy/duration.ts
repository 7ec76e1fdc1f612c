const UNIT_MS: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1000 };

/**
 * Milliseconds of a duration such as `1h30m`, as the CRDs write it (`^([0-9]{1,5}[hms])+$`).
 * Undefined when the text is not one.
 */
export function durationMs(text: string): number | undefined {
  if (!/^([0-9]{1,5}[hms])+$/.test(text)) return undefined;
  let total = 0;
  for (const [, amount, unit] of text.matchAll(/([0-9]+)([hms])/g))
    total += Number(amount) * (UNIT_MS[unit ?? ''] ?? 0);
  return total;
}
