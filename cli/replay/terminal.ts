import { neutralise } from '../../record/display.ts';
import type { ProgramFacts } from '../../record/replay/program-steps.ts';
import type { ReplayStep } from '../../record/replay/steps.ts';
import { type CastOptions, createCast } from './asciicast.ts';
import { createTerminalFilter, TERMINAL_RESET, type TerminalFilter } from './terminal-filter.ts';
import type { TextRenderer } from './text.ts';

/** A command that ran on a terminal. */
export interface TerminalCommand {
  readonly seq: number;
  readonly atMicros: number;
  readonly terminal: NonNullable<ProgramFacts['terminal']>;
  readonly text?: string;
}

export function terminalOf(step: ReplayStep): TerminalCommand | undefined {
  if (step.kind !== 'command' || step.program?.terminal === undefined) return undefined;
  const { seq, atMicros, text } = step;
  return { seq, atMicros, terminal: step.program.terminal, ...(text === undefined ? {} : { text }) };
}

/** Shows steps on a terminal as `render` does, and what ran on a terminal as it looked there. */
export interface TerminalPlayer {
  step(step: ReplayStep): string;
  /** Whatever a recorded terminal changed is as it was: also for somebody who has seen enough. */
  stop(): string;
}

/** One terminal is played at a time; what else happens meanwhile is shown once it is over. */
export function createTerminalPlayer({ render }: TextRenderer): TerminalPlayer {
  let playing: { readonly seq: number; readonly filter: TerminalFilter; shown: boolean } | undefined;
  let waiting: ReplayStep[] = [];

  function stop(): string {
    if (playing === undefined) return '';
    const reset = playing.shown ? `${TERMINAL_RESET}\r\n` : '';
    const { seq } = playing;
    playing = undefined;
    const later = waiting;
    waiting = [];
    return `${reset}── end of the terminal of #${seq} ──\n${later.map((step) => play(step)).join('')}`;
  }

  function play(step: ReplayStep): string {
    if (playing !== undefined && !('seq' in step && step.seq === playing.seq)) {
      if (step.kind !== 'ended') {
        waiting.push(step);
        return '';
      }
      return stop() + render(step);
    }
    if (playing === undefined) {
      const terminal = terminalOf(step);
      const begins = step.kind === 'command' && step.verdict !== 'Deny' ? terminal : undefined;
      if (begins === undefined) return render(step);
      playing = { seq: begins.seq, filter: createTerminalFilter(), shown: false };
      return render(step);
    }
    if (step.kind === 'output') {
      if (step.code === 'r' || typeof step.data !== 'string') return '';
      const begin = playing.shown
        ? ''
        : `── terminal of #${playing.seq}; titles, links and questions to the terminal are left out ──\n`;
      playing.shown = true;
      return begin + playing.filter.filter(step.data);
    }
    if (step.kind === 'executed' || step.kind === 'failed' || step.kind === 'denied') {
      const end = playing.shown ? stop() : silently();
      return end + render(step);
    }
    return render(step);
  }

  /** Nothing of it was shown. */
  function silently(): string {
    playing = undefined;
    const later = waiting;
    waiting = [];
    return later.map((step) => play(step)).join('');
  }

  return { step: play, stop };
}

/** What the client gets as the exit status of what was denied. */
const NOT_RUN = '126';

/** One terminal as asciicast: what it showed, filtered as on a terminal, since whoever plays the file plays it on one. */
export function createTerminalCast(
  { seq, atMicros: begun, terminal, text }: TerminalCommand,
  { version, idleSeconds }: Pick<CastOptions, 'version' | 'idleSeconds'>,
) {
  const { columns, rows, type } = terminal;
  const name = neutralise(text ?? 'shell');
  const cast = createCast({
    ...{ version, columns, rows, idleSeconds },
    ...(type === undefined ? {} : { type }),
    command: `#${seq} ${name}`,
  });
  const { filter } = createTerminalFilter();
  return {
    head: cast.head,
    step(step: ReplayStep): string {
      if (!('seq' in step) || step.seq !== seq) return '';
      const at = step.atMicros - begun;
      // Held, and then denied or given up: nothing was ever shown on it.
      if (step.kind === 'denied') {
        const why = step.message === undefined ? '' : `: ${neutralise(step.message)}`;
        return cast.output(at, `── it was not run${why} ──\n`) + cast.event(at, 'x', NOT_RUN);
      }
      if (step.kind === 'executed' || step.kind === 'failed') return cast.event(at, 'x', String(step.exit ?? 255));
      if (step.kind !== 'output' || typeof step.data !== 'string') return '';
      if (step.code === 'r') return cast.event(at, 'r', step.data);
      return cast.event(at, 'o', filter(step.data));
    },
    tail: () => '',
  };
}
