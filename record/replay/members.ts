/** Members of a recorded event, which is what somebody's bytes say it is. */

type Present<T> = { [K in keyof T]?: NonNullable<T[K]> };

/** Without the members that are undefined. */
export function some<T extends Readonly<Record<string, unknown>>>(members: T): Present<T> {
  const present: Partial<Record<string, unknown>> = {};
  for (const [name, value] of Object.entries(members)) if (value !== undefined) present[name] = value;
  return present as Present<T>;
}

export const isNumber = (value: unknown): value is number => typeof value === 'number';
export const text = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);
export const number = (value: unknown): number | undefined => (isNumber(value) ? value : undefined);
export const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
export const strings = (value: unknown): readonly string[] => list(value).filter((one) => typeof one === 'string');

export function object(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
}
