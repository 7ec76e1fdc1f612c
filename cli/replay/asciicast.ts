import { safeJson } from '../../record/display.ts';
import type { SessionSummary } from '../../record/sessions.ts';

export interface CastOptions {
  readonly version: 2 | 3;
  readonly columns: number;
  readonly rows: number;
  /** Of the terminal, such as `xterm-256color`. */
  readonly type?: string;
  /** What was recorded, where it is not the session as a whole. */
  readonly command?: string;
  /** Longest wait that players make, in seconds. */
  readonly idleSeconds: number;
}

/** Output, another size, exit status (v3 alone). Never `i`: what was typed is not recorded. */
export type CastCode = 'o' | 'r' | 'x';

/**
 * A terminal recording: https://docs.asciinema.org/manual/asciicast/v2/ (times since the start) and v3 (since the event before).
 */
export interface CastWriter {
  head(session: SessionSummary): string;
  /** What a step prints, at its time. Empty for nothing. */
  output(atMicros: number, text: string): string;
  /** As it was recorded. Empty for what this version does not have. */
  event(atMicros: number, code: CastCode, data: string): string;
}

export function createCast({ version, columns, rows, type, command, idleSeconds }: CastOptions): CastWriter {
  let last = 0;

  function event(atMicros: number, code: CastCode, data: string): string {
    if (data === '' || (code === 'x' && version === 2)) return '';
    const micros = version === 2 ? atMicros : atMicros - last;
    last = atMicros;
    return `${safeJson([micros / 1_000_000, code, data])}\n`;
  }

  return {
    head(session) {
      const what = command === undefined ? '' : `: ${command}`;
      const common = {
        timestamp: Math.floor(Date.parse(session.start) / 1000),
        idle_time_limit: idleSeconds,
        title: `Sallyport session ${session.session}: ${session.who ?? 'nobody'} on ${session.connection}${what}`,
      };
      const header =
        version === 2
          ? { version, width: columns, height: rows, ...(type === undefined ? {} : { env: { TERM: type } }), ...common }
          : { version, term: { cols: columns, rows, ...(type === undefined ? {} : { type }) }, ...common };
      return `${safeJson(header)}\n`;
    },
    output: (atMicros, text) => event(atMicros, 'o', text.replaceAll('\n', '\r\n')),
    event,
  };
}
