import type { MaskingReport } from '../../api/bundle-document.ts';
import type { AccessConnection, MaskingRule } from '../../api/resources.ts';
import { type Finding, finding, some } from './conditions.ts';
import type { ReplicaReport } from './reports.ts';

const TYPE = 'MaskingComplete';

/** As `status.masking` of an AccessConnection has it. */
export interface MaskingStatus {
  /** `MASKED/FOUND`. */
  readonly summary: string;
  readonly unmasked: readonly string[];
}

/** What the replica with the newest policy knows; replicas have read catalogs at different times, and none is asked for its clock. */
export function maskingReport(connection: string, reports: readonly ReplicaReport[]): MaskingReport | undefined {
  return reports
    .toSorted((one, other) => other.sequence - one.sequence)
    .map(({ masking }) => masking?.[connection])
    .find((report) => report !== undefined);
}

/** What is known now, or else what was: a proxy that has just started has read no catalog. */
export function maskingStatus(
  connection: AccessConnection,
  reports: readonly ReplicaReport[],
): MaskingStatus | undefined {
  const report = maskingReport(connection.metadata.name, reports);
  if (report !== undefined)
    return { summary: `${report.masked}/${report.masked + report.unmasked}`, unmasked: report.names };
  const { summary, unmasked } = connection.status?.masking ?? {};
  return summary === undefined ? undefined : { summary, unmasked: unmasked ?? [] };
}

/** The condition of a PostgreSQL connection; undefined for protocols without a catalog. Pure. */
export function maskingFinding(connection: AccessConnection, status: MaskingStatus | undefined): Finding | undefined {
  if (connection.spec.protocol !== 'Postgres') return undefined;
  if (status === undefined) return finding(TYPE, 'Unknown', 'NotRead', 'the catalog is read with the first session');
  const [masked = 0, found = 0] = status.summary.split('/').map(Number);
  if (masked === found)
    return finding(
      TYPE,
      'True',
      'Masked',
      `${masked} columns are masked, and no other is called like something sensitive`,
    );
  const message = `${found - masked} columns are called like something sensitive, and no MaskingRule covers them: ${some(status.unmasked)}`;
  return finding(TYPE, 'False', 'Unmasked', message);
}

/** Of the databases whose catalog is known: columns that a rule masks, and how many of its column patterns match in none. */
export function ruleColumns(
  { metadata: { namespace = '', name }, spec }: Pick<MaskingRule, 'metadata' | 'spec'>,
  reports: readonly (MaskingReport | undefined)[],
): { readonly matchedColumns?: number; readonly unmatchedPatterns?: number } {
  const known = reports.filter((report) => report !== undefined).map(({ rules }) => rules[`${namespace}/${name}`]);
  const told = known.filter((rule) => rule !== undefined);
  if (told.length === 0) return {};
  const matchedColumns = told.reduce((sum, { columns }) => sum + columns, 0);
  // A pattern may be for a database that nobody has used yet.
  if (told.length < reports.length) return { matchedColumns };
  const patterns = (spec.columns ?? []).flatMap(({ match }) => match).length;
  const unmatched = Array.from({ length: patterns }, (_, index) => index).filter((index) =>
    told.every((rule) => rule.unmatched.includes(index)),
  );
  return { matchedColumns, unmatchedPatterns: unmatched.length };
}
