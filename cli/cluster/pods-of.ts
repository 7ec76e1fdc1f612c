import { isPod, type Pod } from '../../operator/webhook/injection/pod.ts';

/** A pod in a manifest, with what it is called there. */
export interface FoundPod {
  /** `Deployment shop/agent`. */
  readonly label: string;
  /** Undefined: the manifest does not say. */
  readonly namespace: string | undefined;
  readonly pod: Pod;
}

type Json = Readonly<Record<string, unknown>>;
const isRecord = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const within = (value: unknown, ...path: readonly string[]): unknown =>
  path.reduce<unknown>((at, key) => (isRecord(at) ? at[key] : undefined), value);

/** Where pods stand in what makes them. */
const TEMPLATES = [
  ['spec', 'template'],
  ['spec', 'jobTemplate', 'spec', 'template'],
] as const;

/** The pods that an object is, makes, or lists; each as a controller would make it. */
export function podsOf(object: unknown): FoundPod[] {
  if (!isRecord(object)) return [];
  const items = object['items'];
  if (Array.isArray(items)) return items.flatMap(podsOf);
  const namespace = within(object, 'metadata', 'namespace');
  const name = within(object, 'metadata', 'name') ?? within(object, 'metadata', 'generateName');
  const home = typeof namespace === 'string' ? namespace : undefined;
  const label = `${String(object['kind'])} ${home === undefined ? '' : `${home}/`}${String(name ?? '')}`;
  const found = (value: unknown): FoundPod[] => (isPod(value) ? [{ label, namespace: home, pod: value }] : []);
  if (object['kind'] === 'Pod') return found(object);
  return TEMPLATES.flatMap((path) => {
    const template = within(object, ...path);
    if (!isRecord(template)) return [];
    return found({ apiVersion: 'v1', kind: 'Pod', ...template, metadata: template['metadata'] ?? {} });
  });
}
