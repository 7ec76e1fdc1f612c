import { ConnectorError, reasonOf } from './errors.ts';

export type Level = 'info' | 'warn' | 'error';

export interface ConnectorLog {
  info(message: string, fields?: Readonly<Record<string, unknown>>): void;
  /** An error with its code and advice; anything else is SPN018. */
  failure(error: unknown, level?: 'warn' | 'error'): void;
}

interface LogOptions {
  readonly write: (line: string) => void;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Lines of one code or message in `windowMs`; the rest is counted and told when the window is over. Defaults 10 and 60 s. */
  readonly perWindow?: number;
  readonly windowMs?: number;
}

interface Window {
  readonly since: number;
  lines: number;
  dropped: number;
}

/** Lines of JSON. A client that dials in a loop against a proxy that is away must not fill the disk of the node. */
export function createLog({ write, now, perWindow = 10, windowMs = 60_000 }: LogOptions): ConnectorLog {
  const windows = new Map<string, Window>();
  const print = (level: Level, fields: Readonly<Record<string, unknown>>): void =>
    write(`${JSON.stringify({ time: new Date(now()).toISOString(), level, ...fields })}\n`);

  /** Undefined: not now. Otherwise how many lines of this kind were left out before. */
  function admitted(kind: string): number | undefined {
    const at = now();
    const known = windows.get(kind);
    if (known === undefined || at - known.since >= windowMs) {
      windows.set(kind, { since: at, lines: 1, dropped: 0 });
      return known?.dropped ?? 0;
    }
    if (known.lines >= perWindow) {
      known.dropped += 1;
      return undefined;
    }
    known.lines += 1;
    return 0;
  }

  function say(kind: string, level: Level, fields: Readonly<Record<string, unknown>>): void {
    const dropped = admitted(kind);
    if (dropped !== undefined) print(level, dropped === 0 ? fields : { ...fields, leftOut: dropped });
  }

  return {
    info: (message, fields = {}) => say(message, 'info', { ...fields, message }),
    failure(error, level = 'warn') {
      const known = error instanceof ConnectorError ? error : new ConnectorError('SPN018', [reasonOf(error)], error);
      say(known.code, level, { code: known.code, message: known.message, hint: known.hint });
    },
  };
}
