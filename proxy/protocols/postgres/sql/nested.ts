/** Statements that hold statements: EXPLAIN, PREPARE, EXECUTE, rules, SQL function bodies, CREATE SCHEMA. */
import { type AstNode, child, contains, isNode, list, literal, tagged, text } from './ast.ts';
import type { Collector, Scope } from './collector.ts';
import type { Analysis } from './types.ts';
import { type NestedWalk, type Outcome, walkUtility } from './utility.ts';
import { closeQuery, noteFacts, QUERY_KINDS, walkNode, walkRead, walkSubStatement } from './walk.ts';

/** `analyseAlone` analyses what PREPARE holds, as if it were sent by itself. */
export function nestedWalk(into: Collector, analyseAlone: (query: AstNode) => Analysis): NestedWalk {
  const open = (tag: string, scope: Scope): Scope => ({
    ...scope,
    statement: into.open(QUERY_KINDS[tag] ?? 'Unknown'),
  });

  const statement = (node: AstNode, scope: Scope): void => {
    const inner = tagged(node);
    if (inner === undefined) return;
    if (Object.hasOwn(QUERY_KINDS, inner.tag)) walkSubStatement(inner.tag, inner.body, scope, into);
    else walkUtility(inner.tag, inner.body, open(inner.tag, scope), into, self);
  };

  const source = (node: AstNode | undefined, scope: Scope): void => {
    const query = tagged(node);
    if (query === undefined) return;
    if (query.tag === 'ExecuteStmt') adopt(query.body, scope);
    else walkNode(query.tag, query.body, scope, into);
  };

  /** What EXECUTE runs: its tuples become this statement's. Undefined for an unknown name. */
  const adopt = (node: AstNode, scope: Scope): Analysis | undefined => {
    const name = text(node, 'name') ?? '';
    const prepared = into.prepared(name);
    into.effects.push({ type: 'execute', name });
    walkRead(node['params'], scope, into);
    if (prepared === undefined) {
      into.kind('Unknown', scope.statement);
      into.writes = true;
      return undefined;
    }
    into.adopt(prepared, scope);
    if (scope.executed) {
      for (const ran of prepared.statements) {
        into.writes ||= ran.writes;
        into.modifiesRows ||= ran.modifiesRows;
        for (const effect of ran.effects) {
          into.effects.push(effect);
          if (effect.type === 'set') into.namesUncertain = 'a prepared statement changes settings in the same text';
        }
      }
    }
    return prepared;
  };

  const self: NestedWalk = {
    statement,
    source,
    body(node, scope) {
      // Statements of a rule or an SQL body run later, as written now.
      const walkAll = (value: unknown): void => {
        if (Array.isArray(value)) {
          for (const item of value) walkAll(item);
          return;
        }
        if (!isNode(value)) return;
        const inner = tagged(value);
        if (inner === undefined) return;
        if (inner.tag === 'List') walkAll(inner.body['items']);
        else if (inner.tag === 'ReturnStmt') walkRead(inner.body, scope, into);
        else statement(value, scope);
      };
      walkAll(node['actions']);
      walkAll(node['sql_body']);
    },
    explain(node, scope): Outcome {
      const executed =
        scope.executed && list(node, 'options').some((option) => asksToRun(child(option, 'DefElem') ?? {}));
      const query = tagged(child(node, 'query'));
      into.fact(scope).kind = 'Explain';
      into.kind('Explain', scope.statement);
      if (query === undefined) return { kind: 'Explain', returnsRows: true };
      const inner: Scope = executed ? { ...open(query.tag, scope), executed } : { ...scope, executed };
      if (Object.hasOwn(QUERY_KINDS, query.tag)) {
        noteFacts(query.body, inner, into);
        walkNode(query.tag, query.body, inner, into);
        if (executed) closeQuery(QUERY_KINDS[query.tag] ?? 'Unknown', inner, into);
      } else if (query.tag === 'ExecuteStmt') {
        adopt(query.body, inner);
      } else if (executed) {
        walkUtility(query.tag, query.body, inner, into, self);
      } else if (query.tag === 'CreateTableAsStmt') {
        source(child(query.body, 'query'), inner);
      } else {
        walkRead(query.body, inner, into);
      }
      return { kind: 'Explain', returnsRows: true };
    },
    prepare(node, scope): Outcome {
      const query = child(node, 'query') ?? {};
      const analysis = analyseAlone(query);
      const name = text(node, 'name') ?? '';
      into.effects.push({ type: 'prepare', name, inner: analysis });
      into.preparedHere.set(name, analysis);
      into.adopt(analysis, scope);
      return { kind: analysis.statements[0]?.kind ?? 'Unknown', returnsRows: false };
    },
    execute(node, scope): Outcome {
      const ran = adopt(node, scope)?.statements[0];
      if (ran === undefined) return { kind: 'Unknown', returnsRows: true };
      return { kind: ran.kind, returnsRows: ran.returnsRows, ran };
    },
  };
  return self;
}

const FALSE: ReadonlySet<string> = new Set(['false', 'fals', 'fal', 'fa', 'f', 'off', 'of', 'no', 'n', '0']);

/** ANALYZE in any spelling, unless its value is plainly false (define.c, defGetBoolean). */
function asksToRun(option: AstNode): boolean {
  if ((text(option, 'defname') ?? '').toLowerCase() !== 'analyze') return false;
  const argument = child(option, 'arg');
  if (argument === undefined) return true;
  if (contains(argument, new Set(['Integer']))) {
    const integer = child(argument, 'Integer') ?? {};
    return (integer['ival'] ?? 0) !== 0;
  }
  const name = child(argument, 'String');
  const value = name === undefined ? literal(argument).value : text(name, 'sval');
  return !FALSE.has((value ?? '').toLowerCase());
}
