import type { HeaderFields } from './port.ts';

/** Reading and changing of header fields that are kept flat: no object per message, no copies without need. */

/** The first value of a field; undefined: it is not there. @param name in lower case */
export function field(fields: HeaderFields, name: string): string | undefined {
  for (let index = 0; index + 1 < fields.length; index += 2) if (fields[index] === name) return fields[index + 1];
  return undefined;
}

/** Every value of a field, in order. @param name in lower case */
export function fieldValues(fields: HeaderFields, name: string): string[] {
  const values: string[] = [];
  for (let index = 0; index + 1 < fields.length; index += 2)
    if (fields[index] === name) values.push(fields[index + 1] ?? '');
  return values;
}

/** The elements of a list field (RFC 9110, section 5.6.1), trimmed, empty ones left out; quoted commas are not told apart. */
export function listElements(fields: HeaderFields, name: string): string[] {
  return fieldValues(fields, name)
    .flatMap((value) => value.split(','))
    .map((element) => element.trim())
    .filter((element) => element !== '');
}

/** Without fields; the same array where none of them is there. @param names in lower case */
export function withoutFields(fields: HeaderFields, names: ReadonlySet<string>): HeaderFields {
  return filterFields(fields, (name) => !names.has(name));
}

/** Those fields that a test lets stand; the same array when all do. */
export function filterFields(fields: HeaderFields, keep: (name: string, value: string) => boolean): HeaderFields {
  let kept: string[] | undefined;
  for (let index = 0; index + 1 < fields.length; index += 2) {
    const name = fields[index] ?? '';
    const value = fields[index + 1] ?? '';
    if (keep(name, value)) kept?.push(name, value);
    else kept ??= fields.slice(0, index);
  }
  return kept ?? fields;
}

/** With one field in place of whatever had its name. @param name in lower case */
export function withField(fields: HeaderFields, name: string, value: string): HeaderFields {
  return [...filterFields(fields, (other) => other !== name), name, value];
}

/** Name and value of each field, in order. */
export function* eachField(fields: HeaderFields): Generator<readonly [name: string, value: string]> {
  for (let index = 0; index + 1 < fields.length; index += 2) yield [fields[index] ?? '', fields[index + 1] ?? ''];
}
