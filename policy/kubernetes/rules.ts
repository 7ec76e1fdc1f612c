import type { KubernetesCommand, KubernetesTuple } from '../command.ts';
import type { ProtocolRules } from '../protocol-rules.ts';
import { isHarmless } from './harmless.ts';
import { coversKubernetes, hitsKubernetes, namesCommand } from './match.ts';

/** Requests that their URL says all about. */
const PLAIN_VERBS: ReadonlySet<string> = new Set(['get', 'list', 'watch']);

/** Judging of the Kubernetes API. A wrapper that an exec runs is opaque until an Allow rule names it. */
export const kubernetesRules: ProtocolRules<KubernetesTuple, KubernetesCommand> = {
  covers: ({ kubernetes }, tuple) => kubernetes !== undefined && coversKubernetes(kubernetes, tuple),
  hits: ({ kubernetes }, tuple) => kubernetes !== undefined && hitsKubernetes(kubernetes, tuple),
  isOpaque(tuple, _command, allow) {
    if (tuple.type === 'unknown') return true;
    if (tuple.type !== 'operation' || tuple.exec?.wrapper !== true) return false;
    return !allow.some(({ kubernetes }) => kubernetes !== undefined && namesCommand(kubernetes, tuple));
  },
  isHarmless,
  // kubectl asks for discovery before everything else, with a patience of its own.
  isNeverHeld: isHarmless,
  // What is written, and what runs in a container, is not all in the text.
  reuse: ({ tuples }) =>
    tuples.every((tuple) => PLAIN_VERBS.has(tuple.verb) && tuple.type !== 'unknown' && !('exec' in tuple))
      ? 'text'
      : 'never',
};
