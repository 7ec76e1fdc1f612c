import type { Analysis } from '../sql/types.ts';
import type { LaneSession } from './session-state.ts';

/**
 * `SHOW sallyport.session` and `SHOW sallyport.permissions`: the statement is replaced by one that makes the gateway's rows from
 * constants, so that every protocol, format and transaction state comes out as it does for any other query.
 */

const literal = (value: string): string => `'${value.replaceAll("'", "''").replaceAll('\0', '')}'`;

function select(columns: readonly string[], rows: readonly (readonly string[])[]): string {
  const names = columns.join(', ');
  const values = rows.map((row) => `(${row.map((value) => `${literal(value)}::text`).join(', ')})`).join(', ');
  if (rows.length === 0) return `SELECT ${columns.map((name) => `NULL::text AS ${name}`).join(', ')} WHERE false`;
  return `SELECT ${names} FROM (VALUES ${values}) AS sallyport (${names})`;
}

function sessionRows(session: LaneSession): string {
  const { subject, sessionExpiresAt } = session.identity;
  const { namespace, name, mode } = session.connection;
  return select(
    ['name', 'value'],
    [
      ['session', session.id],
      ['subject', subject.username],
      ['groups', subject.groups.join(', ')],
      ['on_behalf_of', subject.onBehalfOf ?? ''],
      ['connection', `${namespace}/${name}`],
      ['mode', mode],
      ['expires_at', sessionExpiresAt.toISOString()],
      ['policy', session.bundle.hash],
    ],
  );
}

function permissionRows(session: LaneSession): string {
  const rows = session.judgement.scope.permissions();
  return select(
    ['effect', 'statements', 'relations', 'functions', 'condition', 'rule', 'message'],
    rows.map((row) => [row.effect, row.statements, row.relations, row.functions, row.condition, row.rule, row.message]),
  );
}

/** The statement to send instead, or undefined when this is none of the gateway's. Only a statement on its own is answered. */
export function gatewayRows(session: LaneSession, analysis: Analysis): string | undefined {
  const effect = analysis.statements.length === 1 ? analysis.statements[0]?.effects[0] : undefined;
  if (effect?.type !== 'show') return undefined;
  switch (effect.name.toLowerCase()) {
    case 'sallyport.session':
      return sessionRows(session);
    case 'sallyport.permissions':
      return permissionRows(session);
    default:
      return undefined;
  }
}
