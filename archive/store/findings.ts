import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { syncFolder } from '../../delivery/durable-file.ts';
import type { Finding } from './continuity.ts';

/** A finding with where it was made. */
export interface ReportedFinding extends Finding {
  /** RFC 3339. */
  readonly t: string;
  readonly proxy: string;
  /** `NAMESPACE/NAME/FILE`. */
  readonly segment: string;
}

export interface FindingLog {
  /** Durable when it resolves; what was reported before is not reported again. */
  report(proxy: string, segment: string, findings: readonly Finding[]): Promise<void>;
}

/** What is remembered so that a proxy that tries again and again reports once. */
const REMEMBERED = 10_000;

/** Findings are lines of `findings.jsonl`, that are only ever added. @param onFinding for logs and metrics */
export function createFindingLog(
  folder: string,
  now: () => number,
  onFinding: (finding: ReportedFinding) => void,
): FindingLog {
  const path = join(folder, 'findings.jsonl');
  const known = new Set<string>();
  let named = false;
  return {
    async report(proxy, segment, findings) {
      const fresh = findings.filter(({ kind, offset }) => !known.has(`${segment}:${offset}:${kind}`));
      if (fresh.length === 0) return;
      const t = new Date(now()).toISOString();
      const reported = fresh.map((finding) => ({ t, proxy, segment, ...finding }));
      const file = await open(path, 'a', 0o600);
      try {
        await file.appendFile(reported.map((finding) => `${JSON.stringify(finding)}\n`).join(''));
        await file.datasync();
      } finally {
        await file.close();
      }
      if (!named) await syncFolder(folder);
      named = true;
      if (known.size > REMEMBERED) known.clear();
      for (const { kind, offset } of fresh) known.add(`${segment}:${offset}:${kind}`);
      for (const finding of reported) onFinding(finding);
    },
  };
}
