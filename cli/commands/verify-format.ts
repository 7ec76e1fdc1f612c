import { relative } from 'node:path';
import { neutralise, safeJson } from '../../record/display.ts';
import { PROBLEMS } from '../../record/verify/finding.ts';
import type { StreamReport } from '../../record/verify/stream.ts';

/** Where keys and anchors came from: `own`: from the folder that was verified. */
export type Source = 'given' | 'own' | 'none';

export interface VerifySummary {
  readonly keys: Source;
  readonly anchors: Source;
  readonly streams: number;
  readonly bad: number;
  readonly open: number;
  readonly segments: number;
  readonly removedSegments: number;
  readonly lines: number;
  readonly bytes: number;
  readonly checkpoints: number;
  readonly unsignedLines: number;
  readonly metAnchors: number;
  readonly unusableAnchors: number;
}

export interface GrowingVerifySummary extends VerifySummary {
  add(report: StreamReport): void;
}

export function createVerifySummary(sources: Pick<VerifySummary, 'keys' | 'anchors'>): GrowingVerifySummary {
  const summary = {
    ...sources,
    ...{ streams: 0, bad: 0, open: 0, segments: 0, removedSegments: 0, lines: 0, bytes: 0 },
    ...{ checkpoints: 0, unsignedLines: 0, metAnchors: 0, unusableAnchors: 0 },
    add(report: StreamReport): void {
      summary.streams++;
      if (report.state === 'bad') summary.bad++;
      if (report.state === 'open') summary.open++;
      summary.segments += report.segments;
      summary.removedSegments += report.removedSegments;
      summary.lines += report.lines;
      summary.bytes += report.bytes;
      summary.checkpoints += report.checkpoints;
      summary.unsignedLines += report.unsignedLines;
      summary.metAnchors += report.anchors;
      summary.unusableAnchors += report.unusableAnchors;
    },
  };
  return summary;
}

/** A stream in one line, what is bad in it and what is worth knowing below it. */
export function reportText(report: StreamReport, cwd: string): string {
  const { namespace, name, process, state, finding, removedSegments, unsignedLines } = report;
  const facts = [
    state === 'open' ? `open at n=${report.lastN}, ${report.lastTime}` : state,
    counted(report.segments, 'segment') + (removedSegments > 0 ? ` and ${removedSegments} removed` : ''),
    counted(report.lines, 'line'),
    signed(report),
    ...(report.anchors > 0 ? [counted(report.anchors, 'anchor')] : []),
  ];
  let text = `${neutralise(`${namespace}/${name} ${process}`)}: ${facts.filter((fact) => fact !== '').join(', ')}\n`;
  if (finding !== undefined) {
    const { file, line, n, problem, detail } = finding;
    const place = `${relative(cwd, file)}:${line}${n === undefined ? '' : ` (n=${n})`}`;
    text += `  BAD ${neutralise(place)}: ${PROBLEMS[problem]} [${problem}]\n`;
    if (detail !== undefined) text += `      ${neutralise(detail)}\n`;
  }
  for (const remark of report.remarks) text += `  ${neutralise(remark)}\n`;
  if (state === 'open' && unsignedLines > 0)
    text += `  the last ${counted(unsignedLines, 'line')} no signature vouches for yet\n`;
  return text;
}

function signed({ state, checkpoints, unsignedLines }: StreamReport): string {
  if (state === 'bad') return '';
  if (checkpoints === 0) return 'not signed';
  return unsignedLines === 0 ? 'signed to its end' : counted(checkpoints, 'signature');
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}

export function reportJson({ removals: _removals, ...report }: StreamReport): string {
  return `${safeJson({ stream: report })}\n`;
}

export function summaryJson({ add: _add, ...summary }: GrowingVerifySummary): string {
  return `${safeJson({ summary })}\n`;
}

/** What was found, and how much that is worth. */
export function summaryText(summary: VerifySummary): string {
  const { keys, anchors, streams, bad, lines, bytes } = summary;
  const what = `${counted(streams, 'stream')}, ${counted(lines, 'line')}, ${(bytes / 1e6).toFixed(1)} MB`;
  let text = bad === 0 ? `clean: ${what}\n` : `bad: ${bad} of ${what}\n`;
  if (keys === 'none')
    text += 'Signatures were not checked: no key was given, so that only damage is found, and no careful tampering.\n';
  if (keys === 'own')
    text +=
      'The public key is the one in the folder itself: whoever could replace it is not found. Give one with --key.\n';
  if (anchors === 'none') text += 'No anchors were given: what was cut off the end of a stream is not found.\n';
  if (anchors === 'own')
    text +=
      'The anchors are those of the folder itself: whoever could cut them too is not found. Keep them elsewhere.\n';
  if (summary.unusableAnchors > 0)
    text += `${counted(summary.unusableAnchors, 'line')} of the anchors could not be used.\n`;
  return text;
}
