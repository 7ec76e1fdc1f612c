/** SET, RESET, SHOW, DISCARD and set_config: what they ask of the session, and what they do to names in the same text. */
import type { StatementKind } from '../../../../policy/command.ts';
import { type AstNode, child, flag, list, literal, text } from './ast.ts';
import type { Collector, Scope } from './collector.ts';
import { isHarmlessSetting, refuseLater, refuseSetting, settingName, splitSearchPath } from './settings.ts';

interface SettingMode {
  /** False when the value is an expression. */
  readonly known: boolean;
  readonly local: boolean;
}

/** One parameter that is set: effect, tuple, refusal, and the search path for what comes behind it in the same text. */
export function recordSetting(
  name: string,
  value: string | undefined,
  mode: SettingMode,
  scope: Scope,
  into: Collector,
): void {
  const key = settingName(name);
  into.refuse(refuseSetting(key, value, mode.known));
  if (scope.later === true && into.environment.relationsAlike !== true) into.refuse(refuseLater(key));
  into.effects.push({ type: 'set', name: key, value, local: mode.local });
  into.kind('Set', scope.statement, mode.known && isHarmlessSetting(key, value));
  noteNames(key, value, into);
}

function noteNames(key: string, value: string | undefined, into: Collector): void {
  switch (key) {
    case 'search_path': {
      const path = value === undefined ? undefined : splitSearchPath(value);
      if (path === undefined) {
        into.namesUncertain = 'search_path changes in the same text';
        return;
      }
      into.path = expandPath(path, into);
      into.pathChanged = true;
      return;
    }
    case 'role':
    case 'session_authorization':
    case 'all':
      into.namesUncertain = 'the role or search_path changes in the same text';
      return;
    default:
      return;
  }
}

function expandPath(path: readonly string[], into: Collector): readonly string[] {
  const { role, catalog } = into.environment;
  return path
    .map((schema) => (schema === '$user' ? role : schema))
    .filter(
      (one) => one !== 'pg_temp' && (catalog === undefined || !catalog.hasSchema(one) || catalog.canUseSchema(one)),
    );
}

/** Parameters whose value is a list of identifiers: each is quoted on its own (guc.c, GUC_LIST_QUOTE). */
const IDENTIFIER_LISTS: ReadonlySet<string> = new Set([
  'search_path',
  'temp_tablespaces',
  'local_preload_libraries',
  'session_preload_libraries',
  'unix_socket_directories',
]);

const quoteIdentifier = (name: string): string =>
  /^[a-z_][a-z0-9_]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`;

function flatten(key: string, args: readonly AstNode[]): { readonly known: boolean; readonly value: string } {
  const values = args.map((argument) => literal(argument));
  return {
    known: values.every(({ known }) => known),
    value: values
      .map(({ value }) => (IDENTIFIER_LISTS.has(key) ? quoteIdentifier(value ?? '') : (value ?? '')))
      .join(', '),
  };
}

/** Of ALTER ROLE, DATABASE and SYSTEM … SET: code that all later sessions would load, this gateway's among them. */
export function refuseLibraries(node: AstNode, into: Collector): void {
  const key = settingName(text(node, 'name') ?? '');
  if (!LIBRARIES.has(key) || text(node, 'kind') !== 'VAR_SET_VALUE') return;
  const { known, value } = flatten(key, list(node, 'args'));
  into.refuse(refuseSetting(key, value, known));
}

const LIBRARIES: ReadonlySet<string> = new Set([
  'session_preload_libraries',
  'local_preload_libraries',
  'dynamic_library_path',
]);

/** VariableSetStmt (gram.y). */
export function walkSet(node: AstNode, scope: Scope, into: Collector): StatementKind {
  const kind = text(node, 'kind') ?? 'VAR_SET_VALUE';
  const name = text(node, 'name') ?? '';
  const local = flag(node, 'is_local');
  into.literalsMatter = true;
  switch (kind) {
    case 'VAR_SET_VALUE': {
      const key = settingName(name);
      const { known, value } = flatten(key, list(node, 'args'));
      recordSetting(key, value, { known, local }, scope, into);
      return 'Set';
    }
    case 'VAR_SET_DEFAULT':
    case 'VAR_RESET':
      recordSetting(name, undefined, { known: true, local }, scope, into);
      return 'Set';
    case 'VAR_RESET_ALL':
      recordSetting('all', undefined, { known: true, local: false }, scope, into);
      return 'Set';
    case 'VAR_SET_MULTI': {
      // SET TRANSACTION, SET SESSION CHARACTERISTICS AS TRANSACTION, SET TRANSACTION SNAPSHOT
      const session = name === 'SESSION CHARACTERISTICS';
      transactionModes(list(node, 'args'), session, into);
      into.kind('Transaction', scope.statement, true);
      return 'Transaction';
    }
    default:
      // VAR_SET_CURRENT: only in CREATE FUNCTION … SET x FROM CURRENT and ALTER ROLE.
      recordSetting(name, undefined, { known: false, local }, scope, into);
      return 'Set';
  }
}

/** Options of BEGIN and SET TRANSACTION as effects, so that the lane sees READ WRITE. */
export function transactionModes(options: readonly AstNode[], session: boolean, into: Collector): void {
  for (const option of options) {
    const element = child(option, 'DefElem');
    const name = element === undefined ? undefined : text(element, 'defname');
    if (element === undefined || name === undefined) continue;
    const { value } = literal(child(element, 'arg'));
    const shown =
      name === 'transaction_read_only' || name === 'transaction_deferrable' ? (value === '0' ? 'off' : 'on') : value;
    into.effects.push({ type: 'set', name: session ? `default_${name}` : name, value: shown, local: !session });
  }
}

export function walkShow(node: AstNode, scope: Scope, into: Collector): void {
  into.effects.push({ type: 'show', name: settingName(text(node, 'name') ?? '') });
  into.kind('Show', scope.statement, true);
}

export function walkDiscard(node: AstNode, scope: Scope, into: Collector): void {
  const target = text(node, 'target') ?? 'DISCARD_ALL';
  switch (target) {
    case 'DISCARD_PLANS':
      into.effects.push({ type: 'discard', target: 'PLANS' });
      break;
    case 'DISCARD_SEQUENCES':
      into.effects.push({ type: 'discard', target: 'SEQUENCES' });
      break;
    case 'DISCARD_TEMP':
      into.effects.push({ type: 'discard', target: 'TEMP' });
      into.namesUncertain = 'temporary objects are dropped in the same text';
      break;
    default:
      into.effects.push({ type: 'discard', target: 'ALL' });
      into.namesUncertain = 'the session is reset in the same text';
  }
  into.kind('Set', scope.statement, true);
}
