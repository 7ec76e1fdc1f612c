/**
 * Which relations FOR UPDATE, FOR SHARE and their kin lock. PostgreSQL wants a right to write for it (manual, SELECT, "The
 * Locking Clause"), so each becomes a `Lock` tuple besides the `Select` one.
 */
import { type AstNode, child, list, tagged, text } from './ast.ts';

/** RangeVar bodies of all relations in FROM that the locking clauses of this SELECT reach; CTEs are sorted out by the caller. */
export function lockedRelations(select: AstNode): readonly AstNode[] {
  const found: AstNode[] = [];
  for (const item of list(select, 'lockingClause')) {
    const clause = child(item, 'LockingClause') ?? {};
    const names = list(clause, 'lockedRels').flatMap((one) => text(child(one, 'RangeVar') ?? {}, 'relname') ?? []);
    collect(list(select, 'fromClause'), names.length === 0 ? undefined : new Set(names), found);
  }
  return found;
}

/** `names` undefined: everything below is locked. */
function collect(items: readonly AstNode[], names: ReadonlySet<string> | undefined, found: AstNode[]): void {
  for (const item of items) {
    const node = tagged(item);
    if (node === undefined) continue;
    const alias = text(child(node.body, 'alias') ?? {}, 'aliasname');
    const hit = (name: string | undefined): boolean => names === undefined || (name !== undefined && names.has(name));
    switch (node.tag) {
      case 'RangeVar':
        if (hit(alias ?? text(node.body, 'relname'))) found.push(node.body);
        break;
      case 'JoinExpr':
        collect(
          [child(node.body, 'larg') ?? {}, child(node.body, 'rarg') ?? {}],
          hit(alias) ? undefined : names,
          found,
        );
        break;
      case 'RangeSubselect':
        if (hit(alias)) inside(child(child(node.body, 'subquery') ?? {}, 'SelectStmt'), found);
        break;
      case 'RangeTableSample':
        collect([child(node.body, 'relation') ?? {}], names, found);
        break;
      default:
        break;
    }
  }
}

/** A locking clause on a sub-select locks all that it reads from. */
function inside(select: AstNode | undefined, found: AstNode[]): void {
  if (select === undefined) return;
  collect(list(select, 'fromClause'), undefined, found);
  inside(child(select, 'larg'), found);
  inside(child(select, 'rarg'), found);
}
