import { ANNOTATIONS } from '../../../api/cluster.ts';
import { type InjectionPlan, type PlanFailure, type PlanInput, planInjection } from './plan.ts';

/** As much of a pod as tells whether its connector is current. */
export interface InjectedPod {
  readonly metadata: {
    readonly name?: string;
    readonly namespace?: string | undefined;
    readonly annotations?: Readonly<Record<string, string>>;
  };
}

/** `Outdated`: by an older version of Sallyport. `Changed`: connections came, went or moved since. */
export type Staleness = 'Current' | 'Outdated' | 'Changed';

export interface StaleInput extends Pick<PlanInput, 'namespaceLabels' | 'connections'> {
  readonly version: string;
}

/**
 * Tells injected pods that would be injected differently today. The answer for a pod without a connector is undefined. Plans are made
 * once for each namespace and list of names, so that ten thousand pods of a few Deployments cost a few plans; make a new judge
 * whenever connections or namespaces have changed.
 */
export function createStalenessJudge(input: StaleInput): (pod: InjectedPod) => Staleness | undefined {
  const plans = new Map<string, InjectionPlan | PlanFailure>();
  return ({ metadata }) => {
    const { namespace = '', annotations = {} } = metadata;
    const version = annotations[ANNOTATIONS.injectedVersion];
    if (version === undefined) return undefined;
    const wanted = annotations[ANNOTATIONS.connections];
    const key = `${namespace} ${wanted ?? ''}`;
    const plan = plans.get(key) ?? planInjection({ ...input, namespace, wanted });
    plans.set(key, plan);
    if ('code' in plan || plan.hash !== annotations[ANNOTATIONS.connectorHash]) return 'Changed';
    return version === input.version ? 'Current' : 'Outdated';
  };
}
