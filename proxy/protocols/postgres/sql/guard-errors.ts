import type { GuardRefusal } from './types.ts';

/**
 * Refusals of layer A: statements that could reveal a masked value, or lift its masking. `{}` is filled with names only, never
 * with a value of the statement. They are never forwarded, whatever the rules say.
 */
export const GUARD_ERRORS = {
  SPG401: {
    reason: 'column {} is masked here and cannot be used in {}',
    hint: 'Select it as a plain column: it comes back masked. Filter, join, sort and group by other columns.',
  },
  SPG402: {
    reason: 'a whole row of {} cannot be used in {}, because it has masked columns',
    hint: 'Name the columns that you need.',
  },
  SPG403: {
    reason: 'column {} cannot be resolved with certainty beside masked columns',
    hint: 'Check that it exists, and write it with its table: table.column.',
  },
  SPG404: {
    reason: 'relation {} is not known, so it is not known what of it is masked',
    hint: 'Check the name, and write it with its schema. A relation made in this transaction can be used after COMMIT.',
  },
  SPG405: {
    reason: 'masked column {} cannot be copied to {}',
    hint: 'Leave the masked columns out of the list.',
  },
  SPG406: {
    reason: 'a value for masked column {} is itself a mask that this gateway made',
    hint: 'Leave the column out, or write the real value.',
  },
  SPG407: {
    reason: '{} on {} would reveal, change or lift its masking',
    hint: 'Ask the people who own the database to do it.',
  },
  SPG408: {
    reason: '{} cannot be checked while columns are masked here',
    hint: 'Ask the people who own the database to do it.',
  },
  SPG409: {
    reason: 'EXPLAIN {} would tell about masked values',
    hint: 'Use EXPLAIN without ANALYZE, on a statement that has no masked column in its conditions.',
  },
  SPG410: {
    reason: 'function {} can read masked values by another way',
    hint: 'Select from the table itself.',
  },
  SPG411: {
    reason: 'temporary relation {} would hide a relation of the same name',
    hint: 'Give it another name.',
  },
  SPG412: { reason: 'the statement is nested too deeply to be checked', hint: 'Write it in several statements.' },
  SPG413: { reason: 'prepared statement "{}" is not known', hint: 'Prepare it again, in a statement of its own.' },
  SPG414: {
    reason: 'the columns of {} are not known, so masked columns cannot be told apart in {}',
    hint: 'Name the columns, or give the function a column list: f() AS t(a int, b text).',
  },
  SPG415: {
    reason: 'relation {} could come to mean {}, which has masked columns, if {} were dropped now',
    hint: 'Write it with its schema.',
  },
} as const;

export type GuardErrorCode = keyof typeof GUARD_ERRORS;

/** Thrown inside layer A only, and turned into a refusal at its edge. */
export class GuardError extends Error {
  readonly refusal: GuardRefusal;

  constructor(code: GuardErrorCode, ...fill: readonly string[]) {
    const row = GUARD_ERRORS[code];
    let next = 0;
    const reason = row.reason.replaceAll('{}', () => fill[next++] ?? '');
    super(reason);
    this.refusal = { code, reason, hint: row.hint };
  }
}
