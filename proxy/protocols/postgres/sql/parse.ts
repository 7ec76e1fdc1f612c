/**
 * PostgreSQL's own parser, as WebAssembly, kept sane.
 *
 * A syntax error comes back as a value and leaves the instance as it was. A JavaScript exception out of the WebAssembly code
 * (its stack overflows on deep nesting, or its heap is full) unwinds without restoring the module's own stack pointer and
 * memory contexts: such an instance is never used again. One spare stands ready, so that the next statement does not wait.
 */
import { createRequire } from 'node:module';
import { type AstNode, isNode, list } from './ast.ts';

/** One statement of the text. `node` is the RawStmt body: `{ stmt: { Tag: … }, stmt_location?, stmt_len? }` (bytes). */
export type ParseOutcome =
  | { readonly ok: true; readonly statements: readonly AstNode[] }
  | { readonly ok: false; readonly message: string; readonly position?: number };

interface Engine {
  _malloc(size: number): number;
  _free(pointer: number): void;
  _wasm_parse_query_raw(query: number): number;
  _wasm_free_parse_result(result: number): void;
  _wasm_scan(query: number): number;
  _wasm_free_string(text: number): void;
  lengthBytesUTF8(text: string): number;
  stringToUTF8(text: string, pointer: number, size: number): void;
  UTF8ToString(pointer: number): string;
  getValue(pointer: number, type: 'i32'): number;
  readonly HEAPU8: Uint8Array;
}

/** The heap starts at 128 MiB and never shrinks: an instance that a text made grow past this is replaced. */
const MAX_HEAP = 192 * 1024 * 1024;

const require = createRequire(import.meta.url);
let factory: (() => Promise<Engine>) | undefined;
let engine: Engine | undefined;
let spare: Engine | undefined;
let making = false;
let unavailable = 'it is being loaded';

function make(): Promise<Engine> {
  factory ??= require('libpg-query/wasm/libpg-query.js') as () => Promise<Engine>;
  return factory();
}

function refill(): void {
  if (making) return;
  making = true;
  make().then(
    (made) => {
      making = false;
      if (engine === undefined) engine = made;
      else spare = made;
      if (spare === undefined) refill();
    },
    (error: unknown) => {
      // Without an engine parse() refuses every statement and gives this reason.
      making = false;
      unavailable = error instanceof Error ? error.message : String(error);
    },
  );
}

/** Loads the parser and its spare; later calls return at once. */
export async function loadParser(): Promise<void> {
  engine ??= await make();
  spare ??= await make();
}

function retire(): void {
  engine = spare;
  spare = undefined;
  refill();
}

/** The tree as JSON, or what is wrong with the text. */
export type JsonOutcome = { readonly tree: string } | { readonly message: string; readonly position?: number };

/**
 * Parses one query string, as the server would. Never throws. `position` is 1-based, in characters, as in ErrorResponse field P.
 * An empty string, or one of blanks and comments alone, has no statements.
 */
export function parse(sql: string): ParseOutcome {
  if (sql === '') return { ok: true, statements: [] };
  const outcome = parseToJson(sql);
  return 'tree' in outcome ? readTree(outcome.tree) : { ok: false, ...outcome };
}

export function parseToJson(sql: string): JsonOutcome {
  // The parser reads a C string: it would see only the part before a NUL, the record another text than what it judged.
  if (sql.includes('\0')) return { message: 'the statement contains a NUL byte' };
  const current = engine;
  if (current === undefined) return { message: `the SQL parser is not available: ${unavailable}` };
  try {
    return run(current, sql);
  } catch {
    retire();
    return { message: 'the statement is nested too deeply' };
  } finally {
    if (engine === current && current.HEAPU8.length > MAX_HEAP) retire();
  }
}

/** The tokens of a text as JSON, or undefined when the scanner takes it for none. Never throws. Not for the hot path. */
export function scanToJson(sql: string): string | undefined {
  const current = engine;
  if (current === undefined || sql.includes('\0')) return undefined;
  try {
    const size = current.lengthBytesUTF8(sql) + 1;
    const query = current._malloc(size);
    if (query === 0) throw new Error('out of memory');
    current.stringToUTF8(sql, query, size);
    const result = current._wasm_scan(query);
    const tokens = result === 0 ? undefined : current.UTF8ToString(result);
    current._free(query);
    if (result !== 0) current._wasm_free_string(result);
    return tokens;
  } catch {
    retire();
    return undefined;
  }
}

export function readTree(tree: string): ParseOutcome {
  let parsed: unknown;
  try {
    parsed = JSON.parse(tree);
  } catch {
    return { ok: false, message: 'the statement is nested too deeply' };
  }
  if (!isNode(parsed)) return { ok: false, message: 'the parser returned no tree' };
  return { ok: true, statements: list(parsed, 'stmts') };
}

/** Layout of PgQueryParseResult {tree, stderr, error} and PgQueryError {message, funcname, filename, lineno, cursorpos}, 32 bit. */
function run(current: Engine, sql: string): JsonOutcome {
  const size = current.lengthBytesUTF8(sql) + 1;
  const query = current._malloc(size);
  if (query === 0) throw new Error('out of memory');
  current.stringToUTF8(sql, query, size);
  const result = current._wasm_parse_query_raw(query);
  if (result === 0) throw new Error('out of memory');
  const tree = current.getValue(result, 'i32');
  const error = current.getValue(result + 8, 'i32');
  let outcome: JsonOutcome;
  if (error !== 0) {
    const message = current.getValue(error, 'i32');
    const position = current.getValue(error + 16, 'i32');
    outcome = {
      message: message === 0 ? 'syntax error' : current.UTF8ToString(message),
      ...(position > 0 ? { position } : {}),
    };
  } else if (tree === 0) {
    outcome = { message: 'the parser returned no tree' };
  } else {
    outcome = { tree: current.UTF8ToString(tree) };
  }
  current._free(query);
  current._wasm_free_parse_result(result);
  return outcome;
}

// Whoever can import this can parse: nobody has to remember to wait.
await loadParser();
