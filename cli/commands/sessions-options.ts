import { access } from 'node:fs/promises';
import { resolve } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { type TextFilter, textFilter } from '../../record/command-filter.ts';
import { describeCause, RecorderError } from '../../record/errors.ts';
import type { SegmentFilter } from '../../record/segment.ts';
import { listSessions, type SessionSummary } from '../../record/sessions.ts';
import { type CliIo, defaultState } from '../io.ts';

/** What the commands that read the record have in common. */
export interface CommonOptions {
  readonly state: string;
  readonly output: 'text' | 'json';
}

export function withCommon(command: Command, io: CliIo): Command {
  return command
    .option('--state <dir>', 'state folder of the gateway', defaultState(io.env))
    .addOption(new Option('-o, --output <format>', 'output format').choices(['text', 'json']).default('text'));
}

export function parseConnection(text: string): SegmentFilter {
  const parts = text.split('/');
  const [namespace, name] = parts.length === 1 ? ['default', text] : parts;
  if (parts.length > 2 || !namespace || !name) throw new InvalidArgumentError('write NAMESPACE/NAME.');
  return { namespace, name };
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

/** @throws RecorderError SPR008 when there is no record */
export async function recordFolder(options: Pick<CommonOptions, 'state'>, io: CliIo): Promise<string> {
  const root = resolve(io.cwd, options.state, 'record');
  try {
    await access(root);
  } catch (error) {
    throw new RecorderError('SPR008', { path: root, detail: describeCause(error), cause: error });
  }
  return root;
}

/** @throws RecorderError SPR009 when the record has no such session */
export async function findSession(root: string, id: string): Promise<SessionSummary> {
  for await (const session of listSessions(root, { session: id })) return session;
  throw new RecorderError('SPR009', { object: JSON.stringify(id) });
}
