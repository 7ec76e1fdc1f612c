import { setTimeout } from 'node:timers/promises';
import {
  CLUSTER_ROLE_BINDINGS,
  CONFIG_MAPS,
  DEPLOYMENTS,
  LEASES,
  NETWORK_POLICIES,
  POD_DISRUPTION_BUDGETS,
  ROLE_BINDINGS,
  ROLES,
  SECRETS,
  SERVICE_ACCOUNTS,
  SERVICES,
  STATEFUL_SETS,
} from '../kube/builtin.ts';
import type { KubeClient, KubeObject, ResourceType } from '../kube/types.ts';
import { OURS } from './desired/labels.ts';

/**
 * Every type that the operator applies, in the order in which they go: what runs first, then what it was reached and allowed by.
 * Volumes of the archive are not among them: the record outlives the installation.
 */
const APPLIED: readonly ResourceType[] = [
  DEPLOYMENTS,
  STATEFUL_SETS,
  SERVICES,
  POD_DISRUPTION_BUDGETS,
  NETWORK_POLICIES,
  CLUSTER_ROLE_BINDINGS,
  ROLE_BINDINGS,
  ROLES,
  SERVICE_ACCOUNTS,
  LEASES,
  CONFIG_MAPS,
  SECRETS,
];

const PROXY_WAIT_MS = 120_000;
const LOOK_MS = 500;

export interface Removed {
  readonly kind: string;
  readonly namespace: string | undefined;
  readonly name: string;
}

/**
 * Removes what the operator applied in all namespaces, which is what carries its label. For when the operator is gone: one that runs
 * would make it again.
 *
 * @param dryRun finds it and leaves it
 * @param proxyWaitMs how long proxies may take to end their sessions before the archive goes too
 * @throws KubeError
 */
export async function removeApplied(
  client: Pick<KubeClient, 'listAll' | 'delete'>,
  {
    dryRun,
    signal,
    proxyWaitMs = PROXY_WAIT_MS,
  }: {
    readonly dryRun: boolean;
    readonly signal: AbortSignal;
    readonly proxyWaitMs?: number;
  },
): Promise<readonly Removed[]> {
  const removed: Removed[] = [];
  for (const type of APPLIED) {
    const { items } = await client.listAll<KubeObject>(type, { labelSelector: OURS, signal });
    // Of proxies, their pods go first.
    const propagation = type === DEPLOYMENTS ? 'Foreground' : 'Background';
    for (const { metadata } of items) {
      const { namespace, name, uid } = metadata;
      // Exactly this object, if it has not gone by itself meanwhile, as dependents do.
      if (!dryRun) await client.delete(type, { namespace, name }, { uid, propagation, signal });
      removed.push({ kind: type.kind, namespace, name });
    }
    if (type === DEPLOYMENTS && !dryRun && items.length > 0) await proxiesGone(client, proxyWaitMs, signal);
  }
  return removed;
}

/** A proxy hands its last lines to the archive, which has to be there until then: a Deployment is gone when its pods are. */
async function proxiesGone(client: Pick<KubeClient, 'listAll'>, withinMs: number, signal: AbortSignal): Promise<void> {
  const end = performance.now() + withinMs;
  while (performance.now() < end) {
    const { items } = await client.listAll<KubeObject>(DEPLOYMENTS, { labelSelector: OURS, signal });
    if (items.length === 0) return;
    await setTimeout(LOOK_MS, undefined, { signal });
  }
}
