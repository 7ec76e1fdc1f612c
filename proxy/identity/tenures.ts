import { type IdentityError, identityError } from './errors.ts';
import { type PodFacts, podLabel } from './pod-directory.ts';

/** For how long what runs in one pod may stay: shared by all its sessions. */
export interface Tenure {
  /** Milliseconds since 1970: end of the freshest token that was presented for running sessions; 0 when none was. */
  readonly renewedUntil: number;
  /** Aborted when the pod is gone, ending or in quarantine. */
  readonly withdrawn: AbortSignal;
}

export interface Tenures {
  /** Of a pod that was verified just now. */
  of(pod: PodFacts): Tenure;
  /** A fresh token was presented. False: nothing of that pod is known. */
  renew(uid: string, until: Date): boolean;
  /** What has become of a pod; undefined: it is gone. */
  observe(uid: string, pod: PodFacts | undefined): void;
  readonly size: number;
}

interface Entry {
  renewedUntil: number;
  readonly label: string;
  readonly ending: AbortController;
  readonly tenure: Tenure;
}

/** Why a pod may not be here, if so. */
export function podRefusal(label: string, pod: PodFacts | undefined): IdentityError | undefined {
  if (pod === undefined) return identityError('SPI025', [label, 'does not exist any more']);
  if (pod.ending) return identityError('SPI025', [label, 'is ending']);
  return pod.quarantined ? identityError('SPI027', [label]) : undefined;
}

/** Tenures by UID of the pod. An entry lives as long as its pod, so there are no more than pods. */
export function createTenures(): Tenures {
  const entries = new Map<string, Entry>();
  return {
    of(pod) {
      const known = entries.get(pod.uid);
      if (known !== undefined) return known.tenure;
      const ending = new AbortController();
      const entry: Entry = {
        renewedUntil: 0,
        label: podLabel(pod),
        ending,
        tenure: {
          get renewedUntil() {
            return entry.renewedUntil;
          },
          withdrawn: ending.signal,
        },
      };
      entries.set(pod.uid, entry);
      return entry.tenure;
    },
    renew(uid, until) {
      const entry = entries.get(uid);
      if (entry === undefined) return false;
      entry.renewedUntil = Math.max(entry.renewedUntil, until.getTime());
      return true;
    },
    observe(uid, pod) {
      const entry = entries.get(uid);
      if (entry === undefined) return;
      const refusal = podRefusal(entry.label, pod);
      if (refusal === undefined) return;
      // A pod that leaves quarantine begins anew: what was ended stays so.
      entries.delete(uid);
      entry.ending.abort(refusal);
    },
    get size() {
      return entries.size;
    },
  };
}
