import type { ResultRows } from '../../record/replay/results.ts';
import { clip, fill, widthOf } from './cells.ts';

/** A result as a table in a terminal, batch by batch: the first one decides how wide its columns are. */
export interface TableWriter {
  /** Lines for some rows, the head before the first of them. */
  rows(batch: ResultRows): string[];
  /** Rows that were written, of those handed over. */
  readonly shown: number;
}

/** Stands for NULL, which an empty text and the text NULL are not. */
export const NULL_MARK = '∅';
/** Cells of one column, at most. */
const COLUMN_WIDTH = 40;
/** A name or value that stands on a line of its own. */
const LONG_WIDTH = 400;
const NUMBER = /^-?\d+(\.\d+)?$/;

/** @param width of the whole table; one that is wider is written one value to a line. @param mostRows rows shown */
export function createTable(width: number, mostRows: number, dim: (text: string) => string): TableWriter {
  let layout:
    | { readonly widths: readonly number[]; readonly right: readonly boolean[]; readonly wide: boolean }
    | undefined;
  let count = 0;

  const between = ` ${dim('│')} `;

  /** A column that stands alone has the room of all. */
  const most = ({ columns }: ResultRows): number =>
    columns.length === 1 ? Math.max(COLUMN_WIDTH, width - 2) : COLUMN_WIDTH;

  function begin(batch: ResultRows): NonNullable<typeof layout> {
    const { columns, rows } = batch;
    const widest = most(batch);
    const sample = rows.slice(0, Math.max(1, mostRows));
    const widths = columns.map((name, index) =>
      sample.reduce(
        (found, row) => Math.max(found, widthOf(cell(row[index], widest))),
        Math.max(1, widthOf(clip(name, widest))),
      ),
    );
    const right = columns.map((_, index) => sample.every((row) => NUMBER.test(row[index] ?? '0')));
    const total = widths.reduce((sum, one) => sum + one + 3, -1);
    return { widths, right, wide: total > width };
  }

  return {
    get shown() {
      return count;
    },
    rows(batch) {
      const lines: string[] = [];
      const isFirst = layout === undefined;
      layout ??= begin(batch);
      const { widths, right, wide } = layout;
      if (isFirst && !wide) {
        const names = batch.columns.map((name, index) => fill(clip(name, most(batch)), widths[index] ?? 0));
        lines.push(` ${names.join(between)}`.trimEnd());
        lines.push(dim(widths.map((one) => '─'.repeat(one + 2)).join('┼')));
      }
      for (const row of batch.rows) {
        if (count >= mostRows) break;
        count++;
        if (wide) {
          lines.push(dim(`─ row ${count} ─`));
          const names = Math.min(
            COLUMN_WIDTH,
            Math.max(...batch.columns.map((name) => widthOf(clip(name, COLUMN_WIDTH)))),
          );
          for (const [index, value] of row.entries()) {
            const name = fill(clip(batch.columns[index] ?? '', COLUMN_WIDTH), names);
            lines.push(
              ` ${name}${between}${value === null ? dim(NULL_MARK) : clip(value, Math.min(LONG_WIDTH, Math.max(20, width - names - 4)))}`,
            );
          }
          continue;
        }
        const cells = row.map((value, index) => {
          const text = cell(value, most(batch));
          const padded = fill(text, widths[index] ?? 0, right[index]);
          return value === null ? padded.replace(text, () => dim(text)) : padded;
        });
        lines.push(` ${cells.join(between)}`.trimEnd());
      }
      return lines;
    },
  };
}

function cell(value: string | null | undefined, width: number): string {
  return value === null || value === undefined ? NULL_MARK : clip(value, width);
}
