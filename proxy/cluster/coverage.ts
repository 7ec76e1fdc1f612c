import type { BundleDocument, MaskingReport } from '../../api/bundle-document.ts';
import type { CompiledConnection } from '../../policy/bundle.ts';
import { type CompiledMask, compileMask } from '../../policy/mask-plan.ts';
import { type CatalogColumnName, maskingCoverage } from '../../policy/masking-coverage.ts';
import { selectsConnection } from '../../policy/select-connection.ts';

/** Column names that a report says of one connection; status has room for no more. */
const MAX_NAMES = 16;
const MAX_NAME = 200;
/** Of JSON, all connections together: a Lease's annotations are bounded. What does not fit is not reported. */
const MAX_BYTES = 48 * 1024;

export interface CoverageOptions {
  readonly document: () => BundleDocument | undefined;
  readonly connections: () => readonly CompiledConnection[];
  /** Columns of a connection's catalog; the same object as long as they are the same. Undefined: it was not read. */
  readonly columns: (connection: CompiledConnection) => Iterable<CatalogColumnName> | undefined;
}

/** What a replica knows of masking, by connection: of those whose catalog it has read for somebody's session. */
export function createCoverage({ document, connections, columns }: CoverageOptions): {
  report(): Readonly<Record<string, MaskingReport>>;
} {
  let compiled: { readonly of: BundleDocument; readonly masks: readonly CompiledMask[] } | undefined;
  const known = new Map<
    string,
    { readonly of: BundleDocument; readonly columns: Iterable<CatalogColumnName>; readonly report: MaskingReport }
  >();

  function masksOf(of: BundleDocument): readonly CompiledMask[] {
    if (compiled?.of !== of) compiled = { of, masks: of.resources.maskingRules.map(compileMask) };
    return compiled.masks;
  }

  function reportOf(of: BundleDocument, connection: CompiledConnection): MaskingReport | undefined {
    const found = columns(connection);
    if (found === undefined) return known.get(connection.name)?.report;
    const before = known.get(connection.name);
    if (before?.of === of && before.columns === found) return before.report;
    const masks = masksOf(of).filter(({ object: { metadata, spec } }) =>
      selectsConnection(spec.connections, metadata.namespace, connection, of.guardrailNamespace),
    );
    const { masked, unmasked, rules } = maskingCoverage(found, masks);
    const report = {
      masked,
      unmasked: unmasked.length,
      names: unmasked.slice(0, MAX_NAMES).map((name) => name.slice(0, MAX_NAME)),
      rules,
    };
    known.set(connection.name, { of, columns: found, report });
    return report;
  }

  return {
    report() {
      const of = document();
      if (of === undefined) return {};
      const reports: Record<string, MaskingReport> = {};
      let bytes = 0;
      for (const connection of connections()) {
        const report = reportOf(of, connection);
        if (report === undefined) continue;
        bytes += JSON.stringify(report).length + connection.name.length;
        if (bytes > MAX_BYTES) break;
        reports[connection.name] = report;
      }
      return reports;
    },
  };
}
