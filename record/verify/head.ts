import { parseOwner } from '../owner.ts';
import { segmentFileName } from '../segment.ts';
import type { Finding } from './finding.ts';
import { type ChainedLine, membersOf } from './line.ts';
import { found } from './links.ts';
import type { TargetSegment } from './targets.ts';

/**
 * A head stands at the beginning of a segment, and nowhere else, and names the file that it stands in: a segment that was played again under
 * another name does not.
 */
export function headProblem(line: ChainedLine, segment: TargetSegment): Finding | undefined {
  if (line.event !== 'segment.start') return line.line === 1 ? found('head', line) : undefined;
  if (line.line !== 1) return found('out-of-place', line, 'a head within a segment');
  const members = membersOf(line);
  const owner = parseOwner(members?.['owner']);
  const { connection, segment: number } = members ?? {};
  if (owner === undefined || typeof number !== 'number') return found('head', line);
  const file = segmentFileName(line.time, owner.pid, owner.process, number);
  const same =
    typeof connection === 'object' &&
    connection !== null &&
    'namespace' in connection &&
    connection.namespace === segment.namespace &&
    'name' in connection &&
    connection.name === segment.name;
  return file === segment.file && same ? undefined : found('segment-replayed', line, `its head is that of ${file}`);
}
