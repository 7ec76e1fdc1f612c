import { type FileHandle, open } from 'node:fs/promises';
import { resolve } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { safeJson } from '../../record/display.ts';
import { createStepReader, type ReplayStep } from '../../record/replay/steps.ts';
import type { SessionSummary } from '../../record/sessions.ts';
import { CliError } from '../errors.ts';
import type { CliIo } from '../io.ts';
import { findSession, type RecordPlace, type RecordReader } from '../places/record.ts';
import { createCast } from '../replay/asciicast.ts';
import { createPage } from '../replay/html.ts';
import { createTerminalCast, createTerminalPlayer, type TerminalCommand, terminalOf } from '../replay/terminal.ts';
import { createTextRenderer } from '../replay/text.ts';
import { sessionHead } from './sessions-format.ts';
import { type CommonOptions, parseLength } from './sessions-options.ts';

const EXPORTS = ['html', 'asciicast', 'asciicast-v3', 'jsonl'] as const;

interface ReplayOptions extends CommonOptions {
  readonly speed?: number;
  readonly maxPause: number;
  /** The same, by asciinema's name. */
  readonly idleLimit?: number;
  readonly maxRows: number;
  readonly terminal?: number;
  readonly export?: (typeof EXPORTS)[number];
  readonly out?: string;
}

const TIMING = `
On a terminal the session is played with its own timing; elsewhere, and with --speed 0, all of it comes at once.
What ran on a terminal is played as it looked there, without what would act on yours: titles, the clipboard, links, questions to it.
As asciicast it is written as a recording of that terminal, when the session has one or --terminal names it.`;

/** Describes `sessions replay`. */
export function registerReplay(command: Command, io: CliIo, place: RecordPlace): void {
  command
    .description('Play a session again: commands, verdicts, approvals, results, terminals and outcomes')
    .argument('<session>', 'id of the session, as list shows it')
    .option('--speed <factor>', 'how many times as fast; 0: at once (default: 1 on a terminal)', parseSpeed)
    .addOption(
      new Option('--max-pause <time>', 'longest wait between two steps, such as 500ms or 2s')
        .argParser(parseLength)
        .default(2_000, '2s'),
    )
    .addOption(new Option('--idle-limit <time>', 'the same as --max-pause').argParser(parseLength))
    .option('--max-rows <number>', 'rows shown of one result, or lines of one output', parseCount, 50)
    .option('--terminal <number>', 'only the terminal of this command', parseCount)
    .addOption(new Option('--export <format>', 'write it in another form').choices(EXPORTS))
    .option('--out <file>', 'write to this file instead of stdout')
    .addHelpText('after', TIMING)
    .action((session: string, { idleLimit, ...options }: ReplayOptions) =>
      replay(place, session, idleLimit === undefined ? options : { ...options, maxPause: idleLimit }, io),
    );
}

function parseSpeed(text: string): number {
  const speed = Number(text);
  if (text === '' || !Number.isFinite(speed) || speed < 0 || speed > 10_000)
    throw new InvalidArgumentError('write a number from 0 to 10000.');
  return speed;
}

function parseCount(text: string): number {
  const count = Number(text);
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('write a whole number.');
  return count;
}

/** A form in which a session is written: what comes before its steps, each step, and what comes after. */
interface Form {
  head(session: SessionSummary): string;
  step(step: ReplayStep): string;
  /** Also called when it is interrupted. */
  tail(): string;
}

const CAST_SIZE = { columns: 120, rows: 36 };

function formOf(options: ReplayOptions, io: CliIo, terminal: TerminalCommand | undefined): Form {
  const { maxRows: mostRows, maxPause } = options;
  const chosen = options.export ?? (options.output === 'json' ? 'jsonl' : 'text');
  switch (chosen) {
    case 'text': {
      const onTerminal = io.isTTY && options.out === undefined;
      const colours = onTerminal && !io.env['NO_COLOR'];
      const width = onTerminal ? Math.max(60, io.columns ?? CAST_SIZE.columns) : CAST_SIZE.columns;
      const renderer = createTextRenderer({ colours, width, mostRows });
      const player = onTerminal ? createTerminalPlayer(renderer) : { step: renderer.render, stop: () => '' };
      return { head: (session) => `${sessionHead(session)}\n`, step: player.step, tail: player.stop };
    }
    case 'html':
      return createPage({ mostRows, maxPauseMicros: maxPause * 1000 });
    case 'jsonl':
      return {
        head: (session) => `${safeJson({ kind: 'session', ...session })}\n`,
        step: (step) => `${safeJson(step)}\n`,
        tail: () => '',
      };
    case 'asciicast':
    case 'asciicast-v3': {
      const version = chosen === 'asciicast' ? 2 : 3;
      if (terminal !== undefined) return createTerminalCast(terminal, { version, idleSeconds: maxPause / 1000 });
      const cast = createCast({ version, ...CAST_SIZE, idleSeconds: maxPause / 1000 });
      const { render } = createTextRenderer({ colours: true, width: CAST_SIZE.columns, mostRows });
      return {
        head: (session) => cast.head(session) + cast.output(0, `${sessionHead(session)}\n`),
        step: (step) => cast.output(step.atMicros, render(step)),
        tail: () => '',
      };
    }
    default:
      return chosen satisfies never;
  }
}

async function replay(place: RecordPlace, id: string, options: ReplayOptions, io: CliIo): Promise<void> {
  await using record = await place.open(options, io);
  const session = await findSession(record, id);
  const terminal = await chosenTerminal(record, session, options);
  const form = formOf(options, io, terminal);
  const played = options.export === undefined && options.output === 'text' && options.out === undefined;
  const speed = played ? (options.speed ?? (io.isTTY ? 1 : 0)) : 0;
  await using output = await openOutput(options.out, io);
  await output.write(form.head(session));
  const reader = createStepReader();
  let before = 0;
  try {
    for await (const event of record.events(id)) {
      if (io.signal.aborted) return;
      for (const step of reader.enter(event)) {
        if (options.terminal !== undefined && !('seq' in step && step.seq === options.terminal)) continue;
        const shown = form.step(step);
        if (shown === '') continue;
        if (speed > 0) {
          const pause = Math.min((step.atMicros - before) / 1000, options.maxPause) / speed;
          if (!(await waited(pause, io.signal))) return;
        }
        before = step.atMicros;
        await output.write(shown);
      }
    }
  } finally {
    await output.write(form.tail());
  }
}

/** The terminal that is written as a recording of its own. @throws CliError SPC090 when it cannot be told which, SPC091 when there is none */
async function chosenTerminal(
  record: RecordReader,
  { session, protocol }: SessionSummary,
  options: ReplayOptions,
): Promise<TerminalCommand | undefined> {
  const cast = options.export === 'asciicast' || options.export === 'asciicast-v3';
  if (options.terminal === undefined && (!cast || protocol !== 'SSH')) return undefined;
  const reader = createStepReader();
  const found: TerminalCommand[] = [];
  for await (const event of record.events(session)) {
    // Times count from the first of them.
    if (event.e !== 'session.start' && event.e !== 'command.received') continue;
    for (const step of reader.enter(event)) {
      const terminal = terminalOf(step);
      if (terminal !== undefined) found.push(terminal);
    }
  }
  const numbers = found.map(({ seq }) => seq).join(', ');
  if (options.terminal !== undefined) {
    const named = found.find(({ seq }) => seq === options.terminal);
    if (named === undefined)
      throw new CliError('SPC091', [String(options.terminal), numbers === '' ? 'none' : numbers]);
    return named;
  }
  if (found.length > 1) throw new CliError('SPC090', [numbers]);
  return found[0];
}

/** False when it was interrupted: whoever presses Ctrl-C has seen enough. */
async function waited(milliseconds: number, signal: AbortSignal): Promise<boolean> {
  if (milliseconds < 1) return !signal.aborted;
  try {
    await setTimeout(milliseconds, undefined, { signal });
    return true;
  } catch (error) {
    if (signal.aborted) return false;
    throw error;
  }
}

interface Output extends AsyncDisposable {
  write(text: string): Promise<void>;
}

/** The file has mode 0600: it holds what the record holds. @throws CliError SPC034 */
async function openOutput(path: string | undefined, io: CliIo): Promise<Output> {
  if (path === undefined) {
    return { write: async (text) => void io.stdout.write(text), [Symbol.asyncDispose]: async () => undefined };
  }
  const file = resolve(io.cwd, path);
  const failed = (error: unknown): CliError =>
    new CliError('SPC034', [file, error instanceof Error ? error.message : String(error)], error);
  let handle: FileHandle;
  try {
    handle = await open(file, 'w', 0o600);
  } catch (error) {
    throw failed(error);
  }
  return {
    async write(text) {
      try {
        await handle.writeFile(text);
      } catch (error) {
        throw failed(error);
      }
    },
    [Symbol.asyncDispose]: () => handle.close(),
  };
}
