import { TRANSFORM_STRICTNESS, type Transform } from '../../policy/masking.ts';
import type { CountMask } from './port.ts';
import type { TextTransform } from './transforms.ts';

/** A mask by content, made ready. */
export interface ReadyMask {
  /** Detector or `NAMESPACE/NAME` of the rule: what is counted. */
  readonly name: string;
  readonly transform: Transform;
  readonly apply: TextTransform;
}

/** The range [from, to) of the searched bytes holds what a mask is about. */
export interface Finding {
  from: number;
  to: number;
  mask: ReadyMask;
  /** What to show instead, where it is not the transform of the range itself; empty for nullify. */
  shown?: Buffer;
}

export function stricterMask<T extends ReadyMask>(a: T, b: T): T {
  return TRANSFORM_STRICTNESS[b.transform.type] > TRANSFORM_STRICTNESS[a.transform.type] ? b : a;
}

/** Sorts, and joins what overlaps into one finding under the stricter mask. */
export function joinFindings(findings: Finding[]): Finding[] {
  if (findings.length <= 1) return findings;
  findings.sort((a, b) => a.from - b.from || b.to - a.to);
  const joined: Finding[] = [];
  let last: Finding | undefined;
  for (const finding of findings) {
    if (last === undefined || finding.from >= last.to) {
      last = finding;
      joined.push(finding);
      continue;
    }
    last.mask = stricterMask(last.mask, finding.mask);
    // It was for one of them alone.
    delete last.shown;
    if (finding.to > last.to) last.to = finding.to;
  }
  return joined;
}

/** Part of a text, and what stands in its place. */
export interface Edit {
  readonly from: number;
  readonly to: number;
  readonly bytes: Buffer;
}

/** source[start, end) with the edits made, which are in order and do not overlap. */
export function applyEdits(source: Buffer, start: number, end: number, edits: readonly Edit[]): Buffer {
  let size = end - start;
  for (const { from, to, bytes } of edits) size += bytes.length - (to - from);
  const shown = Buffer.allocUnsafe(size);
  let at = 0;
  let copied = start;
  for (const { from, to, bytes } of edits) {
    at += source.copy(shown, at, copied, from);
    at += bytes.copy(shown, at);
    copied = to;
  }
  source.copy(shown, at, copied, end);
  return shown;
}

/** What stands in place of each finding, in order; counts them. Null: one of them makes the whole value NULL. */
export function editsOf(source: Buffer, findings: readonly Finding[], count: CountMask): Edit[] | null {
  const edits: Edit[] = [];
  for (const { from, to, mask, shown } of findings) {
    const bytes = shown ?? mask.apply(source, from, to);
    count(mask.name);
    if (bytes === null) return null;
    edits.push({ from, to, bytes });
  }
  return edits;
}
