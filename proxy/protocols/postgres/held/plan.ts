import { isNode, list, text } from '../sql/ast.ts';

/** Lines and depth beyond which a plan tells an approver no more. */
const MOST_LINES = 30;

/**
 * The planner's guess from EXPLAIN (FORMAT JSON), and its plan in a few lines. Conditions and everything else that could quote a
 * value are left out: what a plan says of values is not masked.
 */
export function readPlan(json: string): { rows: number; plan: string } | undefined {
  const parsed: unknown = JSON.parse(json);
  const first: unknown = Array.isArray(parsed) ? parsed[0] : undefined;
  const root = isNode(first) && isNode(first['Plan']) ? first['Plan'] : undefined;
  if (root === undefined) return undefined;
  const lines: string[] = [];
  const visit = (node: Readonly<Record<string, unknown>>, depth: number): void => {
    if (lines.length >= MOST_LINES) return;
    const relation = text(node, 'Relation Name');
    const index = text(node, 'Index Name');
    const on = `${index === undefined ? '' : ` using ${index}`}${relation === undefined ? '' : ` on ${relation}`}`;
    const rows = typeof node['Plan Rows'] === 'number' ? `  (rows=${node['Plan Rows']})` : '';
    lines.push(`${'  '.repeat(depth)}${text(node, 'Node Type') ?? 'Plan'}${on}${rows}`);
    for (const inner of list(node, 'Plans')) visit(inner, depth + 1);
  };
  visit(root, 0);
  const rows = root['Plan Rows'];
  return typeof rows === 'number' ? { rows, plan: lines.join('\n') } : undefined;
}
