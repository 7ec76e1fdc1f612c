import { looksLikeMask } from '../sql/guard-equality.ts';
import type { Analysis } from '../sql/types.ts';
import type { BindHeader } from '../wire/decode.ts';

/** Whether a value for a protected column is a mask that an agent writes back or looks up. */
export function maskIn(analysis: Analysis, bytes: Buffer, parameters: BindHeader['parameters']): boolean {
  for (const statement of analysis.statements) {
    for (const { number, column } of statement.protectedParameters) {
      const value = parameters[number - 1];
      if (value === undefined || value.length < 1) continue;
      if (looksLikeMask(bytes.toString('utf8', value.start, value.start + value.length), column)) return true;
    }
  }
  return false;
}
