/**
 * Every statement node of PostgreSQL 18's grammar (gram.y, `stmt`): what kind it is. A node that is not listed is `Unknown`.
 * Statements whose kind depends on more than the node have their own function in utility.ts.
 */
import type { StatementKind } from '../../../../policy/command.ts';

/** Statements that are judged by one kind; relations that stand directly in the node get this kind, all others are read. */
export const PLAIN_STATEMENTS: Readonly<Record<string, StatementKind>> = {
  AlterCollationStmt: 'AlterOther',
  AlterDatabaseRefreshCollStmt: 'AlterDatabase',
  AlterDatabaseSetStmt: 'AlterDatabase',
  AlterDatabaseStmt: 'AlterDatabase',
  AlterDomainStmt: 'AlterType',
  AlterEnumStmt: 'AlterType',
  AlterEventTrigStmt: 'AlterOther',
  AlterExtensionContentsStmt: 'AlterOther',
  AlterExtensionStmt: 'AlterOther',
  AlterFdwStmt: 'AlterOther',
  AlterForeignServerStmt: 'AlterOther',
  AlterFunctionStmt: 'AlterFunction',
  AlterOpFamilyStmt: 'AlterOther',
  AlterOperatorStmt: 'AlterOther',
  AlterPolicyStmt: 'AlterOther',
  AlterPublicationStmt: 'AlterOther',
  AlterRoleSetStmt: 'AlterRole',
  AlterRoleStmt: 'AlterRole',
  AlterSeqStmt: 'AlterSequence',
  AlterStatsStmt: 'AlterOther',
  AlterSubscriptionStmt: 'AlterOther',
  AlterSystemStmt: 'AlterSystem',
  AlterTSConfigurationStmt: 'AlterOther',
  AlterTSDictionaryStmt: 'AlterOther',
  AlterTableMoveAllStmt: 'AlterOther',
  AlterTableSpaceOptionsStmt: 'AlterOther',
  AlterTypeStmt: 'AlterType',
  AlterUserMappingStmt: 'AlterOther',
  CheckPointStmt: 'AlterSystem',
  ClusterStmt: 'Vacuum',
  CompositeTypeStmt: 'CreateType',
  CreateAmStmt: 'CreateOther',
  CreateCastStmt: 'CreateOther',
  CreateConversionStmt: 'CreateOther',
  CreateDomainStmt: 'CreateType',
  CreateEnumStmt: 'CreateType',
  CreateEventTrigStmt: 'CreateOther',
  CreateExtensionStmt: 'CreateExtension',
  CreateFdwStmt: 'CreateOther',
  CreateForeignServerStmt: 'CreateOther',
  CreateFunctionStmt: 'CreateFunction',
  CreateOpClassStmt: 'CreateOther',
  CreateOpFamilyStmt: 'CreateOther',
  CreatePLangStmt: 'CreateOther',
  CreatePolicyStmt: 'CreateOther',
  CreatePublicationStmt: 'CreateOther',
  CreateRangeStmt: 'CreateType',
  CreateRoleStmt: 'CreateRole',
  CreateSeqStmt: 'CreateSequence',
  CreateStatsStmt: 'CreateOther',
  CreateSubscriptionStmt: 'CreateOther',
  CreateTableSpaceStmt: 'CreateOther',
  CreateTransformStmt: 'CreateOther',
  CreateTrigStmt: 'CreateTrigger',
  CreateUserMappingStmt: 'CreateOther',
  CreatedbStmt: 'CreateDatabase',
  DropRoleStmt: 'DropRole',
  DropSubscriptionStmt: 'DropOther',
  DropTableSpaceStmt: 'DropOther',
  DropUserMappingStmt: 'DropOther',
  DropdbStmt: 'DropDatabase',
  GrantRoleStmt: 'Grant',
  IndexStmt: 'CreateIndex',
  LoadStmt: 'AlterSystem',
  LockStmt: 'Lock',
  NotifyStmt: 'Notify',
  ListenStmt: 'Listen',
  RefreshMatViewStmt: 'RefreshView',
  ReindexStmt: 'Reindex',
  RuleStmt: 'CreateOther',
  SecLabelStmt: 'AlterOther',
  // What these drop or hand over is decided by the server alone.
  DropOwnedStmt: 'Opaque',
  ReassignOwnedStmt: 'Opaque',
  DoStmt: 'Opaque',
};

/** Kinds that create the relation which stands in the node: an unqualified name goes to the first schema of the path. */
export const CREATING: ReadonlySet<StatementKind> = new Set([
  'CreateTable',
  'CreateView',
  'CreateSequence',
  'CreateType',
]);

/** Plain kinds that neither change the catalog nor anything that a READ ONLY transaction protects. */
const NO_DDL: ReadonlySet<StatementKind> = new Set([
  'Lock',
  'Notify',
  'Listen',
  'Vacuum',
  'Analyze',
  'Reindex',
  'Opaque',
  'AlterSystem',
  'Set',
  'Show',
  'Transaction',
  'Select',
  'Insert',
  'Update',
  'Delete',
  'Merge',
  'CopyTo',
  'CopyFrom',
  'CopyProgram',
  'Explain',
  'Unknown',
  'Truncate',
  'RefreshView',
  'Comment',
  'Grant',
  'Revoke',
]);

/** The catalog snapshot may differ after a statement of this kind. Opaque code may hold DDL as well. */
export const changesCatalog = (kind: StatementKind): boolean => !NO_DDL.has(kind) || kind === 'Opaque';

type Operation = 'Create' | 'Alter' | 'Drop';

/** The family of an ObjectType in kinds: OBJECT_TABLE is `Table`, and so on; what has no kinds of its own is `Other`. */
function family(objectType: string | undefined): string {
  switch (objectType) {
    case undefined:
      // OBJECT_ACCESS_METHOD is the default value 0, which the JSON leaves out.
      return 'Other';
    case 'OBJECT_TABLE':
    case 'OBJECT_FOREIGN_TABLE':
    case 'OBJECT_COLUMN':
    case 'OBJECT_TABCONSTRAINT':
      return 'Table';
    case 'OBJECT_VIEW':
    case 'OBJECT_MATVIEW':
      return 'View';
    case 'OBJECT_INDEX':
      return 'Index';
    case 'OBJECT_SEQUENCE':
      return 'Sequence';
    case 'OBJECT_SCHEMA':
      return 'Schema';
    case 'OBJECT_DATABASE':
      return 'Database';
    case 'OBJECT_FUNCTION':
    case 'OBJECT_PROCEDURE':
    case 'OBJECT_ROUTINE':
    case 'OBJECT_AGGREGATE':
      return 'Function';
    case 'OBJECT_TRIGGER':
      return 'Trigger';
    case 'OBJECT_TYPE':
    case 'OBJECT_DOMAIN':
    case 'OBJECT_DOMCONSTRAINT':
    case 'OBJECT_ATTRIBUTE':
      return 'Type';
    case 'OBJECT_EXTENSION':
      return 'Extension';
    case 'OBJECT_ROLE':
      return 'Role';
    default:
      return 'Other';
  }
}

const FAMILY_KINDS: Readonly<Record<string, Readonly<Record<Operation, StatementKind>>>> = {
  Table: { Create: 'CreateTable', Alter: 'AlterTable', Drop: 'DropTable' },
  // ALTER TABLE also names views and indexes, and ALTER INDEX … RENAME also names tables: one kind for all of them.
  View: { Create: 'CreateView', Alter: 'AlterTable', Drop: 'DropView' },
  Index: { Create: 'CreateIndex', Alter: 'AlterTable', Drop: 'DropIndex' },
  Sequence: { Create: 'CreateSequence', Alter: 'AlterSequence', Drop: 'DropSequence' },
  Schema: { Create: 'CreateSchema', Alter: 'AlterOther', Drop: 'DropSchema' },
  Database: { Create: 'CreateDatabase', Alter: 'AlterDatabase', Drop: 'DropDatabase' },
  Function: { Create: 'CreateFunction', Alter: 'AlterFunction', Drop: 'DropFunction' },
  Trigger: { Create: 'CreateTrigger', Alter: 'AlterOther', Drop: 'DropTrigger' },
  Type: { Create: 'CreateType', Alter: 'AlterType', Drop: 'DropType' },
  Extension: { Create: 'CreateExtension', Alter: 'AlterOther', Drop: 'DropExtension' },
  Role: { Create: 'CreateRole', Alter: 'AlterRole', Drop: 'DropRole' },
  Other: { Create: 'CreateOther', Alter: 'AlterOther', Drop: 'DropOther' },
};

export function objectKind(operation: Operation, objectType: string | undefined): StatementKind {
  return FAMILY_KINDS[family(objectType)]?.[operation] ?? 'Unknown';
}

/** Object types whose DROP, COMMENT and SECURITY LABEL name a relation: the whole list of names is the relation's. */
export const RELATION_OBJECTS: ReadonlySet<string> = new Set([
  'OBJECT_TABLE',
  'OBJECT_FOREIGN_TABLE',
  'OBJECT_VIEW',
  'OBJECT_MATVIEW',
  'OBJECT_INDEX',
  'OBJECT_SEQUENCE',
]);

/** Object types that live on a relation: its names come first, the object's own name last. */
export const RELATION_PARTS: ReadonlySet<string> = new Set([
  'OBJECT_TRIGGER',
  'OBJECT_RULE',
  'OBJECT_POLICY',
  'OBJECT_COLUMN',
  'OBJECT_TABCONSTRAINT',
]);
