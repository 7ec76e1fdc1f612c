/** BEGIN, COMMIT, ROLLBACK, savepoints and two-phase commit. */
import { type AstNode, list, text } from './ast.ts';
import type { Collector, Scope } from './collector.ts';
import { transactionModes } from './setting-statements.ts';
import type { StatementEffect } from './types.ts';

type Action = Extract<StatementEffect, { type: 'transaction' }>['action'];

const ACTIONS: Readonly<Record<string, Action>> = {
  TRANS_STMT_BEGIN: 'begin',
  TRANS_STMT_START: 'begin',
  TRANS_STMT_COMMIT: 'commit',
  TRANS_STMT_ROLLBACK: 'rollback',
  TRANS_STMT_SAVEPOINT: 'savepoint',
  TRANS_STMT_RELEASE: 'release',
  TRANS_STMT_ROLLBACK_TO: 'rollbackTo',
  TRANS_STMT_PREPARE: 'prepare',
  TRANS_STMT_COMMIT_PREPARED: 'other',
  TRANS_STMT_ROLLBACK_PREPARED: 'other',
};

export function walkTransaction(node: AstNode, scope: Scope, into: Collector): void {
  const kind = text(node, 'kind') ?? '';
  const action = ACTIONS[kind] ?? 'other';
  into.effects.push({ type: 'transaction', action });
  transactionModes(list(node, 'options'), false, into);
  // Two-phase commit outlives the session: it holds locks for ever, or ends what another session of the same login prepared.
  const twoPhase = action === 'prepare' || action === 'other';
  if (twoPhase) into.writes = true;
  into.kind('Transaction', scope.statement, !twoPhase);
  if (into.pathChanged && action !== 'begin' && action !== 'savepoint') {
    into.namesUncertain = 'search_path changes and a transaction ends in the same text';
  }
}
