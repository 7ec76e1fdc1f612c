import type { StatementKind, Tuple } from './command.ts';
import { isSshTuple } from './match-tuple.ts';
import { type CompiledRule, ruleName } from './rule.ts';
import { sshGrantWords, sshOpaqueAdvice, sshTupleWords, sshUncoveredAdvice } from './ssh/words.ts';

/** What a tuple is, in the words of a denial: `Delete on public.orders`, `Exec of systemctl stop shop`. */
export function tupleWords(tuple: Tuple): string {
  if (isSshTuple(tuple)) return sshTupleWords(tuple);
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
  const parts = rule.spec.ssh === undefined ? sqlGrantWords(rule) : [sshGrantWords(rule.spec.ssh)];
  if (rule.approval !== undefined) parts.push('after approval');
  if (rule.when !== undefined) parts.push('under a condition');
  return parts.join(', ');
}

function sqlGrantWords(rule: CompiledRule): string[] {
  const { statements = [], relations = [], functions = [] } = rule.spec.sql ?? {};
  const parts = [`${listed(statements)} on ${listed(relations)}`];
  if (functions.length > 0) parts.push(`functions ${listed(functions)}`);
  return parts;
}

function listed(names: readonly string[]): string {
  const shown = names.slice(0, LISTED).join(', ');
  return names.length > LISTED ? `${shown} and ${names.length - LISTED} more` : shown;
}

/** What to send in place of something opaque that a Deny rule hit. */
export function opaqueAdvice(tuple: Tuple): string {
  return isSshTuple(tuple) ? sshOpaqueAdvice(tuple) : 'send plain statements instead';
}

/** Why no Allow rule covers a tuple where that is not plain from its words; else undefined. */
export function uncoveredAdvice(tuple: Tuple): string | undefined {
  return isSshTuple(tuple) ? sshUncoveredAdvice(tuple) : undefined;
}

/** What the subject may do instead; undefined when nothing. */
export function allowedInstead(allows: readonly CompiledRule[]): string | undefined {
  if (allows.length === 0) return undefined;
  const shown = allows.slice(0, LISTED).map((rule) => `${grantWords(rule)} (rule ${ruleName(rule.ref)})`);
  const more = allows.length > LISTED ? `; and ${allows.length - LISTED} more rules` : '';
  return `Allowed here: ${shown.join('; ')}${more}.`;
}
