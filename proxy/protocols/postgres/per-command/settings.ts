import { quoteText } from '../credentials/names.ts';
import * as encode from '../wire/encode.ts';

/**
 * What a session has set, so that its next connection begins with it. Asked of the server, which alone knows: functions set parameters
 * too. Parameters of a transaction ended with it, and the login is another.
 */
export const READ_SETTINGS = settingsQuery('');

/** The same in a session whose own limit of time is too short for it: that one is read first, and lifted for the rest. */
export const READ_SETTINGS_UNLIMITED = `SELECT 'statement_timeout', pg_catalog.current_setting('statement_timeout');
  SET LOCAL statement_timeout = 0; ${settingsQuery(`AND name OPERATOR(pg_catalog.<>) 'statement_timeout'`)}`;

function settingsQuery(besides: string): string {
  return `SELECT name, pg_catalog.current_setting(name) FROM pg_catalog.pg_settings
    WHERE source OPERATOR(pg_catalog.=) 'session' AND name OPERATOR(pg_catalog.!~) '^transaction_'
      AND name OPERATOR(pg_catalog.<>) 'session_authorization' ${besides}
    UNION ALL SELECT 'role', pg_catalog.current_setting('role')`;
}

/** Names of the protocol's prepared statements that are left. */
export const READ_STATEMENTS = 'SELECT name, name FROM pg_catalog.pg_prepared_statements WHERE NOT from_sql';

/** The same, where the session's own limit of time is too short for it. */
export const READ_STATEMENTS_UNLIMITED = `SET LOCAL statement_timeout = 0; ${READ_STATEMENTS}`;

/** The query that sets them again; undefined when there are none. */
export function setAgain(settings: ReadonlyMap<string, string>): Buffer | undefined {
  // The role last: it may be one that could not set the others.
  const all = [...settings].filter(([name, value]) => name !== 'role' || value !== 'none');
  const ordered = [...all.filter(([name]) => name !== 'role'), ...all.filter(([name]) => name === 'role')];
  if (ordered.length === 0) return undefined;
  const calls = ordered.map(([name, value]) => `pg_catalog.set_config(${quoteText(name)}, ${quoteText(value)}, false)`);
  return encode.query(`SELECT ${calls.join(', ')}`);
}
