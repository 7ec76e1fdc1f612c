import { safeJson } from '../../record/display.ts';
import type { SessionSummary } from '../../record/sessions.ts';

export interface CastOptions {
  readonly version: 2 | 3;
  readonly columns: number;
  readonly rows: number;
  /** Longest wait that players make, in seconds. */
  readonly idleSeconds: number;
}

/**
 * A session as a terminal recording: https://docs.asciinema.org/manual/asciicast/v2/ (times since the start) and v3 (since the
 * event before).
 */
export interface CastWriter {
  head(session: SessionSummary): string;
  /** What a step prints, at its time. Empty for nothing. */
  output(atMicros: number, text: string): string;
}

export function createCast({ version, columns, rows, idleSeconds }: CastOptions): CastWriter {
  let last = 0;
  return {
    head(session) {
      const common = {
        timestamp: Math.floor(Date.parse(session.start) / 1000),
        idle_time_limit: idleSeconds,
        title: `Sallyport session ${session.session}: ${session.who ?? 'nobody'} on ${session.connection}`,
      };
      const header =
        version === 2
          ? { version, width: columns, height: rows, ...common }
          : { version, term: { cols: columns, rows }, ...common };
      return `${safeJson(header)}\n`;
    },
    output(atMicros, text) {
      if (text === '') return '';
      const micros = version === 2 ? atMicros : atMicros - last;
      last = atMicros;
      return `${safeJson([micros / 1_000_000, 'o', text.replaceAll('\n', '\r\n')])}\n`;
    },
  };
}
