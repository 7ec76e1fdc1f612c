/** How long a step of setting up a session may take. */
export interface Deadline extends Disposable {
  /** Aborted with the outer signal, for its reason, and when the time is over, with a `TimeoutError`. */
  readonly signal: AbortSignal;
  /** The time is over. */
  readonly expired: boolean;
}

/**
 * As `AbortSignal.any` with `AbortSignal.timeout`, but for its end, which is known here: those two leave a timer and entries in an outer signal
 * that lives as long as the process behind, for each client that has signed in within a second.
 */
export function createDeadline(outer: AbortSignal, milliseconds: number): Deadline {
  const linked = linkedTo(outer);
  let expired = false;
  const timer = setTimeout(() => {
    if (linked.signal.aborted) return;
    expired = true;
    linked.abort(new DOMException('The operation was aborted due to timeout', 'TimeoutError'));
  }, milliseconds);
  timer.unref();
  return {
    signal: linked.signal,
    get expired() {
      return expired;
    },
    [Symbol.dispose]() {
      clearTimeout(timer);
      linked[Symbol.dispose]();
    },
  };
}

/** A signal that somebody here aborts, and that the outer one aborts too, until it is disposed of. */
export interface Linked extends Disposable {
  readonly signal: AbortSignal;
  abort(reason: Error): void;
}

export function linkedTo(outer: AbortSignal): Linked {
  const own = new AbortController();
  const follow = (): void => own.abort(outer.reason);
  if (outer.aborted) follow();
  else outer.addEventListener('abort', follow, { once: true });
  return {
    signal: own.signal,
    abort: (reason) => own.abort(reason),
    [Symbol.dispose]: () => outer.removeEventListener('abort', follow),
  };
}
