import { neutralise } from '../../record/display.ts';
import { type Line, layOut, type Piece } from '../../record/replay/sql-layout.ts';
import type { DecidedText, ReplayStep } from '../../record/replay/steps.ts';
import { wrap } from './cells.ts';
import { createTable, type TableWriter } from './table.ts';
import { clock, outcomeWords, parameterWords, requirementWords, ruleWords, voteWords } from './words.ts';

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

/** Stands before every line of an agent's text, so that no text can pass for a line of ours. */
const GUTTER = '│ ';

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
  let table: TableWriter | undefined;

  const indent = ' '.repeat(11);
  const room = Math.max(20, width - indent.length - GUTTER.length);

  function headed(step: ReplayStep, parts: readonly (string | undefined)[]): string {
    const shown = parts.filter((part) => part !== undefined && part !== '');
    return `${paint.dim(clock(step.atMicros).padEnd(10))} ${shown.join('  ')}\n`;
  }

  const below = (lines: readonly string[]): string => lines.map((line) => `${indent}${line}\n`).join('');

  function verdict(decided: DecidedText): string {
    const { verdict: word, observed } = decided;
    const safe = neutralise(word ?? 'not decided');
    const shown = word === 'Allow' ? paint.good(safe) : word === 'RequireApproval' ? paint.held(safe) : paint.bad(safe);
    return observed === undefined ? shown : `${shown} ${paint.held(`(Observe; in Enforce: ${neutralise(observed)})`)}`;
  }

  function facts(decided: DecidedText): (string | undefined)[] {
    const masks = decided.masks.length === 0 ? undefined : paint.mask(neutralise(`masks ${decided.masks.join(', ')}`));
    return [verdict(decided), neutralise(ruleWords(decided.rules)), masks];
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

  const safely = (facts: readonly (string | undefined)[]): string[] =>
    facts.filter((fact) => fact !== undefined).map(neutralise);

  function render(step: ReplayStep): string {
    switch (step.kind) {
      case 'opened': {
        const { who, onBehalfOf, client, application, database, mode } = step;
        return headed(step, [
          paint.bold('session opened'),
          ...safely([
            who,
            onBehalfOf === undefined ? undefined : `on behalf of ${onBehalfOf}`,
            client === undefined ? undefined : `from ${client}`,
            application === undefined || application === '' ? undefined : `with ${application}`,
            database === undefined ? undefined : `database ${database}`,
            mode === undefined || mode === 'Enforce' ? undefined : mode,
          ]),
        ]);
      }
      case 'authenticated':
        return headed(step, [
          paint.good('authenticated'),
          ...safely([
            step.method === undefined ? undefined : `by ${step.method}`,
            step.groups.length === 0 ? undefined : `groups ${step.groups.join(', ')}`,
          ]),
        ]);
      case 'refused':
        return headed(step, [paint.bad('session refused'), ...safely([step.code, step.message])]);
      case 'prepared':
        return headed(step, [paint.dim('prepared'), ...facts(step)]) + below(statement(step));
      case 'command': {
        const values = step.parameters.length === 0 ? [] : wrap(neutralise(parameterWords(step.parameters)), room);
        return (
          headed(step, [paint.bold(`#${step.seq}`), ...facts(step)]) +
          below([...statement(step), ...values.map((line) => paint.dim(`${GUTTER}${line}`))])
        );
      }
      case 'denied': {
        const rules = step.rules.length === 0 ? undefined : `rule ${step.rules.join(', ')}`;
        return headed(step, [
          paint.bold(`#${step.seq}`),
          paint.bad('denied'),
          ...safely([step.denied, step.message, rules, step.code]),
        ]);
      }
      case 'held':
        return headed(step, [
          paint.bold(`#${step.seq}`),
          paint.held('held'),
          ...safely([step.request, `needs ${requirementWords(step.requirements) || 'an approval'}`]),
        ]);
      case 'released':
        return (
          headed(step, [paint.bold(`#${step.seq}`), paint.held('released'), ...safely([step.request, step.state])]) +
          below(step.votes.flatMap((vote) => wrap(neutralise(voteWords(vote)), room)).map((line) => `${GUTTER}${line}`))
        );
      case 'rows':
        if (step.first || table === undefined) table = createTable(width - indent.length, mostRows, paint.dim);
        return below(table.rows(step));
      case 'result': {
        const { recorded, bytes, problem, rows } = step.result;
        const left = table?.left ?? 0;
        table = undefined;
        const notes = [
          left === 0 ? undefined : `${left} more of ${rows} recorded rows`,
          recorded === undefined
            ? undefined
            : `${recorded} of ${bytes ?? '?'} bytes are recorded, of the rest its length and SHA-256`,
          problem === undefined ? undefined : `not shown: ${problem}`,
        ].filter((note) => note !== undefined);
        return below(notes.map((note) => paint.dim(`(${neutralise(note)})`)));
      }
      case 'executed':
        return headed(step, [paint.bold(`#${step.seq}`), paint.good('executed'), ...safely(outcomeWords(step))]);
      case 'failed':
        return headed(step, [
          paint.bold(`#${step.seq}`),
          paint.bad('failed'),
          ...safely([step.code, ...outcomeWords(step)]),
        ]);
      case 'credential':
        return headed(step, [
          paint.dim(neutralise(`credential ${step.action}`)),
          ...safely([step.type, step.username, step.reference]),
        ]);
      case 'ended':
        return headed(step, [
          step.interrupted ? paint.bad('session interrupted') : paint.bold('session ended'),
          ...safely([
            step.reason,
            step.code,
            step.commands === undefined ? undefined : `${step.commands} commands, ${step.denied ?? 0} denied`,
          ]),
        ]);
      case 'other':
        return headed(step, [paint.dim(neutralise(step.event))]);
      default:
        return step satisfies never;
    }
  }

  return { render };
}
