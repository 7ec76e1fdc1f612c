import type { CompiledMask } from './mask-plan.ts';

export interface CatalogColumnName {
  readonly schema: string;
  readonly relation: string;
  readonly column: string;
}

/** How much of what looks sensitive in a database is masked there. */
export interface MaskingCoverage {
  /** Columns that a rule masks, whatever they are called. */
  readonly masked: number;
  /** `SCHEMA.RELATION.COLUMN` of those that look sensitive and that no rule masks, in the order of their names. */
  readonly unmasked: readonly string[];
  /** By rule, `NAMESPACE/NAME`: columns that it masks, and which of its column patterns, counted from 0, match none. */
  readonly rules: Readonly<Record<string, { readonly columns: number; readonly unmatched: readonly number[] }>>;
}

/** Words of names, as people write them into schemas; in the singular. */
const SENSITIVE = [
  ...['e_?mail(_address)?', 'phone', 'mobile', 'telephone', 'fax', '(phone|mobile)_number'],
  ...['ssn', 'social_security(_number)?', 'national_id', 'tax_(id|number)', 'passport(_number)?', 'driver_licen[cs]e'],
  ...['iban', 'account_number', 'credit_card', 'card_number', 'pan', 'cvv', 'cvc'],
  ...['password', 'passwd', 'pwd', 'secret', 'token', 'api_?key', 'private_key', 'access_key'],
  ...['birth_?(date|day)', 'date_of_birth', 'dob', 'salary', 'diagnosis'],
  ...['first_?name', 'last_?name', 'surname', 'full_?name', 'street', 'postal_code', 'zip_?code', 'home_address'],
];
const LOOKS_SENSITIVE = new RegExp(`(^|_)(${SENSITIVE.join('|')})s?(_|$)`);

/** Whether a column's name says that people would mind. By name alone: nothing of the data is read. */
export function looksSensitive(column: string): boolean {
  const words = column.replaceAll(/([a-z0-9])([A-Z])/g, '$1_$2').replaceAll(/[^A-Za-z0-9]+/g, '_');
  return LOOKS_SENSITIVE.test(words.toLowerCase());
}

/** Compares the columns of a database with the masks that apply to its connection, for whoever no exception is made. Pure. */
export function maskingCoverage(columns: Iterable<CatalogColumnName>, masks: readonly CompiledMask[]): MaskingCoverage {
  const rules = masks.map((mask) => ({ mask, columns: 0, matched: new Set<number>() }));
  const unmasked: string[] = [];
  let masked = 0;
  for (const { schema, relation, column } of columns) {
    let covered = false;
    for (const rule of rules) {
      const matching = rule.mask.columns.flatMap((pattern, index) =>
        pattern.column.matches(column) && pattern.relation.matches(relation) && pattern.schema.matches(schema)
          ? [index]
          : [],
      );
      if (matching.length === 0) continue;
      covered = true;
      rule.columns += 1;
      for (const index of matching) rule.matched.add(index);
    }
    if (covered) masked += 1;
    else if (looksSensitive(column)) unmasked.push(`${schema}.${relation}.${column}`);
  }
  return {
    masked,
    unmasked: unmasked.sort(),
    rules: Object.fromEntries(
      rules.map(({ mask, columns: count, matched }) => [
        mask.rule,
        { columns: count, unmatched: mask.columns.flatMap((_pattern, index) => (matched.has(index) ? [] : [index])) },
      ]),
    ),
  };
}
