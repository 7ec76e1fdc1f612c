/** A signal that is aborted with another one, or after a time; it leaves no trace on the other one once it is disposed of. */
export interface TimeLimit extends Disposable {
  readonly signal: AbortSignal;
  /** Counts from now again. */
  restart(): void;
  /** The time does not matter any more; the other signal still does. */
  disarm(): void;
}

/** @param reason of the abort when the time is over */
export function timeLimit(outer: AbortSignal | undefined, milliseconds: number, reason: () => Error): TimeLimit {
  const controller = new AbortController();
  const stop = (): void => controller.abort(outer?.reason);
  if (outer?.aborted === true) stop();
  outer?.addEventListener('abort', stop, { once: true });
  const timer = setTimeout(() => controller.abort(reason()), milliseconds);
  return {
    signal: controller.signal,
    restart: () => void timer.refresh(),
    disarm: () => clearTimeout(timer),
    [Symbol.dispose]() {
      clearTimeout(timer);
      outer?.removeEventListener('abort', stop);
    },
  };
}

/** The promise's result, unless the signal comes first: then its reason is thrown. */
export function orAborted<R>(promise: Promise<R>, signal: AbortSignal): Promise<R> {
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(signal.reason);
    if (signal.aborted) return stop();
    signal.addEventListener('abort', stop, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}
