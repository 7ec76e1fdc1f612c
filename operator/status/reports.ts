import type { MaskingReport, ProxyReport } from '../../api/bundle-document.ts';
import { ANNOTATIONS } from '../../api/cluster.ts';
import type { Lease } from '../../kube/builtin.ts';

/** What one replica says of itself. A proxy may be in the wrong hands: everything is checked, cut and counted for no more than a word. */
export interface ReplicaReport extends ProxyReport {
  readonly replica: string;
}

const MAX_BYTES = 256 * 1024;
const MAX_TEXT = 512;

type Json = Readonly<Record<string, unknown>>;
const isRecord = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const line = (value: unknown): string =>
  typeof value === 'string' ? value.slice(0, MAX_TEXT).replaceAll(/[\p{C}\p{Zl}\p{Zp}]/gu, ' ') : '';

/** @returns undefined when the Lease has no report */
export function reportOf(lease: Lease): ReplicaReport | undefined {
  const text = lease.metadata.annotations?.[ANNOTATIONS.proxyReport];
  if (text === undefined || text.length > MAX_BYTES) return undefined;
  let report: unknown;
  try {
    report = JSON.parse(text);
  } catch {
    // Not ours; a replica that says nothing is one that enforces nothing.
    return undefined;
  }
  if (!isRecord(report)) return undefined;
  const { bundle, sequence, sessions, auditFailure, egress, problems, masking } = report;
  return {
    replica: lease.metadata.name,
    bundle: line(bundle),
    sequence: typeof sequence === 'number' ? sequence : 0,
    sessions: mapped(sessions, (count) => (Number.isSafeInteger(count) && Number(count) > 0 ? Number(count) : 0)),
    ...(auditFailure === undefined ? {} : { auditFailure: line(auditFailure) }),
    egress: mapped(egress, (each) => {
      const { open, probed } = isRecord(each) ? each : {};
      return { open: Array.isArray(open) ? open.slice(0, 16).map(line) : [], probed: line(probed) };
    }),
    problems: mapped(problems, line),
    masking: mapped(masking, maskingOf),
  };
}

const count = (value: unknown): number => (Number.isSafeInteger(value) && Number(value) > 0 ? Number(value) : 0);
const MAX_COLUMNS = 1_000_000;

function maskingOf(value: unknown): MaskingReport {
  const { masked, unmasked, names, rules } = isRecord(value) ? value : {};
  return {
    masked: Math.min(count(masked), MAX_COLUMNS),
    unmasked: Math.min(count(unmasked), MAX_COLUMNS),
    names: Array.isArray(names) ? names.slice(0, 16).map((name) => line(name).slice(0, 200)) : [],
    rules: mapped(rules, (rule) => {
      const { columns, unmatched } = isRecord(rule) ? rule : {};
      const indexes = Array.isArray(unmatched) ? unmatched.slice(0, 1024) : [];
      return { columns: Math.min(count(columns), MAX_COLUMNS), unmatched: indexes.map(count) };
    }),
  };
}

const mapped = <T>(value: unknown, read: (value: unknown) => T): Record<string, T> =>
  isRecord(value) ? Object.fromEntries(Object.entries(value).map(([name, each]) => [name, read(each)])) : {};
