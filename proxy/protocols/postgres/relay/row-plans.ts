import type { RowMasker } from '../../../masking/rows.ts';
import type { Verdict } from '../judge.ts';
import { type ColumnDescription, rowDescription, sameBytes } from '../wire/decode.ts';
import { MaskDisagreement, rowMaskerFor, type SessionMasking } from './masking.ts';
import type { Portal } from './replies.ts';

/** How the rows of one result are masked, and everything that this follows from: used again only while all of it is the same. */
export interface RowPlan {
  /** Body of the RowDescription, byte for byte. */
  readonly description: Buffer;
  readonly columns: readonly ColumnDescription[];
  readonly verdict: Verdict | undefined;
  readonly masking: SessionMasking;
  readonly temporary: boolean;
  readonly masker: RowMasker | undefined;
}

/** A statement that was described without its formats, executed with some. */
interface FormatPlan {
  readonly columns: readonly ColumnDescription[];
  readonly verdict: Verdict | undefined;
  readonly masking: SessionMasking;
  readonly formats: string;
  readonly masker: RowMasker | undefined;
}

const KEPT = 64;

/**
 * The plans of one session. A statement that is run again describes the same columns: comparing the bytes is all that is left of
 * decoding them, resolving their origins and compiling their masks.
 */
export class RowPlans {
  readonly #byVerdict = new Map<Verdict, RowPlan>();
  readonly #byStatement = new WeakMap<Portal['statement'], FormatPlan>();

  /** For the RowDescription body in bytes[start, end), of sub-statement `index`. @throws MaskDisagreement */
  described(
    masking: SessionMasking,
    verdict: Verdict | undefined,
    index: number,
    temporary: boolean,
    bytes: Buffer,
    start: number,
    end: number,
  ): RowPlan {
    const known = verdict === undefined ? undefined : this.#byVerdict.get(verdict);
    if (
      known !== undefined &&
      known.masking === masking &&
      known.temporary === temporary &&
      index === 0 &&
      sameBytes(bytes, start, end, known.description)
    ) {
      return known;
    }
    const columns = rowDescription(bytes, start, end);
    const masker = maskerOf(masking, verdict, index, temporary, columns, undefined);
    const plan = { description: Buffer.from(bytes.subarray(start, end)), columns, verdict, masking, temporary, masker };
    if (verdict !== undefined && index === 0) {
      if (this.#byVerdict.size >= KEPT) this.#byVerdict.clear();
      this.#byVerdict.set(verdict, plan);
    }
    return plan;
  }

  /** For rows of a portal that only its statement was described for: the formats are those of Bind. @throws MaskDisagreement */
  executed(
    masking: SessionMasking,
    verdict: Verdict | undefined,
    temporary: boolean,
    portal: Portal,
  ): RowMasker | undefined {
    const { statement, resultFormats } = portal;
    const columns = statement.columns ?? [];
    const formats = resultFormats.join();
    const known = this.#byStatement.get(statement);
    if (
      known?.columns === columns &&
      known.verdict === verdict &&
      known.masking === masking &&
      known.formats === formats &&
      !temporary
    ) {
      return known.masker;
    }
    const masker = maskerOf(masking, verdict, 0, temporary, columns, resultFormats.length === 0 ? [0] : resultFormats);
    this.#byStatement.set(statement, { columns, verdict, masking, formats, masker });
    return masker;
  }
}

function maskerOf(
  masking: SessionMasking,
  verdict: Verdict | undefined,
  index: number,
  temporary: boolean,
  columns: readonly ColumnDescription[],
  formats: readonly number[] | undefined,
): RowMasker | undefined {
  if (verdict === undefined) throw new TypeError('rows of a command without a verdict');
  const statement = verdict.analysis.statements[index];
  if (statement?.returnsRows === false && verdict.environment.protection?.empty === false)
    throw new MaskDisagreement('rows of a statement that returns none');
  const predicted = statement?.outputs;
  return rowMaskerFor(masking, verdict.environment, columns, predicted, formats, temporary);
}
