import type { Finding, Loaded } from '../../api/load.ts';
import type { MaskingRule } from '../../api/resources.ts';
import type { Bundle, CompiledConnection } from '../../policy/bundle.ts';
import { compileGlob } from '../../policy/glob.ts';
import { selectsConnection } from '../../policy/select-connection.ts';
import { cliMessage } from '../errors.ts';

/** A column that a database has. */
export interface DatabaseColumn {
  readonly schema: string;
  readonly relation: string;
  readonly column: string;
}

/** The columns behind a connection. Rejects when the database cannot be reached or read. */
export type ColumnsOf = (connection: CompiledConnection) => Promise<readonly DatabaseColumn[]>;

interface Context {
  readonly loaded: Loaded;
  readonly bundle: Bundle;
  readonly guardrailNamespace: string;
  readonly columnsOf: ColumnsOf;
}

/**
 * Compares masking rules with the databases that they are about: a pattern that matches no column of any of them is misspelt or
 * stale, and what it was meant to mask is shown. Databases that cannot be reached are told and left out; nothing is said of a rule
 * when one of its databases is among them.
 */
export async function checkColumns(context: Context): Promise<Finding[]> {
  const { loaded, bundle, guardrailNamespace } = context;
  const findings: Finding[] = [];
  const known = new Map<CompiledConnection, readonly DatabaseColumn[] | undefined>();

  async function columns(connection: CompiledConnection): Promise<readonly DatabaseColumn[] | undefined> {
    if (!known.has(connection)) {
      try {
        known.set(connection, await context.columnsOf(connection));
      } catch (error) {
        known.set(connection, undefined);
        const label = `${connection.namespace}/${connection.name}`;
        const place = loaded.places.get(`AccessConnection/${label}`)?.(['spec', 'target']) ?? NOWHERE;
        const reason = error instanceof Error ? error.message : String(error);
        findings.push({ severity: 'warning', ...place, code: 'SPC040', ...cliMessage('SPC040', [label, reason]) });
      }
    }
    return known.get(connection);
  }

  for (const rule of loaded.resources.maskingRules) {
    const { namespace } = rule.metadata;
    const about = bundle.connections.filter(
      (connection) =>
        connection.protocol === 'Postgres' &&
        selectsConnection(rule.spec.connections, namespace, connection, guardrailNamespace),
    );
    const found: (readonly DatabaseColumn[] | undefined)[] = [];
    for (const connection of about) found.push(await columns(connection));
    if (about.length === 0 || found.includes(undefined)) continue;
    findings.push(
      ...unmatched(
        rule,
        loaded,
        found.flatMap((each) => each ?? []),
      ),
    );
  }
  return findings;
}

const NOWHERE = { file: '', line: 1, column: 1 };

function unmatched(rule: MaskingRule, loaded: Loaded, columns: readonly DatabaseColumn[]): Finding[] {
  const { namespace, name } = rule.metadata;
  const locate = loaded.places.get(`MaskingRule/${namespace}/${name}`);
  const findings: Finding[] = [];
  for (const [index, { match }] of (rule.spec.columns ?? []).entries()) {
    for (const [at, pattern] of match.entries()) {
      const [schema, relation, column] = pattern.split('.').map(compileGlob);
      const some = columns.some(
        (each) => schema?.matches(each.schema) && relation?.matches(each.relation) && column?.matches(each.column),
      );
      if (some) continue;
      const place = locate?.(['spec', 'columns', index, 'match', at]) ?? NOWHERE;
      const text = cliMessage('SPC041', [`${namespace}/${name}`, pattern]);
      findings.push({ severity: 'warning', ...place, code: 'SPC041', ...text });
    }
  }
  return findings;
}
