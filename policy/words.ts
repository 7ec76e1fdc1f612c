import type { SqlTuple, StatementKind, Tuple } from './command.ts';
import { httpGrantWords, httpTupleWords, httpUncoveredAdvice } from './http/words.ts';
import {
  kubernetesGrantWords,
  kubernetesOpaqueAdvice,
  kubernetesTupleWords,
  kubernetesUncoveredAdvice,
} from './kubernetes/words.ts';
import { isTupleOf, protocolOf, type TupleOf } from './protocol-rules.ts';
import { type CompiledRule, type Protocol, ruleName } from './rule.ts';
import { sshGrantWords, sshOpaqueAdvice, sshTupleWords, sshUncoveredAdvice } from './ssh/words.ts';

/** How one protocol speaks of its tuples. */
interface ProtocolWords<T = Tuple> {
  tuple(tuple: T): string;
  /** What to send in place of something opaque that a Deny rule hit. */
  opaqueAdvice(tuple: T): string;
  /** Why no Allow rule covers a tuple where that is not plain from its words. */
  uncoveredAdvice(tuple: T): string | undefined;
}

function forAnyTuple<P extends Protocol>(protocol: P, words: ProtocolWords<TupleOf[P]>): ProtocolWords {
  const own = (tuple: Tuple): TupleOf[P] => {
    if (isTupleOf(protocol, tuple)) return tuple;
    throw new Error(`a tuple ${tuple.type} is none of ${protocol}`);
  };
  return {
    tuple: (tuple) => words.tuple(own(tuple)),
    opaqueAdvice: (tuple) => words.opaqueAdvice(own(tuple)),
    uncoveredAdvice: (tuple) => words.uncoveredAdvice(own(tuple)),
  };
}

const WORDS: Readonly<Record<Protocol, ProtocolWords>> = {
  Postgres: forAnyTuple('Postgres', {
    tuple: sqlTupleWords,
    opaqueAdvice: () => 'send plain statements instead',
    uncoveredAdvice: () => undefined,
  }),
  SSH: forAnyTuple('SSH', {
    tuple: sshTupleWords,
    opaqueAdvice: sshOpaqueAdvice,
    uncoveredAdvice: sshUncoveredAdvice,
  }),
  Kubernetes: forAnyTuple('Kubernetes', {
    tuple: kubernetesTupleWords,
    opaqueAdvice: kubernetesOpaqueAdvice,
    uncoveredAdvice: kubernetesUncoveredAdvice,
  }),
  HTTP: forAnyTuple('HTTP', {
    tuple: httpTupleWords,
    opaqueAdvice: () => 'send a plain request instead',
    uncoveredAdvice: httpUncoveredAdvice,
  }),
};

/** What a tuple is, in the words of a denial: `Delete on public.orders`, `Exec of systemctl stop shop`. */
export function tupleWords(tuple: Tuple): string {
  return WORDS[protocolOf(tuple)].tuple(tuple);
}

/** What to send in place of something opaque that a Deny rule hit. */
export function opaqueAdvice(tuple: Tuple): string {
  return WORDS[protocolOf(tuple)].opaqueAdvice(tuple);
}

/** Why no Allow rule covers a tuple where that is not plain from its words; else undefined. */
export function uncoveredAdvice(tuple: Tuple): string | undefined {
  return WORDS[protocolOf(tuple)].uncoveredAdvice(tuple);
}

function sqlTupleWords(tuple: SqlTuple): string {
  switch (tuple.type) {
    case 'relation':
      return `${kindWords(tuple.kind)} on ${tuple.schema}.${tuple.name}`;
    case 'kind':
      return kindWords(tuple.kind);
    case 'function':
      return `call of ${tuple.schema}.${tuple.name}`;
    default: {
      const never: never = tuple;
      throw new Error(`tuple of unknown type ${JSON.stringify(never)}`);
    }
  }
}

function kindWords(kind: StatementKind): string {
  switch (kind) {
    case 'Unknown':
      return 'a statement that cannot be parsed (Unknown)';
    case 'Opaque':
      return 'a statement whose effect cannot be seen from its text (Opaque)';
    default:
      return kind;
  }
}

const LISTED = 4;

/** What an Allow rule grants: `Read on public.*`. */
export function grantWords(rule: CompiledRule): string {
  const parts = protocolGrantWords(rule);
  if (rule.approval !== undefined) parts.push('after approval');
  if (rule.when !== undefined) parts.push('under a condition');
  return parts.join(', ');
}

function protocolGrantWords({ spec }: CompiledRule): string[] {
  if (spec.ssh !== undefined) return [sshGrantWords(spec.ssh)];
  if (spec.kubernetes !== undefined) return [kubernetesGrantWords(spec.kubernetes)];
  if (spec.http !== undefined) return [httpGrantWords(spec.http)];
  return sqlGrantWords(spec);
}

function sqlGrantWords({ sql }: CompiledRule['spec']): string[] {
  const { statements = [], relations = [], functions = [] } = sql ?? {};
  const parts = [`${listed(statements)} on ${listed(relations)}`];
  if (functions.length > 0) parts.push(`functions ${listed(functions)}`);
  return parts;
}

function listed(names: readonly string[]): string {
  const shown = names.slice(0, LISTED).join(', ');
  return names.length > LISTED ? `${shown} and ${names.length - LISTED} more` : shown;
}

/** What the subject may do instead; undefined when nothing. */
export function allowedInstead(allows: readonly CompiledRule[]): string | undefined {
  if (allows.length === 0) return undefined;
  const shown = allows.slice(0, LISTED).map((rule) => `${grantWords(rule)} (rule ${ruleName(rule.ref)})`);
  const more = allows.length > LISTED ? `; and ${allows.length - LISTED} more rules` : '';
  return `Allowed here: ${shown.join('; ')}${more}.`;
}
