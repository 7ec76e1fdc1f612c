import { neutralise } from '../../record/display.ts';
import { type Line, layOut, type Piece } from '../../record/replay/sql-layout.ts';
import type { DecidedText, ReplayStep, StepOutcome } from '../../record/replay/steps.ts';
import { widthOf, wrap } from './cells.ts';
import { bodyLines, bodyNotes, clientWords, exchangeEndWords, exchangeWords, headerLines } from './exchange-words.ts';
import { createOutputLines, type OutputLine } from './output-text.ts';
import { endWords, fileEndWords, fileWords, programWords, unrecordedWords } from './program-words.ts';
import { createTable, type TableWriter } from './table.ts';
import {
  clock,
  maskedWords,
  openedWords,
  outcomeWords,
  parameterWords,
  releasedWord,
  requirementWords,
  resultWords,
  ruleWords,
  voteWords,
} from './words.ts';

export interface TextOptions {
  readonly colours: boolean;
  /** Characters in a line. */
  readonly width: number;
  /** Rows of one result that are shown. */
  readonly mostRows: number;
}

export interface TextRenderer {
  /** Lines that show this step, each with its line feed. */
  render(step: ReplayStep): string;
}

/** A text, and how it is painted. It is made safe where it is shown. */
type Fact = string | readonly [paint: (text: string) => string, text: string];

/** Stands before every line of an agent's text, so that no text can pass for a line of ours. */
const GUTTER = '│ ';
/** The same before what a program printed, and before its error output. */
const OUTPUT_GUTTER = '┊ ';
const ERROR_GUTTER = '┇ ';

/** Shows a session on a terminal, step by step. Nothing of what the record holds acts on it: see record/display.ts. */
export function createTextRenderer({ colours, width, mostRows }: TextOptions): TextRenderer {
  const sgr = (code: string) => (text: string) => (colours && text !== '' ? `\u001b[${code}m${text}\u001b[0m` : text);
  const paint = {
    dim: sgr('2'),
    bold: sgr('1'),
    good: sgr('32'),
    bad: sgr('31'),
    held: sgr('33'),
    mask: sgr('35'),
    keyword: sgr('1;34'),
    string: sgr('32'),
    number: sgr('36'),
  };
  const plain = (text: string): string => text;
  const number = ({ seq }: { readonly seq: number }): Fact => [paint.bold, `#${seq}`];
  let table: TableWriter | undefined;
  const printed = createOutputLines();
  /** Lines of output that were shown, by command. */
  const shownLines = new Map<number, number>();
  /** Lines of the body that is shown. */
  let shownBody = 0;
  /** Number of the command that was shown last. */
  let last: number | undefined;

  const indent = ' '.repeat(11);
  const room = Math.max(20, width - indent.length - GUTTER.length);

  /** The time and some facts; what does not fit goes on behind the gutter, so that no fact begins a line. */
  function headed(step: ReplayStep, facts: readonly (Fact | undefined)[]): string {
    const lines: string[] = [];
    let line = '';
    let used = 0;
    for (const fact of facts) {
      if (fact === undefined || fact === '') continue;
      const [look, text] = typeof fact === 'string' ? [plain, fact] : fact;
      for (const part of wrap(neutralise(text), room)) {
        const space = used === 0 ? 0 : 2;
        if (used + space + widthOf(part) > room) {
          lines.push(line);
          line = look(part);
          used = widthOf(part);
        } else {
          line += ' '.repeat(space) + look(part);
          used += space + widthOf(part);
        }
      }
    }
    const [first = '', ...rest] = [...lines, line];
    return `${paint.dim(clock(step.atMicros).padEnd(10))} ${first}\n${below(rest.map((one) => paint.dim(GUTTER) + one))}`;
  }

  const below = (lines: readonly string[]): string => lines.map((line) => `${indent}${line}\n`).join('');

  function decision({ verdict = 'not decided', observed, rules, masks }: DecidedText): (Fact | undefined)[] {
    const look = verdict === 'Allow' ? paint.good : verdict === 'RequireApproval' ? paint.held : paint.bad;
    return [
      [look, verdict],
      observed === undefined ? undefined : [paint.held, `(Observe; in Enforce: ${observed})`],
      ruleWords(rules),
      masks.length === 0 ? undefined : [paint.mask, `masks ${masks.join(', ')}`],
    ];
  }

  function piece({ type, text }: Piece): string {
    switch (type) {
      case 'keyword':
        return paint.keyword(text);
      case 'string':
        return paint.string(text);
      case 'number':
        return paint.number(text);
      case 'comment':
        return paint.dim(text);
      case 'plain':
        return text;
      default:
        return type satisfies never;
    }
  }

  function statement(decided: DecidedText): string[] {
    if (decided.text === undefined) return [paint.dim('(the text is not recorded)')];
    return layOut(decided.text).flatMap((line) => coloured(line));
  }

  /** A line of a statement in as many lines as it needs, each behind the gutter. */
  function coloured(line: Line): string[] {
    const safe = line.map(({ type, text }) => ({ type, text: neutralise(text.replaceAll('\t', '    ')) }));
    const lines = wrap(safe.map(({ text }) => text).join(''), room);
    const shown: string[] = [];
    let at = 0;
    let used = 0;
    for (const one of lines) {
      let out = '';
      let left = one.length;
      while (left > 0 && at < safe.length) {
        const current = safe[at]!;
        const part = current.text.slice(used, used + left);
        out += piece({ type: current.type, text: part });
        left -= part.length;
        used += part.length;
        if (used >= current.text.length) {
          at++;
          used = 0;
        }
      }
      shown.push(paint.dim(GUTTER) + out);
    }
    return shown;
  }

  /** As somebody wrote it: what is no SQL is not laid out. */
  function written({ text }: DecidedText): string[] {
    if (text === undefined) return [paint.dim('(the text is not recorded)')];
    return text
      .split('\n')
      .flatMap((line) => wrap(neutralise(line.replaceAll('\t', '    ')), room))
      .map((line) => paint.dim(GUTTER) + line);
  }

  /** What a program printed, behind the gutter; of its error output the gutter is another. */
  function output(seq: number, lines: readonly OutputLine[]): string {
    let count = shownLines.get(seq) ?? 0;
    const shown: string[] = [];
    for (const { code, text } of lines) {
      if (count++ >= mostRows) continue;
      const gutter = code === 'e' ? paint.bad(ERROR_GUTTER) : paint.dim(OUTPUT_GUTTER);
      for (const part of wrap(text, room)) shown.push(gutter + (code === 'r' ? paint.dim(part) : part));
    }
    shownLines.set(seq, count);
    return below(shown);
  }

  /** The rest of a program's output, and what is not in the record of it. */
  function outputEnd(seq: number, outcome: StepOutcome): string {
    const rest = output(seq, printed.end(seq));
    const more = (shownLines.get(seq) ?? 0) - mostRows;
    shownLines.delete(seq);
    const notes = [...(more > 0 ? [`${more} more lines of output`] : []), ...unrecordedWords(outcome)];
    return rest + below(notes.map((note) => paint.dim(`(${note})`)));
  }

  function render(step: ReplayStep): string {
    if ('seq' in step && step.kind !== 'output') last = step.seq;
    switch (step.kind) {
      case 'opened':
        return headed(step, [[paint.bold, 'session opened'], ...openedWords(step)]);
      case 'authenticated':
        return headed(step, [
          [paint.good, 'authenticated'],
          step.method === undefined ? undefined : `by ${step.method}`,
          step.groups.length === 0 ? undefined : `groups ${step.groups.join(', ')}`,
        ]);
      case 'refused':
        return headed(step, [[paint.bad, 'session refused'], step.code, step.message]);
      case 'prepared':
        return headed(step, [[paint.dim, 'prepared'], ...decision(step)]) + below(statement(step));
      case 'command': {
        if (step.program !== undefined) {
          return headed(step, [number(step), ...programWords(step.program), ...decision(step)]) + below(written(step));
        }
        if (step.exchange !== undefined) {
          const lines = [...clientWords(step.exchange.details), ...headerLines(step.exchange.headers)];
          const fields = lines.flatMap((line) => wrap(neutralise(line), room));
          return (
            headed(step, [number(step), ...exchangeWords(step.exchange), ...decision(step)]) +
            below([...written(step), ...fields.map((line) => paint.dim(GUTTER + line))])
          );
        }
        const values = step.parameters.length === 0 ? [] : wrap(neutralise(parameterWords(step.parameters)), room);
        return (
          headed(step, [number(step), ...decision(step)]) +
          below([...statement(step), ...values.map((line) => paint.dim(`${GUTTER}${line}`))])
        );
      }
      case 'denied': {
        const rules = step.rules.length === 0 ? undefined : `rule ${step.rules.join(', ')}`;
        return headed(step, [number(step), [paint.bad, 'denied'], step.denied, step.message, rules, step.code]);
      }
      case 'held': {
        const needs = `needs ${requirementWords(step.requirements) || 'an approval'}`;
        return headed(step, [number(step), [paint.held, 'held'], step.request, needs]);
      }
      case 'released':
        return (
          headed(step, [number(step), [paint.held, releasedWord(step.state)], step.request, step.state]) +
          below(step.votes.flatMap((vote) => wrap(neutralise(voteWords(vote)), room)).map((line) => `${GUTTER}${line}`))
        );
      case 'rows':
        if (step.first || table === undefined) table = createTable(width - indent.length, mostRows, paint.dim);
        return below(table.rows(step));
      case 'result': {
        const notes = resultWords(step.result, table?.shown ?? 0);
        table = undefined;
        return below(notes.map((note) => paint.dim(`(${neutralise(note)})`)));
      }
      case 'body': {
        if (step.first) shownBody = 0;
        const lines = bodyLines(step, shownBody, mostRows);
        shownBody += lines.length;
        const gutter = step.of === 'request' ? GUTTER : OUTPUT_GUTTER;
        const shown = lines.flatMap((line) => wrap(neutralise(line.replace(/\r$/, '')), room));
        const notes = bodyNotes(step, mostRows).map((note) => paint.dim(`(${note})`));
        return below([...shown.map((line) => paint.dim(gutter) + line), ...notes]);
      }
      case 'output': {
        const lines = output(step.seq, printed.add(step.seq, step.code, step.data));
        // Programs that run at the same time: whose output it is.
        const head = lines === '' || last === step.seq ? '' : headed(step, [number(step), [paint.dim, 'goes on']]);
        if (lines !== '') last = step.seq;
        return head + lines;
      }
      case 'file':
        return headed(step, [number(step), fileWords(step.operation, step.accesses), step.detail, ...decision(step)]);
      case 'file-denied': {
        const rules = step.rules.length === 0 ? undefined : `rule ${step.rules.join(', ')}`;
        const what = fileWords(step.operation, step.accesses);
        return headed(step, [number(step), what, [paint.bad, 'denied'], step.message, rules, step.code]);
      }
      case 'file-closed': {
        const masked = maskedWords(step.masked);
        return headed(step, [number(step), [paint.dim, 'closed'], ...fileEndWords(step), masked]);
      }
      case 'executed':
        return (
          outputEnd(step.seq, step) +
          headed(step, [
            number(step),
            [paint.good, 'executed'],
            ...endWords(step),
            ...exchangeEndWords(step),
            ...outcomeWords(step),
          ])
        );
      case 'failed':
        return (
          outputEnd(step.seq, step) +
          headed(step, [
            number(step),
            [paint.bad, 'failed'],
            step.code,
            ...endWords(step),
            ...exchangeEndWords(step),
            ...outcomeWords(step),
          ])
        );
      case 'credential':
        return headed(step, [[paint.dim, `credential ${step.action}`], step.type, step.username, step.reference]);
      case 'ended': {
        const counts =
          step.commands === undefined ? undefined : `${step.commands} commands, ${step.denied ?? 0} denied`;
        const what: Fact = step.interrupted ? [paint.bad, 'session interrupted'] : [paint.bold, 'session ended'];
        return headed(step, [what, step.reason, step.code, counts]);
      }
      case 'other':
        return headed(step, [[paint.dim, step.event]]);
      default:
        return step satisfies never;
    }
  }

  return { render };
}
