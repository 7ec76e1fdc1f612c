/** Says refusals in a log at the pace of a log: whoever is refused chooses how often to come back. */
export interface RefusalLog {
  refused(peer: string, code: string, message: string): void;
}

export interface RefusalLogOptions {
  /** `repeated`: how many like it came since the line before. */
  readonly write: (
    facts: { readonly peer: string; readonly code: string; readonly repeated: number },
    message: string,
  ) => void;
  /** Milliseconds; never goes back. */
  readonly now: () => number;
  /** Between two lines about one peer and code, in milliseconds. Default 10 s. */
  readonly gapMs?: number;
  /** Lines about all peers within that time; what is more is counted alone. Default 100. */
  readonly lines?: number;
}

const GAP_MS = 10_000;
const LINES = 100;
const MAX_KNOWN = 4096;

/** The first of its kind is told at once; those that follow within the gap are told by number, with the next one after it. */
export function createRefusalLog({ write, now, gapMs = GAP_MS, lines = LINES }: RefusalLogOptions): RefusalLog {
  /** By peer and code, the longest told first. */
  const told = new Map<string, { at: number; repeated: number }>();
  let since = now();
  let written = 0;

  return {
    refused(peer, code, message) {
      const at = now();
      if (at - since >= gapMs) {
        since = at;
        written = 0;
      }
      const key = `${peer} ${code}`;
      const before = told.get(key);
      if ((before !== undefined && at - before.at < gapMs) || written >= lines) {
        if (before !== undefined) before.repeated++;
        return;
      }
      written++;
      told.delete(key);
      told.set(key, { at, repeated: 0 });
      for (const [oldest] of told) {
        if (told.size <= MAX_KNOWN) break;
        told.delete(oldest);
      }
      write({ peer, code, repeated: before?.repeated ?? 0 }, message);
    },
  };
}
