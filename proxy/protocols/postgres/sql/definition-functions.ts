/**
 * Functions that a definition names: those under an operator, a cast, an aggregate, a type. Whoever uses what was defined calls them
 * without their name, so they are judged where they are named.
 */
import { type AstNode, child, list, strings, text, unwrapAll } from './ast.ts';

/** Options of CREATE AGGREGATE, OPERATOR, TYPE, TYPE … AS RANGE and TEXT SEARCH whose value is a function (manual, these commands). */
const FUNCTION_OPTIONS: ReadonlySet<string> = new Set([
  ...['sfunc', 'finalfunc', 'combinefunc', 'serialfunc', 'deserialfunc', 'msfunc', 'minvfunc', 'mfinalfunc'],
  ...['sfunc1', 'sfunc2', 'function', 'procedure', 'restrict', 'join', 'input', 'output', 'receive', 'send'],
  ...['typmod_in', 'typmod_out', 'analyze', 'analyse', 'subscript', 'canonical', 'subtype_diff'],
  ...['init', 'lexize', 'start', 'gettoken', 'end', 'lextypes', 'headline', 'handler', 'validator', 'support'],
]);

/** pg_opclass items (parsenodes.h, OPCLASS_ITEM_FUNCTION). */
const ITEM_FUNCTION = 2;

/** Names of functions in a statement of any kind, each as its parts; empty for kinds that name none. */
export function functionsNamed(tag: string, node: AstNode): readonly (readonly string[])[] {
  const options = ['definition', 'params', 'options', 'func_options'].flatMap((field) => list(node, field));
  const named = unwrapAll(options, 'DefElem')
    .filter((option) => FUNCTION_OPTIONS.has((text(option, 'defname') ?? '').toLowerCase()))
    .map((option) => child(option, 'arg') ?? {})
    .map((value) =>
      strings([...list(child(value, 'TypeName') ?? {}, 'names'), ...list(child(value, 'List') ?? {}, 'items')]),
    );
  const fields = tag === 'AlterFunctionStmt' ? [] : ['func', 'fromsql', 'tosql'];
  const objects = fields.map((field) => strings(list(child(node, field) ?? {}, 'objname')));
  const items = unwrapAll(list(node, 'items'), 'CreateOpClassItem')
    .filter((item) => item['itemtype'] === ITEM_FUNCTION)
    .map((item) => strings(list(child(item, 'name') ?? {}, 'objname')));
  const lists = ['func_name', 'handler_name', 'plhandler', 'plinline', 'plvalidator'].map((field) =>
    strings(list(node, field)),
  );
  return [...named, ...objects, ...items, ...lists].filter((names) => names.length > 0);
}
