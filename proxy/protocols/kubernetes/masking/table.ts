import type { PlaceMask } from '../../../masking/body/place.ts';
import {
  eachMasked,
  isMembers,
  masked,
  type ObjectContext,
  type ObjectPlace,
  objectPlace,
  REDACTED,
} from './object-place.ts';

/**
 * Tables (metav1.Table): what the API server prints of objects. A row holds its object whole, its metadata alone or nothing. A cell that
 * shows a value which is masked in the object is masked; where the object is not there, and a rule could be about what is printed, every
 * cell but the name is.
 */
export interface TableColumns {
  /** Undefined: not known yet, so that any column may show anything. In a watch they are told once. */
  names: readonly { readonly name: string; readonly format: string; readonly type: string }[] | undefined;
}

/** Shorter values stand in other texts by chance: they are looked for as whole cells. */
const SHORTEST_PART = 4;

export function readColumns(definitions: unknown): TableColumns['names'] {
  if (!Array.isArray(definitions)) return undefined;
  return definitions.map((definition: unknown) => {
    const text = (key: string): string => {
      const value = isMembers(definition) ? definition[key] : undefined;
      return typeof value === 'string' ? value : '';
    };
    return { name: text('name'), format: text('format'), type: text('type') };
  });
}

export function rowPlace(row: unknown, columns: TableColumns, context: ObjectContext): ObjectPlace {
  const object = isMembers(row) ? row['object'] : undefined;
  const below = objectPlace(object, context);
  return {
    mask: undefined,
    step(key) {
      if (key === 'object') return below;
      if (key !== 'cells') return undefined;
      return cellsPlace(isMembers(row) ? row['cells'] : undefined, object, below, columns, context);
    },
  };
}

function cellsPlace(
  cells: unknown,
  object: unknown,
  below: ObjectPlace,
  columns: TableColumns,
  context: ObjectContext,
): ObjectPlace {
  const { rules, identity } = context;
  const whole = isMembers(object) && object['kind'] !== 'PartialObjectMetadata';
  const blind = !whole && rules.shownInTables(identity) ? (rules.of(identity).strictest ?? REDACTED) : undefined;
  const protectedValues: { readonly value: string; readonly mask: PlaceMask }[] = [];
  eachMasked(object, below, (value, mask) => {
    if (typeof value !== 'boolean' && String(value) !== '') protectedValues.push({ value: String(value), mask });
  });

  function maskOf(cell: unknown, column: number): PlaceMask | undefined {
    if (blind !== undefined && !isHarmless(columns, column)) return blind;
    const text = typeof cell === 'string' || typeof cell === 'number' ? String(cell) : undefined;
    if (text === undefined) return cell === null || cell === undefined ? undefined : protectedValues[0]?.mask;
    return protectedValues.find(
      ({ value }) => text === value || (value.length >= SHORTEST_PART && text.includes(value)),
    )?.mask;
  }

  return {
    mask: undefined,
    step(index) {
      const cell: unknown = Array.isArray(cells) ? cells[Number(index)] : undefined;
      const mask = maskOf(cell, Number(index));
      if (mask === undefined) return undefined;
      const { base64: _, ...plain } = mask;
      return masked(plain);
    },
  };
}

/** The name of the object, which is in its metadata too, and its age. */
function isHarmless({ names }: TableColumns, column: number): boolean {
  const definition = names?.[column];
  return (
    definition !== undefined &&
    (definition.format === 'name' || definition.type === 'date' || definition.name === 'Age')
  );
}

export function tablePlace(
  table: Readonly<Record<string, unknown>>,
  columns: TableColumns,
  context: ObjectContext,
): ObjectPlace {
  columns.names = readColumns(table['columnDefinitions']) ?? columns.names;
  const rows = table['rows'];
  return {
    mask: undefined,
    step(key) {
      if (key === 'metadata') return objectPlace({}, context).step(key);
      if (key !== 'rows') return undefined;
      return {
        mask: undefined,
        step: (index) => rowPlace(Array.isArray(rows) ? rows[Number(index)] : undefined, columns, context),
      };
    },
  };
}
