import type { CommandUpstream } from './command-port.ts';
import type { TerminalSize } from './terminal-size.ts';

/** What a client sends, before and after there is somebody to take it. */
export interface StdinRelay {
  stdin(bytes: Buffer): Promise<void> | undefined;
  end(): void;
  resize(size: TerminalSize): void;
  /** From now on it goes there: what was kept first. */
  connect(upstream: CommandUpstream): void;
  /** Nobody takes it any more. */
  close(): void;
}

/** As long as a command waits, so much of its input is kept; then its client is not read. */
const MOST_KEPT_BYTES = 256 * 1024;

/** @param seen called for what goes on, valid during the call */
export function createStdinRelay(seen: {
  readonly stdin: (bytes: Buffer) => void;
  readonly resized: (size: TerminalSize) => void;
}): StdinRelay {
  let upstream: CommandUpstream | undefined;
  let kept: Buffer[] = [];
  let size = 0;
  let ended = false;
  let terminal: TerminalSize | undefined;
  const connected = Promise.withResolvers<void>();

  function pass(to: CommandUpstream, bytes: Buffer): Promise<void> | undefined {
    seen.stdin(bytes);
    return to.stdin(bytes);
  }

  return {
    stdin(bytes) {
      if (ended) return undefined;
      if (upstream !== undefined) return pass(upstream, bytes);
      kept.push(Buffer.from(bytes));
      size += bytes.length;
      return size > MOST_KEPT_BYTES ? connected.promise : undefined;
    },
    end() {
      if (ended) return;
      ended = true;
      upstream?.stdinEnd();
    },
    resize(asked) {
      terminal = asked;
      if (upstream === undefined) return;
      seen.resized(asked);
      upstream.resize(asked);
    },
    connect(to) {
      upstream = to;
      if (terminal !== undefined) {
        seen.resized(terminal);
        to.resize(terminal);
      }
      for (const bytes of kept) void pass(to, bytes);
      kept = [];
      if (ended) to.stdinEnd();
      connected.resolve();
    },
    close() {
      kept = [];
      ended = true;
      connected.resolve();
    },
  };
}
