import type { MaskPlan } from '../../../../policy/masking.ts';
import { type CopyMasker, createCopyMasker } from '../../../masking/copy.ts';
import type { ContentDetectors } from '../../../masking/detectors.ts';
import type { FieldMasks } from '../../../masking/fields.ts';
import type { ColumnTreatment, TokenKeys } from '../../../masking/port.ts';
import { createRowMasker, type RowMasker } from '../../../masking/rows.ts';
import type { Environment } from '../judge.ts';
import type { ProtectedColumn } from '../sql/types.ts';
import type { ColumnDescription } from '../wire/decode.ts';
import type { Reply } from './replies.ts';

/** Keys and detectors of one mask plan, made once per session and bundle: what layer B needs besides the plan. */
export interface SessionMasking {
  readonly masks: MaskPlan;
  readonly content: ContentDetectors | undefined;
  readonly fields: FieldMasks | undefined;
  readonly tokenKey: TokenKeys;
}

/** What the wire says and layer A's prediction do not agree on: the session ends (docs/postgres.md, two layers). */
export class MaskDisagreement extends Error {
  override readonly name = 'MaskDisagreement';
}

function protectedAt(environment: Environment, column: ColumnDescription): ProtectedColumn | undefined {
  return environment.protection?.columns(column.tableOid)?.get(column.attnum);
}

function checkKnown(environment: Environment, column: ColumnDescription, temporary: boolean): void {
  if (column.tableOid === 0 || environment.catalog === undefined || temporary) return;
  if (environment.catalog.relationByOid(column.tableOid) === undefined) {
    throw new MaskDisagreement(`column ${column.name} comes from a relation that the catalog snapshot does not have`);
  }
}

/**
 * Layer B: the treatment of each result column by its origin on the wire, whatever layer A said, and the comparison of the two.
 * `formats` are the result formats of Bind, or undefined for the formats in the description itself.
 * @throws MaskDisagreement
 */
export function rowMaskerFor(
  masking: SessionMasking,
  environment: Environment,
  columns: readonly ColumnDescription[],
  predicted: readonly (ProtectedColumn | null)[] | undefined,
  formats: readonly number[] | undefined,
  temporary: boolean,
): RowMasker | undefined {
  if (masking.masks.empty) return undefined;
  let treated = masking.content !== undefined || masking.fields !== undefined;
  if (predicted !== undefined && predicted.length !== columns.length) {
    throw new MaskDisagreement(`${columns.length} columns instead of ${predicted.length}`);
  }
  const treatments = columns.map((column, index): ColumnTreatment => {
    const found = protectedAt(environment, column);
    const expected = predicted?.[index];
    if (masking.masks.hasColumns) checkKnown(environment, column, temporary);
    if (expected === null && found !== undefined)
      throw new MaskDisagreement(`column ${column.name} carries a protected value`);
    if (expected && found === undefined) throw new MaskDisagreement(`column ${column.name} has lost its origin`);
    const code = formats === undefined ? column.format : formats.length === 1 ? formats[0] : formats[index];
    const base = { typeOid: column.typeOid, format: code === 1 ? (1 as const) : (0 as const) };
    if (found === undefined) return base;
    treated = true;
    const { transform, rules } = found.mask;
    const tokenKey = transform.type === 'tokenize' ? masking.tokenKey(transform) : undefined;
    return { ...base, transform, rules, ...(tokenKey === undefined ? {} : { tokenKey }) };
  });
  return treated ? createRowMasker(treatments, masking.content, masking.fields) : undefined;
}

/** Content masks on the rows of a COPY TO STDOUT. Its columns have no origin on the wire: layer A refuses protected ones. */
export function copyMaskerFor(masking: SessionMasking, reply: Reply | undefined): CopyMasker | undefined {
  if (masking.content === undefined && masking.fields === undefined) return undefined;
  const effects = reply?.verdict?.analysis.statements[reply.statement]?.effects ?? [];
  const copy = effects.find((effect) => effect.type === 'copy');
  if (copy === undefined) throw new MaskDisagreement('rows of a COPY that was not recognised as one');
  return createCopyMasker(copy.format, masking.content, masking.fields);
}
