import { sleep } from './backoff.ts';
import { LEASES, type Lease } from './builtin.ts';
import { isAlreadyExists, isConflict, isNotFound, KubeError } from './errors.ts';
import type { KubeMetrics } from './metrics.ts';
import { orAborted, type TimeLimit, timeLimit } from './time-limit.ts';
import type { KubeClient, Log } from './types.ts';

/**
 * One of several replicas leads, by a Lease (coordination.k8s.io/v1), in the way of client-go. Nobody compares clocks with anybody:
 * a replica waits until it has itself seen the Lease unchanged for as long as it is good. The one that leads counts from *before* it
 * asked for the renewal, and gives up (`renewDeadlineMs`) before others may take over (`leaseDurationMs`).
 */
export interface LeaderElectionOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly name: string;
  /** Of this process: a pod's name is used again by the next container in it, so add something random. */
  readonly identity: string;
  readonly log: Log;
  readonly metrics?: KubeMetrics;
  readonly leaseDurationMs?: number;
  readonly renewDeadlineMs?: number;
  readonly retryPeriodMs?: number;
  /** Milliseconds, monotonic. */
  readonly now?: () => number;
  /** For what is written into the Lease. */
  readonly clock?: () => Date;
  readonly random?: () => number;
}

export interface LeaderElection {
  readonly isLeader: boolean;
  /** Who holds it, as it was last seen. */
  readonly holder: string | undefined;
  /** Resolves when this process leads; rejects with the signal's reason. */
  elected(signal: AbortSignal): Promise<void>;
  /** Tries until it leads, then holds on. Gives the Lease back after the signal. @throws KubeError SPB018 when it was lost: end the process */
  run(signal: AbortSignal): Promise<void>;
}

export function createLeaderElection(options: LeaderElectionOptions): LeaderElection {
  const { client, namespace, name, identity, log, metrics } = options;
  const leaseDurationMs = options.leaseDurationMs ?? 15_000;
  const renewDeadlineMs = options.renewDeadlineMs ?? 10_000;
  const retryPeriodMs = options.retryPeriodMs ?? 2_000;
  const now = options.now ?? (() => performance.now());
  const clock = options.clock ?? (() => new Date());
  const random = options.random ?? Math.random;
  const won = Promise.withResolvers<void>();
  /** The Lease as it was last seen, and since when it looks so. */
  let seen: { readonly lease: Lease; readonly since: number } | undefined;
  let leads = false;

  const within = (signal: AbortSignal | undefined, milliseconds: number): TimeLimit =>
    timeLimit(
      signal,
      milliseconds,
      () => new KubeError('SPB002', [Math.round(milliseconds), `lease ${namespace}/${name}`]),
    );

  const observe = (lease: Lease): void => {
    const { resourceVersion, uid } = lease.metadata;
    if (seen?.lease.metadata.resourceVersion === resourceVersion && seen?.lease.metadata.uid === uid) return;
    const holder = lease.spec?.holderIdentity ?? '';
    if (holder !== (seen?.lease.spec?.holderIdentity ?? '') && holder !== identity && holder !== '') {
      log.info({ lease: `${namespace}/${name}`, holder }, 'another replica leads');
    }
    seen = { lease, since: now() };
  };

  const isHeldByOther = (): boolean => {
    const holder = seen?.lease.spec?.holderIdentity ?? '';
    if (seen === undefined || holder === '' || holder === identity) return false;
    const duration = (seen.lease.spec?.leaseDurationSeconds ?? leaseDurationMs / 1000) * 1000;
    return now() < seen.since + duration;
  };

  const desired = (before: Lease | undefined): Lease => {
    const time = microTime(clock());
    const mine = before?.spec?.holderIdentity === identity;
    return {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: before?.metadata ?? { namespace, name },
      spec: {
        holderIdentity: identity,
        leaseDurationSeconds: Math.ceil(leaseDurationMs / 1000),
        acquireTime: mine ? (before.spec?.acquireTime ?? time) : time,
        renewTime: time,
        leaseTransitions: (before?.spec?.leaseTransitions ?? 0) + (mine || before === undefined ? 0 : 1),
      },
    };
  };

  /** @returns whether it is ours now. Throws when that is not known. */
  const acquire = async (signal: AbortSignal): Promise<boolean> => {
    const current = await client.get(LEASES, { namespace, name }, { signal });
    if (current !== undefined) observe(current);
    if (current !== undefined && isHeldByOther()) return false;
    try {
      observe(
        current === undefined
          ? await client.create(LEASES, desired(undefined), { signal })
          : await client.update(LEASES, desired(current), { signal }),
      );
      return true;
    } catch (error) {
      // Another one was faster.
      if (isConflict(error) || isAlreadyExists(error)) return false;
      throw error;
    }
  };

  /** Ends when the Lease may be another's: @returns 'lost', or 'stopped' by the signal. */
  const hold = async (signal: AbortSignal, since: number): Promise<'lost' | 'stopped'> => {
    let renewed = since;
    let failing = false;
    for (;;) {
      await sleep(retryPeriodMs, signal);
      if (signal.aborted) return 'stopped';
      const asked = now();
      const left = renewed + renewDeadlineMs - asked;
      if (left <= 0) return 'lost';
      using limit = within(signal, left);
      try {
        // A Lease that is gone, or another's, is not taken back: others may have acted on it.
        const current = seen?.lease;
        const still =
          current === undefined ? undefined : await client.update(LEASES, desired(current), { signal: limit.signal });
        if (still === undefined) return 'lost';
        observe(still);
        renewed = asked;
        if (failing) log.info({ lease: `${namespace}/${name}` }, 'the lease was renewed again');
        failing = false;
      } catch (error) {
        if (signal.aborted) return 'stopped';
        if (isNotFound(error)) return 'lost';
        if (isConflict(error) && (await isAnothers(limit.signal))) return 'lost';
        if (!failing) log.warn({ lease: `${namespace}/${name}`, err: error }, 'the lease could not be renewed');
        failing = true;
      }
    }
  };

  /** After a conflict: somebody touched it. Only a holder that is another one counts. */
  const isAnothers = async (signal: AbortSignal): Promise<boolean> => {
    try {
      const current = await client.get(LEASES, { namespace, name }, { signal });
      if (current === undefined) return true;
      observe(current);
      return current.spec?.holderIdentity !== identity;
    } catch (error) {
      // Not known: the deadline decides.
      log.debug({ err: error }, 'the lease could not be read');
      return false;
    }
  };

  const release = async (): Promise<void> => {
    const lease = seen?.lease;
    if (lease === undefined) return;
    const time = microTime(clock());
    using limit = within(undefined, retryPeriodMs);
    try {
      await client.update(
        LEASES,
        {
          ...lease,
          spec: { ...lease.spec, holderIdentity: '', leaseDurationSeconds: 1, acquireTime: time, renewTime: time },
        },
        { signal: limit.signal },
      );
    } catch (error) {
      log.info({ err: error }, 'the lease could not be given back; the next replica waits until it ends');
    }
  };

  return {
    get isLeader() {
      return leads;
    },
    get holder() {
      return seen?.lease.spec?.holderIdentity ?? undefined;
    },
    elected: (signal) => orAborted(won.promise, signal),
    async run(signal) {
      metrics?.leader.set({ name }, 0);
      let failing = false;
      let since = now();
      for (;;) {
        since = now();
        using limit = within(signal, renewDeadlineMs);
        try {
          if (signal.aborted) return;
          if (await acquire(limit.signal)) break;
          failing = false;
        } catch (error) {
          if (signal.aborted) return;
          if (!failing) log.warn({ lease: `${namespace}/${name}`, err: error }, 'the lease cannot be had');
          failing = true;
        }
        await sleep(retryPeriodMs * (1 + random() * 0.2), signal);
      }
      log.info({ lease: `${namespace}/${name}`, identity }, 'this replica leads');
      leads = true;
      metrics?.leader.set({ name }, 1);
      won.resolve();
      const end = await hold(signal, since);
      leads = false;
      metrics?.leader.set({ name }, 0);
      if (end === 'lost') throw new KubeError('SPB018', [`${namespace}/${name}`]);
      await release();
    },
  };
}

/** `metav1.MicroTime`: six digits of a second. */
const microTime = (date: Date): string => date.toISOString().replace('Z', '000Z');
