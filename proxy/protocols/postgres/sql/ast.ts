/**
 * Reading PostgreSQL's raw parse tree as JSON (libpg_query's protobuf-JSON shape).
 *
 * A node is either wrapped, `{ "SelectStmt": { … } }`, wherever the C struct has a `Node *`, or bare, where the struct has a
 * typed pointer (`larg`, `relation`, `funccall`, …). Fields with their default value (false, 0, empty) are absent. The readers
 * below never trust the shape: a field of another type reads as absent.
 */
export type AstNode = Readonly<Record<string, unknown>>;

export const isNode = (value: unknown): value is AstNode =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** A bare child node. */
export function child(node: AstNode, field: string): AstNode | undefined {
  const value = node[field];
  return isNode(value) ? value : undefined;
}

export function list(node: AstNode, field: string): readonly AstNode[] {
  const value = node[field];
  return Array.isArray(value) ? value.filter(isNode) : [];
}

export function text(node: AstNode, field: string): string | undefined {
  const value = node[field];
  return typeof value === 'string' ? value : undefined;
}

export const flag = (node: AstNode, field: string): boolean => node[field] === true;

/** Unwraps `{ Tag: body }`; undefined for a bare or empty node. */
export function tagged(node: AstNode | undefined): { readonly tag: string; readonly body: AstNode } | undefined {
  if (node === undefined) return undefined;
  for (const tag in node) {
    const first = tag.charCodeAt(0);
    if (first < 65 || first > 90) return undefined;
    const body = node[tag];
    return isNode(body) ? { tag, body } : undefined;
  }
  return undefined;
}

/** The body of a wrapped node of the given tag. */
export function unwrap(node: AstNode | undefined, tag: string): AstNode | undefined {
  return node === undefined ? undefined : child(node, tag);
}

/** The bodies of those nodes of a list that have the given tag. */
export function unwrapAll(nodes: readonly AstNode[], tag: string): readonly AstNode[] {
  const bodies: AstNode[] = [];
  for (const node of nodes) {
    const body = child(node, tag);
    if (body !== undefined) bodies.push(body);
  }
  return bodies;
}

/** `[{String:{sval:'a'}}, {String:{sval:'b'}}]` as `['a', 'b']`; anything that is not a String node reads as ''. */
export function strings(nodes: readonly AstNode[]): string[] {
  return nodes.map((node) => {
    const body = unwrap(node, 'String');
    return body === undefined ? '' : (text(body, 'sval') ?? '');
  });
}

/** Names inside a `List` node, or a plain array of String nodes. */
export function listNames(node: AstNode | undefined): string[] {
  const body = unwrap(node, 'List');
  return body === undefined ? [] : strings(list(body, 'items'));
}

/** RangeVar is the only raw node with `relname`, wrapped or bare. */
export const isRangeVar = (node: AstNode): boolean => typeof node['relname'] === 'string';

/** The constant of an A_Const body as text: undefined for NULL. */
export function constantText(constant: AstNode): string | undefined {
  const sval = child(constant, 'sval');
  if (sval !== undefined) return text(sval, 'sval') ?? '';
  const ival = child(constant, 'ival');
  if (ival !== undefined) return String(typeof ival['ival'] === 'number' ? ival['ival'] : 0);
  const fval = child(constant, 'fval');
  if (fval !== undefined) return text(fval, 'fval') ?? '0';
  const boolval = child(constant, 'boolval');
  if (boolval !== undefined) return flag(boolval, 'boolval') ? 'true' : 'false';
  const bsval = child(constant, 'bsval');
  if (bsval !== undefined) return text(bsval, 'bsval') ?? '';
  return undefined;
}

/** The text of a constant expression, through casts such as `'x'::text`; `known` is false for anything else. */
export function literal(node: AstNode | undefined): { readonly known: boolean; readonly value: string | undefined } {
  const inner = tagged(node);
  if (inner?.tag === 'A_Const') return { known: true, value: constantText(inner.body) };
  if (inner?.tag === 'TypeCast') return literal(child(inner.body, 'arg'));
  return { known: false, value: undefined };
}

/** True when any node below has one of the tags. */
export function contains(value: unknown, tags: ReadonlySet<string>): boolean {
  if (Array.isArray(value)) return value.some((item) => contains(item, tags));
  if (!isNode(value)) return false;
  for (const key in value) {
    if (tags.has(key)) return true;
    if (contains(value[key], tags)) return true;
  }
  return false;
}
