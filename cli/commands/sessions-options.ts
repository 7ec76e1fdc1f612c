import { type Command, InvalidArgumentError, Option } from 'commander';
import { type TextFilter, textFilter } from '../../record/command-filter.ts';
import type { ConnectionName, PlaceOptions } from '../places/place-options.ts';
import type { RecordPlace } from '../places/record.ts';

/** What the commands that read the record have in common. */
export interface CommonOptions extends PlaceOptions {
  readonly output: 'text' | 'json';
}

export function withCommon(command: Command, place: RecordPlace): Command {
  return place
    .options(command)
    .addOption(new Option('-o, --output <format>', 'output format').choices(['text', 'json']).default('text'));
}

export function parseConnection(text: string): ConnectionName {
  const parts = text.split('/');
  const [namespace, name] = parts.length === 1 ? [undefined, text] : parts;
  if (parts.length > 2 || namespace === '' || !name) throw new InvalidArgumentError('write NAMESPACE/NAME.');
  return namespace === undefined ? { name } : { namespace, name };
}

const UNITS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** A length of time in milliseconds: `500ms`, `2s`, `30m`, `12h`, `7d`. */
export function parseLength(text: string): number {
  const milliseconds = lengthOf(text);
  if (milliseconds === undefined) throw new InvalidArgumentError('write a time such as 500ms, 2s or 1m.');
  return milliseconds;
}

function lengthOf(text: string): number | undefined {
  const [, count, unit] = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text) ?? [];
  return unit === undefined ? undefined : Number(count) * UNITS[unit as keyof typeof UNITS];
}

/** A moment: so long ago (`30m`, `7d`), or a date. */
export function parseMoment(text: string): Date {
  const ago = lengthOf(text);
  const date = new Date(ago === undefined ? Date.parse(text) : Date.now() - ago);
  if (Number.isNaN(date.getTime())) throw new InvalidArgumentError('write 30m, 12h, 7d or a date such as 2026-03-01.');
  return date;
}

/** Part of a text, or `/REGULAR EXPRESSION/` in RE2 syntax. */
export function parseText(text: string): TextFilter {
  const filter = textFilter(text);
  if (typeof filter === 'string') throw new InvalidArgumentError(`${filter}.`);
  return filter;
}
