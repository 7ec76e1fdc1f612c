import { stringify } from 'yaml';
import { lineDiff, withContext } from '../../../../record/line-diff.ts';
import { isObject } from './json.ts';

/** Lines around a change: enough to see where in the object it stands. */
const CONTEXT = 3;
/** Members of the metadata that every write changes, or that only the API server reads. */
const NOISE: ReadonlySet<string> = new Set([
  'managedFields',
  'resourceVersion',
  'generation',
  'uid',
  'creationTimestamp',
]);

function shown(object: unknown): string {
  if (!isObject(object)) return '';
  const metadata = object['metadata'];
  const kept = isObject(metadata)
    ? Object.fromEntries(Object.entries(metadata).filter(([name]) => !NOISE.has(name)))
    : metadata;
  const { apiVersion, kind, metadata: _whole, status: _seen, ...rest } = object;
  const ordered = { apiVersion, kind, metadata: kept, ...rest };
  return stringify(ordered, { lineWidth: 0, aliasDuplicateObjects: false, sortMapEntries: false }).trimEnd();
}

/**
 * What a write would change, line by line as of YAML with `-` and `+` in front; empty: nothing that a person looks at. Whoever shows it
 * masks the objects before.
 */
export function objectDifference(before: unknown, after: unknown): string {
  const [was, is] = [shown(before), shown(after)];
  // A text without lines has one that is empty.
  const lines = lineDiff(was, is).filter(({ sign }) => (sign === '-' ? was !== '' : sign === ' ' || is !== ''));
  if (lines.every(({ sign }) => sign === ' ')) return '';
  return withContext(lines, CONTEXT)
    .map(({ sign, text }) => `${sign} ${text}`.trimEnd())
    .join('\n');
}
