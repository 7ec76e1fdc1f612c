import { createVerdict } from '../judge.ts';
import type { StatementEffect } from '../sql/types.ts';
import type { Prepared, Reply } from './replies.ts';
import type { LaneSession } from './session-state.ts';

/** What a session learns when the server has confirmed something: names in force, names that moved. */

/**
 * The names are held since the messages went out, and are not set again here: a later Parse or Bind of the unnamed one may already
 * have taken its place, and rows must never be masked by the plan of a statement that the server no longer has under that name.
 */
export function confirm(item: { confirmed: boolean } | undefined): void {
  if (item !== undefined) item.confirmed = true;
}

/** The server refused or skipped this Parse or Bind: what it would have made does not exist. Later ones of that name may. */
export function forgetUnmade(session: LaneSession, { kind, prepared, portal }: Reply): void {
  if (kind === 'parse' && prepared !== undefined && session.prepared.get(prepared.name) === prepared)
    session.prepared.delete(prepared.name);
  if (kind === 'bind' && portal !== undefined && session.portals.get(portal.name) === portal)
    session.portals.delete(portal.name);
}

/** What stood under the name when the Close went out is gone; what came to stand there since lives. */
export function applyClose(session: LaneSession, { name, prepared, portal }: Reply): void {
  if (prepared !== undefined && session.prepared.get(name) === prepared) session.prepared.delete(name);
  if (portal !== undefined && session.portals.get(name) === portal) session.portals.delete(name);
}

/** The parameters whose value changes what a name means. */
function movesNames(parameter: string): boolean {
  return (
    parameter === 'search_path' || parameter === 'role' || parameter === 'session_authorization' || parameter === 'all'
  );
}

const RESETS_READ_ONLY: ReadonlySet<string> = new Set(['all', 'default_transaction_read_only']);

/** Back to what the session began with, which a policy that changed since does not mean: it is set once more. */
function readOnlyWasReset(session: LaneSession): void {
  if (session.judgement.scope.readOnly) session.readOnly = false;
}

function applyEffect(session: LaneSession, effect: StatementEffect): void {
  switch (effect.type) {
    case 'set':
      if (effect.name.includes('.')) session.customSettings.add(effect.name.toLowerCase());
      if (movesNames(effect.name.toLowerCase())) {
        session.namesMoved = true;
        session.namesMovedInTransaction = true;
      }
      if (effect.value === undefined && RESETS_READ_ONLY.has(effect.name.toLowerCase())) readOnlyWasReset(session);
      return;
    case 'discard':
      if (effect.target === 'ALL') {
        readOnlyWasReset(session);
        session.prepared.clear();
        session.namesMoved = true;
      }
      if (effect.target === 'ALL' || effect.target === 'TEMP') session.temporary.clear();
      return;
    case 'prepare':
      session.prepared.set(effect.name, preparedBySql(session, effect));
      return;
    case 'deallocate':
      if (effect.name === undefined) session.prepared.clear();
      else session.prepared.delete(effect.name);
      return;
    case 'createTemporary':
      session.temporary.add(effect.name);
      session.namesMoved = true;
      return;
    case 'ddl':
      session.catalogMoved = true;
      session.uncommitted = true;
      return;
    case 'transaction':
      // To a savepoint, or AND CHAIN: what moved in it moves back without the session becoming idle.
      if (session.namesMovedInTransaction) session.namesMoved = true;
      return;
    case 'declare':
      // Portals of the protocol and cursors of SQL are one namespace.
      session.portals.delete(effect.cursor);
      return;
    case 'close':
      if (effect.cursor === undefined) session.portals.clear();
      else session.portals.delete(effect.cursor);
      return;
    case 'show':
    case 'execute':
    case 'fetch':
    case 'copy':
      return;
    default:
      effect satisfies never;
  }
}

function preparedBySql(session: LaneSession, effect: Extract<StatementEffect, { type: 'prepare' }>): Prepared {
  const { scope } = session.judgement;
  const decision = scope.decide(effect.inner.command, { now: new Date(), session: session.facts });
  // Never kept under its text: that is the text of the whole query string, of which this is only a part.
  const verdict = createVerdict(effect.inner, decision, session.environment, scope);
  return {
    name: effect.name,
    text: effect.inner.command.text,
    bySql: true,
    verdict,
    confirmed: true,
    batch: session.batch,
    types: [],
    columns: undefined,
    columnsIn: undefined,
    layout: undefined,
  };
}

/** A (sub-)statement was completed: what it did to the session is now so. */
export function applyCompleted(session: LaneSession, reply: Reply): void {
  const verdict = reply.verdict;
  if (verdict === undefined || !verdict.hasEffects) return;
  const statements = verdict.analysis.statements;
  const done = reply.kind === 'query' ? statements.slice(reply.statement, reply.statement + 1) : statements;
  for (const statement of done) for (const effect of statement.effects) applyEffect(session, effect);
}
