/** Every kind of statement, and what layer A makes of it. A kind that is not listed is refused while anything is masked. */
import { type AstNode, child, flag, list, strings, tagged, text } from './ast.ts';
import {
  alterTable,
  createIndex,
  createStatistics,
  createTable,
  policy,
  protectedRelation,
  protectedRelations,
  relationScope,
  rename,
  touchNamed,
} from './guard-definitions.ts';
import { ownValues } from './guard-equality.ts';
import { columnTitle, type QueryScope } from './guard-inspection.ts';
import { inspectSelect, type Walk } from './guard-select.ts';
import { explainRuns, refuseCopy, refuseShadow } from './guard-targets.ts';
import { inspectWrite, isWrite } from './guard-writes.ts';
import type { ColumnSet } from './scope.ts';
import { relationTitle } from './scope-relations.ts';
import type { AnalysedStatement, ProtectedParameter } from './types.ts';

/** They name relations at most, and reveal nothing of their values. */
const HARMLESS: ReadonlySet<string> = new Set([
  ...['TransactionStmt', 'VariableSetStmt', 'VariableShowStmt', 'DiscardStmt', 'DeallocateStmt', 'ClosePortalStmt'],
  ...['FetchStmt', 'ListenStmt', 'UnlistenStmt', 'NotifyStmt', 'LockStmt', 'TruncateStmt', 'VacuumStmt', 'ReindexStmt'],
  ...['CheckPointStmt', 'ConstraintsSetStmt', 'CommentStmt', 'SecLabelStmt', 'GrantStmt', 'GrantRoleStmt', 'DropStmt'],
  ...[
    'AlterDefaultPrivilegesStmt',
    'CreateRoleStmt',
    'AlterRoleStmt',
    'AlterRoleSetStmt',
    'DropRoleStmt',
    'DropOwnedStmt',
  ],
  ...['ReassignOwnedStmt', 'CreatedbStmt', 'AlterDatabaseStmt', 'AlterDatabaseSetStmt', 'AlterDatabaseRefreshCollStmt'],
  ...['DropdbStmt', 'CreateSeqStmt', 'AlterSeqStmt', 'CreateEnumStmt', 'AlterEnumStmt', 'CompositeTypeStmt'],
  ...[
    'CreateRangeStmt',
    'AlterTypeStmt',
    'CreateDomainStmt',
    'AlterDomainStmt',
    'RefreshMatViewStmt',
    'AlterOwnerStmt',
  ],
  ...['CreateTableSpaceStmt', 'DropTableSpaceStmt', 'AlterTableSpaceOptionsStmt', 'AlterObjectDependsStmt'],
  ...['AlterCollationStmt', 'AlterStatsStmt', 'AlterTSDictionaryStmt', 'AlterTSConfigurationStmt', 'AlterOpFamilyStmt'],
  ...['DropSubscriptionStmt', 'DropUserMappingStmt', 'ReplicaIdentityStmt'],
]);

/** What refusals call the kinds that run code, or open a way to the data that no tree shows. */
const OPAQUE: Readonly<Record<string, string>> = {
  DoStmt: 'DO',
  CallStmt: 'CALL',
  CreateFunctionStmt: 'CREATE FUNCTION',
  AlterFunctionStmt: 'ALTER FUNCTION',
  CreateExtensionStmt: 'CREATE EXTENSION',
  CreateForeignTableStmt: 'CREATE FOREIGN TABLE',
  ImportForeignSchemaStmt: 'IMPORT FOREIGN SCHEMA',
  CreateForeignServerStmt: 'CREATE SERVER',
  AlterForeignServerStmt: 'ALTER SERVER',
  CreateUserMappingStmt: 'CREATE USER MAPPING',
  CreateSubscriptionStmt: 'CREATE SUBSCRIPTION',
  CreateEventTrigStmt: 'CREATE EVENT TRIGGER',
  CreateCastStmt: 'CREATE CAST',
  DefineStmt: 'CREATE OPERATOR, AGGREGATE or TYPE',
  LoadStmt: 'LOAD',
  AlterSystemStmt: 'ALTER SYSTEM',
};

/** Their expressions are walked as those of queries. */
const WALKED: ReadonlySet<string> = new Set([
  ...['ExplainStmt', 'PrepareStmt', 'DeclareCursorStmt', 'ExecuteStmt', 'CopyStmt', 'CreateTableAsStmt', 'ViewStmt'],
]);

const noScope: QueryScope = { parent: undefined, items: [], ctes: undefined };

/** @returns the columns of the rows that it returns, or undefined when it returns none, or their columns are not known here */
export function inspectStatement(walk: Walk, statement: AstNode): ColumnSet | undefined {
  const inner = tagged(statement);
  if (inner === undefined) return undefined;
  const { tag, body } = inner;
  if (tag === 'SelectStmt') {
    const result = inspectSelect(walk, body, undefined);
    return child(body, 'intoClause') === undefined ? result : undefined;
  }
  if (isWrite(tag)) return inspectWrite(walk, tag, body, undefined);
  return inspectUtility(walk, tag, body);
}

function inspectUtility(walk: Walk, tag: string, body: AstNode): ColumnSet | undefined {
  const { inspection } = walk;
  if (!WALKED.has(tag)) walk.expressions.refuseCalls(body);
  switch (tag) {
    case 'ExplainStmt':
      return explain(walk, body);
    case 'PrepareStmt':
    case 'DeclareCursorStmt':
      inspectStatement(walk, child(body, 'query') ?? {});
      return undefined;
    case 'ExecuteStmt':
      return execute(walk, body);
    case 'CopyStmt':
      copy(walk, body);
      return undefined;
    case 'CreateTableAsStmt':
      refuseShadow(inspection, child(child(body, 'into') ?? {}, 'rel'));
      refuseCopy(
        inspection,
        inspectStatement(walk, child(body, 'query') ?? {}) ?? { columns: [], open: undefined },
        'a new table',
      );
      return undefined;
    case 'ViewStmt':
      refuseShadow(inspection, child(body, 'view'));
      refuseCopy(
        inspection,
        inspectStatement(walk, child(body, 'query') ?? {}) ?? { columns: [], open: undefined },
        'a view',
      );
      protectedRelation(inspection, child(body, 'view'));
      return undefined;
    case 'CreateStmt':
      refuseShadow(inspection, child(body, 'relation'));
      createTable(walk, body);
      return undefined;
    case 'CreateSchemaStmt':
      for (const element of list(body, 'schemaElts')) inspectStatement(walk, element);
      return undefined;
    case 'IndexStmt':
      createIndex(walk, body);
      return undefined;
    case 'CreateStatsStmt':
      createStatistics(walk, body);
      return undefined;
    case 'CreatePolicyStmt':
    case 'AlterPolicyStmt':
      policy(walk, body);
      return undefined;
    case 'AlterTableStmt':
      alterTable(walk, body);
      return undefined;
    case 'RenameStmt':
    case 'AlterObjectSchemaStmt':
      rename(inspection, body);
      return undefined;
    default:
      if (HARMLESS.has(tag)) {
        protectedRelations(inspection, body);
        touchNamed(inspection, body.objects ?? body.object);
      } else {
        refuseOther(walk, tag, body);
      }
      return undefined;
  }
}

/** Triggers, rules, publications, CLUSTER (it orders rows by values) and kinds unknown here: not on protected relations. */
function refuseOther(walk: Walk, tag: string, body: AstNode): void {
  const { inspection } = walk;
  const opaque = OPAQUE[tag];
  if (opaque !== undefined) {
    inspection.violation('SPG408', opaque);
    return;
  }
  const [relation] = protectedRelations(inspection, body);
  const name = tag.replace(/Stmt$/, '');
  const wide = tag.endsWith('PublicationStmt') || (tag === 'ClusterStmt' && child(body, 'relation') === undefined);
  const known = ['CreateTrigStmt', 'RuleStmt', 'ClusterStmt', 'CreatePublicationStmt', 'AlterPublicationStmt'].includes(
    tag,
  );
  if (relation !== undefined) inspection.violation('SPG407', name, relationTitle(relation));
  else if (wide || !known) inspection.violation('SPG408', name);
}

function explain(walk: Walk, body: AstNode): ColumnSet {
  const { inspection } = walk;
  const runs = explainRuns(body);
  inspectStatement(walk, child(body, 'query') ?? {});
  const prepared = child(child(body, 'query') ?? {}, 'ExecuteStmt');
  // Row estimates come from samples of the values: beside an equality they tell whether a guess is a common value.
  const compares = inspection.equalityUsed || (prepared !== undefined && preparedParameters(walk, prepared).length > 0);
  if (compares) inspection.violation('SPG409', 'of a condition on a masked column');
  if (runs && inspection.touchesProtected) inspection.violation('SPG409', 'ANALYZE');
  return { columns: [{ name: 'QUERY PLAN', origin: undefined }], open: undefined };
}

function preparedStatements(walk: Walk, body: AstNode): readonly AnalysedStatement[] | undefined {
  return walk.inspection.environment.prepared(text(body, 'name') ?? '')?.statements;
}

const preparedParameters = (walk: Walk, body: AstNode): readonly ProtectedParameter[] =>
  preparedStatements(walk, body)?.flatMap((statement) => statement.protectedParameters) ?? [];

function execute(walk: Walk, body: AstNode): ColumnSet | undefined {
  const { inspection } = walk;
  walk.expressions.walk(body.params, noScope, 'a parameter of EXECUTE');
  const statements = preparedStatements(walk, body);
  if (statements === undefined) {
    inspection.violation('SPG413', text(body, 'name') ?? '');
    return undefined;
  }
  if (statements.some((statement) => statement.touchesProtected)) inspection.touchesProtected = true;
  for (const { number, column } of preparedParameters(walk, body))
    ownValues(inspection, list(body, 'params')[number - 1], column);
  const outputs = statements.at(-1)?.outputs;
  if (outputs === undefined) return undefined;
  const columns = outputs.map((column) => ({ name: '', origin: column === null ? undefined : { column, bare: true } }));
  return { columns, open: undefined };
}

function copy(walk: Walk, body: AstNode): void {
  const { inspection } = walk;
  // They reach the server's files, where the tables are, whatever the text says.
  if (flag(body, 'is_program')) inspection.violation('SPG408', 'COPY with a program');
  else if (body.filename !== undefined) inspection.violation('SPG408', 'COPY with a file of the server');
  const query = child(body, 'query');
  if (query !== undefined) {
    const result = inspectStatement(walk, query);
    // COPY tells no origins: nothing in it can be masked by column.
    if (result !== undefined) refuseCopy(inspection, result, 'the output of COPY');
    return;
  }
  const range = child(body, 'relation') ?? {};
  const scope = relationScope(walk, range);
  const item = scope.items[0];
  const names = strings(list(body, 'attlist'));
  const columns = item?.columns.filter((column) => names.length === 0 || names.includes(column.name)) ?? [];
  const origin = columns.find((column) => column.origin !== undefined)?.origin;
  // Values of COPY FROM STDIN pass unseen, so masks among them could not be caught.
  const place = flag(body, 'is_from') ? 'COPY FROM, where values cannot be checked' : 'COPY';
  if (origin !== undefined) inspection.violation('SPG401', columnTitle(origin.column), place);
  walk.expressions.walk(body.whereClause, scope, 'the condition of COPY');
}
