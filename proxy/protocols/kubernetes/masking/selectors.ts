import { MaskError } from '../../../masking/errors.ts';
import type { PathNode } from '../../../masking/fields.ts';
import { selectedFields, selectedLabels } from '../request/field-selector.ts';
import type { ObjectSelectors } from './port.ts';
import type { ObjectRules } from './rules.ts';

const DATA: ReadonlySet<string> = new Set(['data', 'stringData', 'binaryData']);

function underFields(nodes: readonly PathNode[], path: readonly string[]): boolean {
  let at = nodes;
  for (const key of path) {
    at = at.map((node) => node.step(key)).filter((node) => node !== undefined);
    if (at.some(({ mask }) => mask !== undefined)) return true;
  }
  return false;
}

/** Whether what stands there is masked, or may be: what it stands beside, in an object that nobody has read, is not known. */
function mayBeMasked({ places, fields }: ObjectRules, path: readonly string[]): boolean {
  if (underFields(fields, path)) return true;
  if (path[0] === 'metadata') return false;
  if (places.has('env') && (path.includes('env') || path.at(-1) === 'value')) return true;
  return (places.has('secrets') || places.has('configMaps')) && path.some((key) => DATA.has(key));
}

/**
 * Selectors that compare a masked value. API servers select by labels and by few fields, but a custom resource may have any of its own
 * selected by: https://kubernetes.io/docs/concepts/overview/working-with-objects/field-selectors/
 */
export function maskedSelector(
  rules: ObjectRules,
  { fieldSelector, labelSelector }: ObjectSelectors,
): MaskError | undefined {
  const fields = selectedFields(fieldSelector).map((field) => field.replace(/^[.]/, '').split('.'));
  const labels = selectedLabels(labelSelector).map((key) => ['metadata', 'labels', key]);
  const found = [...fields, ...labels].find((path) => mayBeMasked(rules, path));
  if (found === undefined) return undefined;
  const where = found.join('.');
  return new MaskError('SPM015', /^[-\w./]{1,63}$/.test(where) ? where : 'a field');
}
