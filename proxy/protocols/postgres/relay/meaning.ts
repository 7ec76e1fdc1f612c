import { createHash } from 'node:crypto';
import type { Analysis } from '../sql/types.ts';
import { askServer } from './ask.ts';
import type { LaneSession } from './session-state.ts';

/** Settings of a session that change what a command does, as they are now: part of what is approved. */
export interface Meaning {
  /** For the hash: search_path, role, and everything below; values of the agent's own settings and texts as digests. */
  readonly settings: Readonly<Record<string, string>>;
  /** The server's own settings that this session has changed, by name: for a preview under the same. */
  readonly changed: Readonly<Record<string, string>>;
}

/** How long something may take, how it is logged and how results are written: the command is the same under any of them. */
const NEUTRAL = [
  ['application_name', 'client_encoding', 'client_min_messages', 'standard_conforming_strings', 'extra_float_digits'],
  ['statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'idle_session_timeout'],
  ['transaction_timeout', 'default_transaction_read_only', 'search_path', 'role', 'log_statement'],
].flat();

/** No role can be called this. */
const MADE_LOGIN = '';

const quoted = (value: string): string => `'${value.replaceAll("'", "''")}'`;
const digest = (value: string): string => `sha256:${createHash('sha256').update(value).digest('hex')}`;

/** Every operator and function by its full name: the agent's search_path may stand before pg_catalog. */
function question(custom: readonly string[]): string {
  const neutral = NEUTRAL.map((name) => `name OPERATOR(pg_catalog.<>) ${quoted(name)}`).join(' AND ');
  const own = custom.map((name) => `${quoted(name)}, pg_catalog.current_setting(${quoted(name)}, true)`).join(', ');
  return `SELECT pg_catalog.json_build_object('role', CURRENT_USER, 'path', pg_catalog.current_setting('search_path'),
    'custom', pg_catalog.json_build_object(${own}),
    'changed', (SELECT pg_catalog.json_object_agg(name, setting) FROM pg_catalog.pg_settings
      WHERE (source OPERATOR(pg_catalog.=) 'session' OR source OPERATOR(pg_catalog.=) 'client') AND ${neutral}))`;
}

interface Answer {
  readonly role: string;
  readonly path: string;
  readonly custom: Readonly<Record<string, string | null>>;
  readonly changed: Readonly<Record<string, string>> | null;
}

/** Texts of the prepared statements that the command runs by name, those that they run included. */
export function namedStatements(
  session: LaneSession,
  analysis: Analysis,
): Map<string, { text: string; analysis: Analysis }> {
  const found = new Map<string, { text: string; analysis: Analysis }>();
  const collect = ({ statements }: Analysis): void => {
    for (const { effects } of statements) {
      for (const effect of effects) {
        if (effect.type !== 'execute' || found.has(effect.name)) continue;
        const prepared = session.prepared.get(effect.name);
        if (prepared === undefined) continue;
        found.set(effect.name, { text: prepared.text, analysis: prepared.verdict.analysis });
        collect(prepared.verdict.analysis);
      }
    }
  };
  collect(analysis);
  return found;
}

/** Asks the session itself, outside of any transaction. @throws when the server refuses, or the session ends */
export async function meaningOf(session: LaneSession, analysis: Analysis): Promise<Meaning> {
  const [json = ''] = await askServer(session, [question([...session.customSettings].sort())]);
  const { role, path, custom, changed } = JSON.parse(json) as Answer;
  // A login that was made for this session or command is another the next time: what it stands for is nobody's name.
  const acting = role === session.login ? MADE_LOGIN : role;
  const settings: Record<string, string> = { ...changed, search_path: path, role: acting };
  for (const [name, value] of Object.entries(custom)) settings[name] = value === null ? 'unset' : digest(value);
  for (const [name, { text }] of namedStatements(session, analysis))
    settings[`prepared statement ${name}`] = digest(text);
  return { settings, changed: changed ?? {} };
}
