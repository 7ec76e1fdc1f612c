/** How much of the process a client may have before it has said who it is, and after. */
export interface ConnectionLimits {
  /** Open connections of all clients. */
  readonly total: number;
  /** Open connections of one address: one pod. */
  readonly perAddress: number;
  /** Handshakes under way at once; more wait for their turn, which costs a socket and nothing else. */
  readonly handshakes: number;
  /** Handshakes, under way or waiting, of one address. */
  readonly handshakesPerAddress: number;
}

export const DEFAULT_LIMITS: ConnectionLimits = {
  total: 20_000,
  perAddress: 4096,
  handshakes: 256,
  handshakesPerAddress: 1024,
};

export interface Admission {
  /** The handshake and the first request are done, well or not; may be called twice. */
  introduced(): void;
  /** The connection is closed; may be called twice. */
  closed(): void;
}

export interface ConnectionCounter {
  /** Undefined: refused. Otherwise `begin` is called, now or later, unless the connection is closed first. */
  admit(address: string, begin: () => void): Admission | undefined;
  readonly open: number;
}

interface Usage {
  open: number;
  handshakes: number;
}

/** Counts connections by address. Handshakes begin in the order of arrival. */
export function createConnectionCounter(limits: ConnectionLimits = DEFAULT_LIMITS): ConnectionCounter {
  const usage = new Map<string, Usage>();
  const waiting = new Set<() => void>();
  let open = 0;
  let running = 0;

  function next(): void {
    for (const begin of waiting) {
      if (running >= limits.handshakes) return;
      waiting.delete(begin);
      running++;
      begin();
    }
  }

  return {
    get open() {
      return open;
    },
    admit(address, begin) {
      const of = usage.get(address) ?? { open: 0, handshakes: 0 };
      if (open >= limits.total || of.open >= limits.perAddress || of.handshakes >= limits.handshakesPerAddress)
        return undefined;
      usage.set(address, of);
      open++;
      of.open++;
      of.handshakes++;
      let state: 'waiting' | 'begun' | 'introduced' | 'closed' = 'waiting';
      const start = (): void => {
        state = 'begun';
        begin();
      };
      waiting.add(start);
      const introduced = (): void => {
        if (state !== 'waiting' && state !== 'begun') return;
        of.handshakes--;
        if (state === 'begun') running--;
        else waiting.delete(start);
        state = 'introduced';
        next();
      };
      next();
      return {
        introduced,
        closed() {
          if (state === 'closed') return;
          introduced();
          state = 'closed';
          open--;
          of.open--;
          if (of.open === 0) usage.delete(address);
        },
      };
    },
  };
}
