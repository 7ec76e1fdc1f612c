import { expect, test } from 'vitest';
import type { MaskingRule } from '../api/resources.ts';
import { compileMask } from './mask-plan.ts';
import { looksSensitive, maskingCoverage } from './masking-coverage.ts';

const rule = (name: string, ...match: string[]) =>
  compileMask({
    apiVersion: 'sallyport.dev/v1alpha1',
    kind: 'MaskingRule',
    metadata: { namespace: 'shop', name },
    spec: { connections: { all: true }, columns: [{ match }] },
  } as MaskingRule);

test.each([
  'email',
  'EMAIL',
  'customer_e_mail',
  'emailAddress',
  'phone_numbers',
  'passwordHash',
  'api-key',
  'dob',
  'ssn',
])('%s looks sensitive', (column) => expect(looksSensitive(column)).toBe(true));
test.each(['id', 'total', 'tokenizer_state', 'phonetics', 'emailed_at_all', 'company', 'span', 'name'])(
  '%s does not',
  (column) => expect(looksSensitive(column)).toBe(false),
);

test('columns are counted once, and what no rule masks is named', () => {
  const columns = ['email', 'phone', 'total', 'name'].map((column) => ({
    schema: 'public',
    relation: 'customers',
    column,
  }));
  const masks = [rule('personal', '*.*.email', '*.customers.name', '*.*.iban'), rule('again', '*.*.email')];
  expect(maskingCoverage(columns, masks)).toEqual({
    masked: 2,
    unmasked: ['public.customers.phone'],
    rules: { 'shop/personal': { columns: 2, unmatched: [2] }, 'shop/again': { columns: 1, unmatched: [] } },
  });
  expect(maskingCoverage(columns, [])).toEqual({
    masked: 0,
    unmasked: ['public.customers.email', 'public.customers.phone'],
    rules: {},
  });
});
