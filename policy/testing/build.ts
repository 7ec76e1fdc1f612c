import type { AccessConnection, AccessPolicy, MaskingRule, Resources } from '../../api/resources.ts';
import type { DecideContext, PolicyScope } from '../bundle.ts';
import type { SqlCommand, SqlStatementFacts, SqlTuple, StatementKind } from '../command.ts';
import { type Compiled, compile } from '../compile.ts';
import type { RuleSpec } from '../rule.ts';
import type { Subject } from '../subject.ts';

/** Short ways to write resources, subjects and commands in tests of the engine. */

export const GUARDRAILS = 'sallyport-system';
export const agent: Subject = {
  username: 'system:serviceaccount:shop:agent',
  serviceAccount: { namespace: 'shop', name: 'agent' },
  groups: [],
  claims: {},
};

export function connection(
  name = 'orders',
  spec: Partial<AccessConnection['spec']> = {},
  labels = {},
): AccessConnection {
  return {
    apiVersion: 'sallyport.dev/v1alpha1',
    kind: 'AccessConnection',
    metadata: { namespace: 'shop', name, labels },
    spec: {
      protocol: 'Postgres',
      target: { host: `${name}-db`, port: 5432, database: name },
      credential: { secretRef: { name: 'db' } },
      ...spec,
    },
  };
}

export function policy(
  name: string,
  rules: readonly RuleSpec[],
  spec: Partial<AccessPolicy['spec']> = {},
): AccessPolicy {
  return {
    apiVersion: 'sallyport.dev/v1alpha1',
    kind: 'AccessPolicy',
    metadata: { namespace: 'shop', name },
    spec: { connections: { all: true }, subjects: [{ everyone: true }], rules: [...rules], ...spec },
  };
}

export function guardrail(
  name: string,
  rules: readonly RuleSpec[],
  spec: Partial<AccessPolicy['spec']> = {},
): AccessPolicy {
  return { ...policy(name, rules, spec), metadata: { namespace: GUARDRAILS, name } };
}

export function mask(name: string, spec: Partial<MaskingRule['spec']>, namespace = 'shop'): MaskingRule {
  return {
    apiVersion: 'sallyport.dev/v1alpha1',
    kind: 'MaskingRule',
    metadata: { namespace, name },
    spec: { connections: { all: true }, ...spec },
  };
}

type Statements = NonNullable<NonNullable<RuleSpec['sql']>['statements']>;

export const allow = (
  name: string,
  statements: Statements,
  relations: string[],
  rest: Partial<RuleSpec> = {},
): RuleSpec => ({
  name,
  effect: 'Allow',
  ...rest,
  sql: { statements, relations, ...rest.sql },
});

export const deny = (name: string, rest: Partial<RuleSpec> = {}): RuleSpec => ({ name, effect: 'Deny', ...rest });

export const hold = (name: string, rest: Partial<RuleSpec> = {}): RuleSpec => ({
  name,
  effect: 'RequireApproval',
  ...rest,
});

export function compiled(resources: Partial<Resources>): Compiled {
  return compile(
    { connections: [connection()], policies: [], maskingRules: [], ...resources },
    { guardrailNamespace: GUARDRAILS },
  );
}

export function scopeOf(resources: Partial<Resources>, subject: Subject = agent, name = 'orders'): PolicyScope {
  const { bundle } = compiled(resources);
  const found = bundle.connection('shop', name);
  if (found === undefined) throw new Error(`the test has no connection ${name}`);
  return bundle.scope(subject, found);
}

export function context(now = '2026-03-04T12:00:00Z'): DecideContext {
  return {
    now: new Date(now),
    session: {
      id: 's-1',
      startedAt: new Date('2026-03-04T11:00:00Z'),
      clientAddress: '127.0.0.1',
      applicationName: 'psql',
      commands: 3,
    },
  };
}

export const facts = (kind: StatementKind, rest: Partial<SqlStatementFacts> = {}): SqlStatementFacts => ({
  kind,
  hasWhere: false,
  hasLimit: false,
  hasLiterals: false,
  relations: [],
  functions: [],
  ...rest,
});

export function command(
  tuples: readonly SqlTuple[],
  statements: readonly SqlStatementFacts[] = [facts('Select')],
  text = 'select 1',
): SqlCommand {
  return { protocol: 'Postgres', text, statements, tuples };
}

/** One statement that touches one relation, such as `on('Delete', 'public.orders')`. */
export function on(kind: StatementKind, relation: string, rest: Partial<SqlStatementFacts> = {}): SqlCommand {
  const [schema = '', name = ''] = relation.split('.');
  return command(
    [{ type: 'relation', kind, schema, name, statement: 0 }],
    [facts(kind, { relations: [relation], ...rest })],
    `${kind} on ${relation}`,
  );
}

/** One statement without a relation. */
export function only(kind: StatementKind, harmless?: boolean): SqlCommand {
  return command(
    [{ type: 'kind', kind, statement: 0, ...(harmless === undefined ? {} : { harmless }) }],
    [facts(kind)],
  );
}

export function calls(
  name: string,
  judgement: 'safe' | 'volatile' | 'dangerous' | 'user' | 'unknown',
): SqlTuple & { type: 'function' } {
  const [schema = '', short = ''] = name.split('.');
  return { type: 'function', schema, name: short, statement: 0, judgement };
}
