import { pause } from './wait.ts';

export interface Connection {
  destroy(): unknown;
}

export type Dialled<T> =
  | { readonly address: string; readonly socket: T }
  | { readonly address: string; readonly socket: undefined; readonly error: unknown };

/**
 * Dials addresses in this order and gives what came of each as soon as it is known. One that does not answer has a head start and no
 * more: then the next is dialled beside it (RFC 8305, section 5). A replica that has just gone is an address where nobody says no,
 * and DNS names it for some seconds longer; so when none has answered, `more` is asked, again and again, which others there are by now.
 * Whoever stops asking has the others given up.
 */
export async function* dialInTurn<T extends Connection>(
  addresses: readonly string[],
  dial: (address: string, signal: AbortSignal) => Promise<T>,
  headStartMs: number,
  signal: AbortSignal,
  more: () => Promise<readonly string[]> = async () => [],
): AsyncGenerator<Dialled<T>, void, void> {
  const enough = new AbortController();
  const until = AbortSignal.any([signal, enough.signal]);
  const waiting = [...addresses];
  const dialling = new Map<string, Promise<Dialled<T>>>();
  const known = new Set(addresses);
  let waitMs = headStartMs;
  try {
    while (waiting.length > 0 || dialling.size > 0) {
      const address = waiting.shift();
      if (address !== undefined) {
        const dialled = dial(address, until).then(
          (socket): Dialled<T> => ({ address, socket }),
          (error: unknown): Dialled<T> => ({ address, socket: undefined, error }),
        );
        dialling.set(address, dialled);
      }
      const first = await firstOf(dialling.values(), waiting.length > 0 ? headStartMs : waitMs, until);
      if (signal.aborted) return;
      if (first === undefined) {
        if (waiting.length > 0) continue;
        waitMs *= 2;
        const others = (await more()).filter((other) => !known.has(other));
        for (const other of others) known.add(other);
        waiting.push(...others);
        continue;
      }
      dialling.delete(first.address);
      yield first;
    }
  } finally {
    enough.abort();
    for (const dialled of dialling.values()) void dialled.then(({ socket }) => socket?.destroy());
  }
}

/** Undefined: none within the time. */
async function firstOf<T>(all: Iterable<Promise<T>>, withinMs: number, signal: AbortSignal): Promise<T | undefined> {
  const decided = new AbortController();
  try {
    const late = pause(withinMs, AbortSignal.any([signal, decided.signal])).then(() => undefined);
    return await Promise.race([...all, late]);
  } finally {
    decided.abort();
  }
}
