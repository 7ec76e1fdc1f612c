import type { PermissionRow } from './bundle.ts';
import { canonicalJson } from './canonical.ts';
import type { Candidates } from './judge-tuple.ts';
import type { CompiledMask } from './mask-plan.ts';
import type { Transform } from './masking.ts';
import { type CompiledRule, ruleName } from './rule.ts';

/** The rows of `SHOW sallyport.permissions`: Allow first, then what narrows it, then what is masked. */
export function permissionRows(candidates: Candidates, masks: readonly CompiledMask[]): readonly PermissionRow[] {
  const { allow, deny, requireApproval } = candidates;
  return [...[...allow, ...requireApproval, ...deny].map(ruleRow), ...masks.flatMap(maskRows)];
}

function ruleRow(rule: CompiledRule): PermissionRow {
  const { statements, relations, functions } = rule.spec.sql ?? httpLists(rule.spec.http);
  // In Deny and RequireApproval a list that is absent means any, unless another list narrows the rule to something else.
  const any = rule.effect === 'Allow' ? '' : '*';
  const conditions = [
    rule.spec.when ?? '',
    rule.effect === 'Allow' && rule.approval !== undefined ? 'after approval' : '',
  ];
  return {
    effect: rule.effect,
    statements: statements?.join(', ') ?? any,
    relations: relations?.join(', ') ?? (functions === undefined ? any : ''),
    functions: functions?.join(', ') ?? (relations === undefined ? any : ''),
    condition: conditions.filter((condition) => condition !== '').join(', '),
    rule: ruleName(rule.ref),
    message: rule.message ?? '',
  };
}

/** Methods stand where statements do, paths where relations do, tools of MCP where functions do. */
function httpLists(http: CompiledRule['spec']['http']): {
  readonly statements?: readonly string[] | undefined;
  readonly relations?: readonly string[] | undefined;
  readonly functions?: readonly string[] | undefined;
} {
  if (http === undefined) return {};
  const { methods, paths, mcp } = http;
  return { statements: mcp?.methods ?? methods, relations: paths, functions: mcp?.tools };
}

function maskRows(mask: CompiledMask): PermissionRow[] {
  const row = (relations: string, message: string): PermissionRow => ({
    effect: 'Mask',
    statements: '',
    relations,
    functions: '',
    condition: '',
    rule: mask.rule,
    message,
  });
  const { columns = [], fields = [], content = [], kubernetes = [] } = mask.object.spec;
  const transforms = new Map<string, { transform: Transform; patterns: string[] }>();
  const remember = (transform: Transform, pattern: string): void => {
    const key = canonicalJson(transform);
    const entry = transforms.get(key) ?? { transform, patterns: [] };
    entry.patterns.push(pattern);
    transforms.set(key, entry);
  };
  for (const column of mask.columns) {
    remember(column.transform, `${column.schema.pattern}.${column.relation.pattern}.${column.column.pattern}`);
  }
  const rows = [...transforms.values()].map(({ transform, patterns }) =>
    row(patterns.join(', '), transformWords(transform)),
  );
  if (columns.length === 0 && fields.length + content.length > 0) rows.push(row('', 'fields and contents'));
  else if (columns.length === 0 && kubernetes.length > 0) rows.push(row('', 'values in objects of Kubernetes'));
  return rows;
}

function keptWords(first: number, last: number): string {
  const ends = [first > 0 ? `first ${first}` : '', last > 0 ? `last ${last}` : ''].filter((end) => end !== '');
  return ends.length === 0 ? 'no characters shown' : `only the ${ends.join(' and ')} characters shown`;
}

function transformWords(transform: Transform): string {
  switch (transform.type) {
    case 'nullify':
      return 'shown as NULL';
    case 'redact':
      return `shown as ${transform.with}`;
    case 'tokenize':
      return 'shown as a token';
    case 'partial':
      return keptWords(transform.keepFirst, transform.keepLast);
    default: {
      const never: never = transform;
      throw new Error(`transform of unknown type ${JSON.stringify(never)}`);
    }
  }
}
