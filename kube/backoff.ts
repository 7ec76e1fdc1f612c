/** Waits between attempts: twice as long each time, and by chance, so that many clients do not come back at once. */
export interface Backoff {
  /** Milliseconds of the first wait, at most. */
  readonly firstMs: number;
  readonly maxMs: number;
  /** From 0 up to 1, as `Math.random`. */
  readonly random: () => number;
}

/**
 * Milliseconds before the next attempt: between half the bound and the bound, and never less than what the server asked for.
 * @param failures in a row, from 1
 */
export function backoffMs(failures: number, { firstMs, maxMs, random }: Backoff, askedMs = 0): number {
  const bound = Math.min(maxMs, firstMs * 2 ** Math.min(failures - 1, 30));
  // By chance above what was asked for, too: everybody was told the same.
  return Math.max(bound * (0.5 + random() / 2), askedMs * (1 + random() / 10));
}

/** Resolves after the time, or as soon as the signal is aborted. */
export function sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, Math.min(milliseconds, 2 ** 31 - 1));
    signal.addEventListener('abort', done, { once: true });
  });
}
