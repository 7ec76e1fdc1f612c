import type { Wire } from '../../../listener/wire.ts';
import type { CredentialLease, PostgresCredential } from '../../../ports.ts';
import type { UpstreamSession } from '../upstream.ts';
import * as encode from '../wire/encode.ts';

/** A signed-in connection with the login that it is good for. */
export interface LeasedConnection {
  readonly upstream: UpstreamSession;
  readonly lease: CredentialLease<PostgresCredential>;
}

export interface SuccessionOptions {
  /** Signed in already, for what comes first. */
  readonly first: LeasedConnection;
  /** A login of its own, and a connection with it. @throws what `lease` and `connectUpstream` throw */
  readonly open: (signal: AbortSignal) => Promise<LeasedConnection>;
  readonly now: () => number;
}

/** One login after another: the next is signed in while the one before is dropped. */
export interface Succession {
  /** Signed in and not used yet. */
  readonly unused: LeasedConnection | undefined;
  /**
   * The connection for the next command. What the login before owned has been left to others by then, so that this one may use it.
   * @throws as `open`
   */
  next(signal: AbortSignal): Promise<LeasedConnection>;
  /** Says goodbye, and drops the login when the server has closed. */
  end(leased: LeasedConnection): void;
  /** Closes at once and drops the login. */
  giveUp(leased: LeasedConnection): void;
  /** Gives up what is unused. */
  stop(): void;
  /** Resolves when everything that has ended is dropped. */
  settled(): Promise<void>;
}

/** How long a server may take to close a connection that was told to, in milliseconds. */
const CLOSE_MS = 1000;

export function createSuccession(options: SuccessionOptions): Succession {
  let unused: LeasedConnection | undefined = options.first;
  let revoking: Promise<unknown> = Promise.resolve();

  function revoke({ lease }: LeasedConnection, after: Promise<void>): void {
    revoking = Promise.all([revoking, after.then(() => lease.release())]);
  }

  function giveUp(leased: LeasedConnection): void {
    leased.upstream.wire.onClose = () => {};
    leased.upstream.wire.destroy();
    revoke(leased, Promise.resolve());
  }

  function takeUnused(): LeasedConnection | undefined {
    const ready = unused;
    unused = undefined;
    return ready;
  }

  return {
    get unused() {
      return unused;
    },
    async next(signal) {
      const ready = takeUnused();
      if (ready !== undefined) {
        const { expiresAt } = ready.lease;
        // Signed in or not: what has ended is not used for something new.
        if (!ready.upstream.wire.closed && (expiresAt === undefined || options.now() < expiresAt.getTime()))
          return ready;
        giveUp(ready);
      }
      const [opened] = await Promise.allSettled([options.open(signal), revoking]);
      if (opened.status === 'rejected') throw opened.reason;
      return opened.value;
    },
    end: (leased) => revoke(leased, farewell(leased.upstream.wire)),
    giveUp,
    stop() {
      const ready = takeUnused();
      if (ready !== undefined) giveUp(ready);
    },
    async settled() {
      await revoking;
    },
  };
}

/** Resolves when the server has closed: by then nobody is signed in any more. */
function farewell(wire: Wire): Promise<void> {
  return new Promise((resolve) => {
    if (wire.closed) {
      resolve();
      return;
    }
    const timer = setTimeout(() => wire.destroy(), CLOSE_MS);
    wire.onBytes = () => {};
    wire.onEnd = () => wire.destroy();
    wire.onClose = () => {
      clearTimeout(timer);
      resolve();
    };
    wire.resume();
    wire.write(encode.terminate());
  });
}
