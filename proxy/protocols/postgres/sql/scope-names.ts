/** Names that PostgreSQL gives to output columns without AS (FigureColnameInternal in parse_target.c). */
import { type AstNode, child, list, strings, tagged, text } from './ast.ts';

const FIXED: Readonly<Record<string, string>> = {
  GroupingFunc: 'grouping',
  MergeSupportFunc: 'merge_action',
  A_ArrayExpr: 'array',
  RowExpr: 'row',
  CoalesceExpr: 'coalesce',
  XmlSerialize: 'xmlserialize',
  JsonParseExpr: 'json',
  JsonScalarExpr: 'json_scalar',
  JsonSerializeExpr: 'json_serialize',
  JsonObjectConstructor: 'json_object',
  JsonArrayConstructor: 'json_array',
  JsonArrayQueryConstructor: 'json_array',
  JsonObjectAgg: 'json_objectagg',
  JsonArrayAgg: 'json_arrayagg',
};

const BY_OPERATION: Readonly<Record<string, string>> = {
  IS_GREATEST: 'greatest',
  IS_LEAST: 'least',
  IS_XMLCONCAT: 'xmlconcat',
  IS_XMLELEMENT: 'xmlelement',
  IS_XMLFOREST: 'xmlforest',
  IS_XMLPARSE: 'xmlparse',
  IS_XMLPI: 'xmlpi',
  IS_XMLROOT: 'xmlroot',
  JSON_EXISTS_OP: 'json_exists',
  JSON_QUERY_OP: 'json_query',
  JSON_VALUE_OP: 'json_value',
  SVFOP_CURRENT_DATE: 'current_date',
  SVFOP_CURRENT_TIME: 'current_time',
  SVFOP_CURRENT_TIME_N: 'current_time',
  SVFOP_CURRENT_TIMESTAMP: 'current_timestamp',
  SVFOP_CURRENT_TIMESTAMP_N: 'current_timestamp',
  SVFOP_LOCALTIME: 'localtime',
  SVFOP_LOCALTIME_N: 'localtime',
  SVFOP_LOCALTIMESTAMP: 'localtimestamp',
  SVFOP_LOCALTIMESTAMP_N: 'localtimestamp',
  SVFOP_CURRENT_ROLE: 'current_role',
  SVFOP_CURRENT_USER: 'current_user',
  SVFOP_USER: 'user',
  SVFOP_SESSION_USER: 'session_user',
  SVFOP_CURRENT_CATALOG: 'current_catalog',
  SVFOP_CURRENT_SCHEMA: 'current_schema',
};

interface Guess {
  readonly name: string;
  /** A weak name yields to the type's name of a cast around it. */
  readonly strong: boolean;
}

function lastString(nodes: readonly AstNode[]): string | undefined {
  return strings(nodes)
    .filter((name) => name !== '')
    .at(-1);
}

const strong = (name: string | undefined): Guess | undefined =>
  name === undefined ? undefined : { name, strong: true };

function figure(node: AstNode | undefined): Guess | undefined {
  const inner = tagged(node);
  if (inner === undefined) return undefined;
  const { tag, body } = inner;
  switch (tag) {
    case 'ColumnRef':
      return strong(lastString(list(body, 'fields')));
    case 'A_Indirection':
      return strong(lastString(list(body, 'indirection'))) ?? figure(child(body, 'arg'));
    case 'FuncCall':
      return strong(lastString(list(body, 'funcname')));
    case 'A_Expr':
      return text(body, 'kind') === 'AEXPR_NULLIF' ? strong('nullif') : undefined;
    case 'TypeCast': {
      const guess = figure(child(body, 'arg'));
      if (guess?.strong === true) return guess;
      const type = lastString(list(child(body, 'typeName') ?? {}, 'names'));
      return type === undefined ? guess : { name: type, strong: false };
    }
    case 'CollateClause':
      return figure(child(body, 'arg'));
    case 'SubLink':
      return subLinkName(body);
    case 'CaseExpr': {
      const guess = figure(child(body, 'defresult'));
      return guess?.strong === true ? guess : { name: 'case', strong: false };
    }
    case 'SQLValueFunction':
    case 'MinMaxExpr':
    case 'XmlExpr':
    case 'JsonFuncExpr':
      return strong(BY_OPERATION[text(body, 'op') ?? '']);
    default:
      return strong(FIXED[tag]);
  }
}

function subLinkName(body: AstNode): Guess | undefined {
  switch (text(body, 'subLinkType')) {
    case 'EXISTS_SUBLINK':
      return strong('exists');
    case 'ARRAY_SUBLINK':
      return strong('array');
    case 'EXPR_SUBLINK': {
      let select = tagged(child(body, 'subselect'))?.body;
      for (let left = select; left !== undefined; left = child(left, 'larg')) select = left;
      if (select !== undefined && list(select, 'valuesLists').length > 0) return strong('column1');
      const target = tagged(list(select ?? {}, 'targetList')[0])?.body;
      return target === undefined ? undefined : strong(endsInStar(target) ? UNKNOWN_NAME : outputName(target));
    }
    default:
      return undefined;
  }
}

/** Of a sub-select whose first column comes out of a star: matches no name that can be written. */
const UNKNOWN_NAME = '\u0000';

function endsInStar(target: AstNode): boolean {
  const value = tagged(child(target, 'val'));
  const parts = value === undefined ? [] : list(value.body, value.tag === 'ColumnRef' ? 'fields' : 'indirection');
  return tagged(parts.at(-1))?.tag === 'A_Star';
}

/** @param target a ResTarget body of an output list */
export function outputName(target: AstNode): string {
  return text(target, 'name') ?? figure(child(target, 'val'))?.name ?? '?column?';
}

/** The name of a FROM item's only column, when it is an expression such as CURRENT_DATE. */
export function expressionName(node: AstNode): string {
  return figure(node)?.name ?? '?column?';
}
