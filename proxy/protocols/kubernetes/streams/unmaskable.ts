import type { MaskPlan } from '../../../../policy/masking.ts';
import { isMaskToken } from '../../../masking/token-format.ts';
import type { StreamKind } from './port.ts';
import type { ProgramQuery } from './query.ts';

/**
 * A masked value leaves by no channel: what could carry one past the masks does not run where they are in force, whatever else allows
 * it. What is said here completes "denied: …".
 * @param asked undefined for a port-forward
 */
export function whyUnmaskable(kind: StreamKind, asked: ProgramQuery | undefined, masks: MaskPlan): string | undefined {
  const { content } = masks;
  if (content.length === 0) return undefined;
  const rules = [...new Set(content.map(({ rule }) => rule))].sort().join(', ');
  const inForce = `and masking rules are in force here: ${rules}`;
  if (asked === undefined) return `what passes through a forwarded port is not read, ${inForce}`;
  if (asked.tty && asked.stdin) return `what is typed into a terminal is not judged, ${inForce}`;
  if (kind === 'attach' && asked.stdin) return `what a program is sent that runs already is not judged, ${inForce}`;
  if (asked.argv.some((word) => isMaskToken(word)))
    return 'it holds a mask token, which stands for a value that is masked: writing it back would destroy the value';
  return undefined;
}
