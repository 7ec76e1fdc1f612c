/** Commands per minute of each subject on each connection, in this process: two half-counted windows, no timers. */
export interface Rates {
  /** Counts one command and returns how many there were within the last minute, about. */
  count(key: string, nowMs: number): number;
}

const MINUTE = 60_000;

export function createRates(): Rates {
  const windows = new Map<string, { start: number; current: number; previous: number }>();
  return {
    count(key, nowMs) {
      const start = nowMs - (nowMs % MINUTE);
      let window = windows.get(key);
      if (window === undefined) {
        if (windows.size > 10_000) windows.clear();
        window = { start, current: 0, previous: 0 };
        windows.set(key, window);
      }
      if (window.start !== start) {
        window.previous = window.start === start - MINUTE ? window.current : 0;
        window.current = 0;
        window.start = start;
      }
      window.current++;
      // The share of the previous minute that still lies within the last sixty seconds.
      const share = 1 - (nowMs - start) / MINUTE;
      return Math.floor(window.current + window.previous * share);
    },
  };
}
