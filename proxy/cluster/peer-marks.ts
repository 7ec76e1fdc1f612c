import { ANNOTATIONS, LABELS } from '../../api/cluster.ts';
import { backoffMs, sleep } from '../../kube/backoff.ts';
import { LEASES, type Lease } from '../../kube/builtin.ts';
import type { KubeClient, Log } from '../../kube/types.ts';
import type { BundleMark } from './bundle-source.ts';

/** Sequences are milliseconds since 1970 as the operator counts them; one from further ahead is not its word. */
const AHEAD_MS = 86_400_000;
const LIST_MS = 5000;

function markOf({ metadata }: Lease): BundleMark | undefined {
  const text = metadata.annotations?.[ANNOTATIONS.proxyReport];
  if (text === undefined) return undefined;
  try {
    const { bundle, sequence } = JSON.parse(text) as { readonly bundle?: unknown; readonly sequence?: unknown };
    return typeof bundle === 'string' && bundle !== '' && typeof sequence === 'number' && Number.isSafeInteger(sequence)
      ? { sequence, hash: bundle }
      : undefined;
  } catch {
    // Whoever writes no report has nothing in force.
    return undefined;
  }
}

/** The newest bundle that any of these replicas has, or had, in force. @param now milliseconds since 1970 */
export function newestMark(leases: readonly Lease[], now: number): BundleMark | undefined {
  return leases
    .map(markOf)
    .filter((mark) => mark !== undefined && mark.sequence < now + AHEAD_MS)
    .reduce(
      (newest, mark) => (newest === undefined || (mark?.sequence ?? 0) > newest.sequence ? mark : newest),
      undefined,
    );
}

/**
 * What replicas of this namespace say that they enforce: one that starts anew has no memory of its own, and must not take an older bundle
 * that somebody put back. Tried until it is known, since nothing is served before. @returns undefined when there is none, and after the signal
 */
export async function newestMarkOfPeers(
  {
    client,
    namespace,
    now,
    log,
  }: {
    readonly client: Pick<KubeClient, 'listAll'>;
    readonly namespace: string;
    readonly now: () => number;
    readonly log: Log;
  },
  signal: AbortSignal,
): Promise<BundleMark | undefined> {
  const labelSelector = `${LABELS.servedNamespace}=${namespace},${LABELS.component}=proxy`;
  for (let failures = 1; !signal.aborted; failures++) {
    try {
      const patience = AbortSignal.any([signal, AbortSignal.timeout(LIST_MS)]);
      const { items } = await client.listAll(LEASES, { namespace, labelSelector, signal: patience });
      return newestMark(items, now());
    } catch (error) {
      if (signal.aborted) break;
      const { message, code } = error as Error & { code?: string };
      log.warn({ code, error: message }, 'what other replicas enforce is not known yet');
      await sleep(backoffMs(failures, { firstMs: 250, maxMs: 5000, random: Math.random }), signal);
    }
  }
  return undefined;
}
