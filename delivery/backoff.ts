/** How long to wait between attempts: twice as long each time, and by chance, so that many senders do not come back at once. */
export interface BackoffSettings {
  /** Bound of the first wait, in milliseconds. */
  readonly firstMs: number;
  /** No wait is longer, whatever the receiver asks for. */
  readonly maxMs: number;
  /** From 0 up to 1, as `Math.random`. */
  readonly random: () => number;
}

export const DEFAULT_BACKOFF: BackoffSettings = { firstMs: 1000, maxMs: 60_000, random: Math.random };

/**
 * Milliseconds before attempt `failures + 1`: between half the bound and the bound.
 * @param failures in a row, from 1
 * @param askedMs what the receiver asked for (Retry-After): waited for at least, up to the greatest wait
 */
export function waitAfter(failures: number, settings: BackoffSettings, askedMs = 0): number {
  const bound = Math.min(settings.maxMs, settings.firstMs * 2 ** Math.min(failures - 1, 30));
  return Math.min(settings.maxMs, Math.max(askedMs, bound * (0.5 + settings.random() / 2)));
}

/** Resolves after the time, or as soon as one of the signals is aborted. Keeps no process alive. */
export function pause(milliseconds: number, ...signals: readonly AbortSignal[]): Promise<void> {
  return new Promise((resolve) => {
    const any = AbortSignal.any([...signals]);
    if (any.aborted) return resolve();
    const done = (): void => {
      clearTimeout(timer);
      any.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds).unref();
    any.addEventListener('abort', done);
  });
}
