import type { Expr } from '@bufbuild/cel-spec/cel/expr/syntax_pb.js';
import { isTimeZone, TIME_FUNCTIONS } from './cel-time.ts';
import { compilePattern } from './pattern.ts';

/** Caps of docs/policy.md: what a reader can still check by eye and the proxy can still evaluate for every command. */
export const CEL_CAPS = { characters: 4096, depth: 32, nestedMacros: 3, listElements: 1000 } as const;

type Type = 'bool' | 'string' | 'int' | 'timestamp' | 'list' | 'map' | 'dyn';
interface Struct {
  readonly [field: string]: Shape;
}
type Shape = Type | Struct;

/** The variables of `when`, and nothing else. */
const VARIABLES: Struct = {
  subject: {
    username: 'string',
    serviceAccount: { namespace: 'string', name: 'string' },
    issuer: 'string',
    groups: 'list',
    claims: 'map',
    onBehalfOf: 'string',
  },
  connection: {
    namespace: 'string',
    name: 'string',
    labels: 'map',
    protocol: 'string',
    host: 'string',
    port: 'int',
    database: 'string',
  },
  command: {
    protocol: 'string',
    text: 'string',
    sql: {
      kind: 'string',
      hasWhere: 'bool',
      hasLimit: 'bool',
      hasLiterals: 'bool',
      relations: 'list',
      functions: 'list',
    },
    ssh: {
      operation: 'string',
      loginUser: 'string',
      argv: 'list',
      path: 'string',
      destination: 'string',
      subsystem: 'string',
      interactive: 'bool',
    },
    kubernetes: {
      verb: 'string',
      group: 'string',
      version: 'string',
      resource: 'string',
      subresource: 'string',
      namespace: 'string',
      name: 'string',
      operation: 'string',
      path: 'string',
      container: 'string',
      argv: 'list',
      stdin: 'bool',
      tty: 'bool',
      dryRun: 'bool',
      replicas: 'int',
      previousReplicas: 'int',
      object: 'dyn',
    },
    http: {
      method: 'string',
      host: 'string',
      path: 'string',
      query: 'map',
      headers: 'map',
      contentType: 'string',
      body: 'dyn',
    },
    mcp: {
      method: 'string',
      tool: 'string',
      arguments: 'dyn',
    },
  },
  session: {
    id: 'string',
    startedAt: 'timestamp',
    clientAddress: 'string',
    applicationName: 'string',
    commands: 'int',
  },
  now: 'timestamp',
};

const TYPE_NAMES: ReadonlySet<string> = new Set('bool int uint double string bytes list map null_type type'.split(' '));
const BOOLEAN_OPERATORS: ReadonlySet<string> = new Set([
  ...'_&&_ _||_ !_ _==_ _!=_ _<_ _<=_ _>_ _>=_ @in'.split(' '),
  ...'contains startsWith endsWith matches'.split(' '),
]);
/** Evaluated by the planner itself, so they are not in the table of functions. */
const PLANNED_OPERATORS: ReadonlySet<string> = new Set('_&&_ _||_ _?_:_ _[_] @not_strictly_false'.split(' '));

export interface Checked {
  /** Every path of a variable that the expression reads, such as `command.text` or `now`. */
  readonly paths: ReadonlySet<string>;
  /** In words; empty when the expression may be evaluated. */
  readonly errors: readonly string[];
}

/**
 * Checks a parsed expression against the declared variables, the known functions and the caps, and says what it reads. The library's
 * own checker knows only constants and identifiers.
 */
export function checkExpression(root: Expr, isFunction: (name: string) => boolean): Checked {
  const paths = new Set<string>();
  const errors: string[] = [];
  const fail = (message: string): Shape => {
    if (!errors.includes(message)) errors.push(message);
    return 'dyn';
  };
  let tooDeep = false;

  interface Place {
    readonly scope: ReadonlySet<string>;
    readonly depth: number;
    readonly macros: number;
    /** Function of the enclosing call: chains of && and || count as one level, since they are written flat. */
    readonly within?: string;
    /** Path so far when a struct may stand here, because a field of it is selected. */
    readonly selecting?: boolean;
  }
  /** A shape and, for a declared variable, its path. */
  interface Found {
    readonly shape: Shape;
    readonly path?: string;
  }

  function member(operand: Found, field: string, testOnly: boolean, selecting: boolean): Found {
    if (typeof operand.shape === 'string') {
      if (operand.shape === 'map' || operand.shape === 'dyn') return { shape: 'dyn' };
      return { shape: fail(`${operand.path ?? 'this value'} is a ${operand.shape} and has no field "${field}"`) };
    }
    const path = `${operand.path}.${field}`;
    const shape = Object.hasOwn(operand.shape, field) ? operand.shape[field] : undefined;
    if (shape === undefined) {
      const known = Object.keys(operand.shape).join(', ');
      return { shape: fail(`${operand.path} has no field "${field}"; it has ${known}`) };
    }
    if (testOnly) {
      paths.add(path);
      return { shape: 'bool' };
    }
    return found(path, shape, selecting);
  }

  function found(path: string, shape: Shape, selecting: boolean): Found {
    if (typeof shape === 'string') {
      paths.add(path);
      return { shape, path };
    }
    if (selecting) return { shape, path };
    return { shape: fail(`${path} is no value of its own: name one of its fields (${Object.keys(shape).join(', ')})`) };
  }

  function visit(expr: Expr | undefined, place: Place): Found {
    if (expr === undefined) return { shape: 'dyn' };
    if (place.depth > CEL_CAPS.depth) {
      tooDeep = true;
      return { shape: 'dyn' };
    }
    const below: Place = { scope: place.scope, depth: place.depth + 1, macros: place.macros };
    const kind = expr.exprKind;
    switch (kind.case) {
      case 'constExpr':
        switch (kind.value.constantKind.case) {
          case 'boolValue':
            return { shape: 'bool' };
          case 'stringValue':
            return { shape: 'string' };
          case 'int64Value':
            return { shape: 'int' };
          default:
            return { shape: 'dyn' };
        }
      case 'identExpr': {
        const name = kind.value.name.replace(/^\./, '');
        if (place.scope.has(name)) return { shape: 'dyn' };
        const shape = Object.hasOwn(VARIABLES, name) ? VARIABLES[name] : undefined;
        if (shape !== undefined) return found(name, shape, place.selecting === true);
        if (TYPE_NAMES.has(name)) return { shape: 'dyn' };
        return { shape: fail(`"${name}" is not known; there are ${Object.keys(VARIABLES).join(', ')}`) };
      }
      case 'selectExpr': {
        const operand = visit(kind.value.operand, { ...below, selecting: true });
        return member(operand, kind.value.field, kind.value.testOnly, place.selecting === true);
      }
      case 'callExpr': {
        const { function: name, args, target } = kind.value;
        if (name === '_[_]') {
          const operand = visit(args[0], { ...below, selecting: true });
          if (typeof operand.shape === 'string') {
            visit(args[1], below);
            return { shape: 'dyn' };
          }
          const key = args[1] === undefined ? undefined : constantString(args[1]);
          if (key === undefined) return { shape: fail(`${operand.path} is no map: name one of its fields`) };
          return member(operand, key, false, place.selecting === true);
        }
        if (!PLANNED_OPERATORS.has(name) && !isFunction(name)) {
          return { shape: fail(`there is no function "${name}"`) };
        }
        const flat = (name === '_&&_' || name === '_||_') && place.within === name;
        const inside: Place = { ...below, depth: flat ? place.depth : below.depth, within: name };
        if (target !== undefined) visit(target, inside);
        for (const arg of args) visit(arg, inside);
        checkConstantArgument(name, args);
        return { shape: BOOLEAN_OPERATORS.has(name) ? 'bool' : 'dyn' };
      }
      case 'listExpr':
        if (kind.value.elements.length > CEL_CAPS.listElements) {
          fail(`a list has ${kind.value.elements.length} elements; at most ${CEL_CAPS.listElements} are taken`);
        }
        for (const element of kind.value.elements) visit(element, below);
        return { shape: 'list' };
      case 'structExpr':
        if (kind.value.messageName !== '') {
          return { shape: fail(`messages such as ${kind.value.messageName}{} cannot be built here`) };
        }
        for (const entry of kind.value.entries) {
          if (entry.keyKind.case === 'mapKey') visit(entry.keyKind.value, below);
          visit(entry.value, below);
        }
        return { shape: 'map' };
      case 'comprehensionExpr': {
        const { iterRange, iterVar, iterVar2, accuVar, accuInit, loopCondition, loopStep, result } = kind.value;
        const macros = place.macros + 1;
        if (macros > CEL_CAPS.nestedMacros) {
          return { shape: fail(`macros (all, exists, map, ...) are nested more than ${CEL_CAPS.nestedMacros} deep`) };
        }
        visit(iterRange, below);
        visit(accuInit, below);
        const inside: Place = {
          scope: new Set([...place.scope, iterVar, iterVar2, accuVar]),
          depth: below.depth,
          macros,
        };
        for (const part of [loopCondition, loopStep, result]) visit(part, inside);
        return { shape: 'dyn' };
      }
      case undefined:
        return { shape: fail('the expression is empty in one place') };
      default: {
        const never: never = kind;
        throw new Error(`CEL expression of unknown kind ${JSON.stringify(never)}`);
      }
    }
  }

  function checkConstantArgument(name: string, args: readonly Expr[]): void {
    const text = args[0] === undefined ? undefined : constantString(args[0]);
    if (text === undefined) return;
    if (TIME_FUNCTIONS.has(name) && !isTimeZone(text)) {
      fail(`"${text}" is no time zone; write one such as Europe/Berlin, UTC or +02:00`);
    }
    if (name === 'matches') {
      const compiled = compilePattern(text);
      if (typeof compiled === 'string') fail(`matches: ${compiled}`);
    }
  }

  const { shape } = visit(root, { scope: new Set(), depth: 1, macros: 0 });
  if (tooDeep) fail(`the expression is nested more than ${CEL_CAPS.depth} deep`);
  if (errors.length === 0 && shape !== 'bool' && shape !== 'dyn') {
    fail(`the expression gives a ${typeof shape === 'string' ? shape : 'value'}, but a condition is true or false`);
  }
  return { paths, errors };
}

function constantString(expr: Expr): string | undefined {
  if (expr.exprKind.case !== 'constExpr') return undefined;
  const constant = expr.exprKind.value.constantKind;
  return constant.case === 'stringValue' ? constant.value : undefined;
}
