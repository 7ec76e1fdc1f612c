/** Whether the disk answers so fast that waiting for it in place costs less than handing the wait to a thread. */
export interface DiskPace {
  readonly quick: boolean;
  /** A sync took so many milliseconds, wherever it was waited for. */
  took(milliseconds: number): void;
}

/** On average, in milliseconds: a thread and the way back from it take a tenth of that. */
const QUICK_MS = 0.5;
/** So many syncs are seen before the disk is believed. */
const SEEN = 8;
/** Weight of the latest one in the average. */
const LATEST = 1 / 8;
/** One that held everybody up for so long, in milliseconds, */
const STALL_MS = 10;
/** is not risked again within this time: what stalls does so at most this often. */
const CAUTIOUS_MS = 10_000;

/** @param now monotonic, in milliseconds */
export function createDiskPace(now: () => number): DiskPace {
  let average = 0;
  let seen = 0;
  let cautiousUntil = Number.NEGATIVE_INFINITY;
  return {
    get quick() {
      return seen >= SEEN && average < QUICK_MS && now() >= cautiousUntil;
    },
    took(milliseconds) {
      average = seen === 0 ? milliseconds : average + (milliseconds - average) * LATEST;
      if (seen < SEEN) seen++;
      if (milliseconds < STALL_MS) return;
      seen = 0;
      cautiousUntil = now() + CAUTIOUS_MS;
    },
  };
}
