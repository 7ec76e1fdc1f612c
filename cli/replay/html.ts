import { createHash } from 'node:crypto';
import { neutralise } from '../../record/display.ts';
import { layOut } from '../../record/replay/sql-layout.ts';
import type { DecidedText, ReplayStep, StepOutcome } from '../../record/replay/steps.ts';
import type { SessionSummary } from '../../record/sessions.ts';
import { bodyLines, bodyNotes, clientWords, exchangeEndWords, exchangeWords, headerLines } from './exchange-words.ts';
import { createOutputLines, type OutputLine } from './output-text.ts';
import { PAGE_SCRIPT, PAGE_STYLE } from './page-assets.ts';
import { endWords, fileEndWords, fileWords, programWords, unrecordedWords } from './program-words.ts';
import { sessionFacts } from './session-facts.ts';
import { NULL_MARK } from './table.ts';
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

export interface PageOptions {
  /** Rows of one result that are shown. */
  readonly mostRows: number;
  /** Longest wait when it is played, in microseconds. */
  readonly maxPauseMicros: number;
}

/** A page that shows a session and needs nothing beside itself: three parts, written one after another. */
export interface PageWriter {
  head(session: SessionSummary): string;
  step(step: ReplayStep): string;
  tail(): string;
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Text for the page: nothing in it is markup, and nothing in it is invisible or turns the direction of writing. */
function escaped(text: string): string {
  return neutralise(text).replaceAll(/[&<>"']/g, (found) => ENTITIES[found] ?? found);
}

/** Of a value in a cell: the page must stay one that a browser opens. */
const CELL_CHARACTERS = 2_000;

const digest = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;

/** Nothing is loaded, sent or framed; of scripts and styles only the two that are in this page run. */
const CONTENT_POLICY = [
  "default-src 'none'",
  `style-src ${digest(PAGE_STYLE)}`,
  `script-src ${digest(PAGE_SCRIPT)}`,
  "base-uri 'none'",
  "form-action 'none'",
].join('; ');

const FILTERS = [
  ['all', 'All'],
  ['denied', 'Denied'],
  ['held', 'Held'],
  ['failed', 'Failed'],
  ['masked', 'Masked'],
] as const;

export function createPage({ mostRows, maxPauseMicros }: PageOptions): PageWriter {
  /** Number of the command that the step before belonged to. */
  let group: number | undefined;
  let shownRows = 0;
  let shownBody = 0;
  const printed = createOutputLines();

  function head(session: SessionSummary): string {
    const list = sessionFacts(session)
      .filter(([, value]) => value !== '')
      .map(([name, value]) => `<div><dt>${name}</dt><dd>${escaped(value)}</dd></div>`);
    const filters = FILTERS.map(
      ([name, label]) =>
        `<button type="button" data-filter="${name}" aria-pressed="${name === 'all'}">${label}</button>`,
    );
    return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${escapedAttribute(CONTENT_POLICY)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>Session ${escaped(session.session)} · Sallyport</title>
<style>${PAGE_STYLE}</style>
</head>
<body data-pause="${maxPauseMicros}">
<header>
<h1>Session <code>${escaped(session.session)}</code></h1>
<dl>${list.join('')}</dl>
</header>
<div class="bar" hidden><div>
<div class="row"><button type="button" id="play">Play</button>
<select id="speed" aria-label="Speed"><option value="0.5">½×</option><option value="1" selected>1×</option><option value="2">2×</option><option value="5">5×</option><option value="20">20×</option></select>
${filters.join('')}<input type="search" id="find" placeholder="Find in commands" aria-label="Find in commands"><span id="now"></span></div>
<div class="track" id="track"><input type="range" id="at" min="0" max="1" step="any" aria-label="Time"></div>
</div></div>
<main><ol>
`;
  }

  function item(step: ReplayStep, body: string, seq?: number, more = ''): string {
    const opens = seq === undefined || seq !== group;
    group = seq;
    const classes = ['step', step.kind, ...(seq === undefined ? ['plain'] : []), ...(opens ? ['top'] : [])];
    const of = seq === undefined ? '' : ` data-seq="${seq}"`;
    const time = step.kind === 'rows' || step.kind === 'result' || step.kind === 'body' ? '' : clock(step.atMicros);
    return `<li class="${classes.join(' ')}" data-kind="${step.kind}" data-at="${step.atMicros}"${of}${more}><time>${time}</time><div>${body}</div></li>\n`;
  }

  function render(step: ReplayStep): string {
    switch (step.kind) {
      case 'opened':
        return item(step, facts([tag('', 'session opened'), ...openedWords(step)]));
      case 'authenticated': {
        const groups = step.groups.length === 0 ? undefined : `groups ${step.groups.join(', ')}`;
        return item(step, facts([tag('good', 'authenticated'), step.method, groups]));
      }
      case 'refused':
        return item(step, facts([tag('bad', 'session refused'), step.code, step.message]));
      case 'prepared':
        return item(step, facts([tag('', 'prepared'), ...decided(step)]) + statement(step));
      case 'command': {
        if (step.program !== undefined) {
          const head = facts([tag('', `#${step.seq}`), ...programWords(step.program), ...decided(step)]);
          return item(step, head + written(step), step.seq);
        }
        if (step.exchange !== undefined) {
          const lines = [...clientWords(step.exchange.details), ...headerLines(step.exchange.headers)];
          const fields = lines.map(quiet).join('');
          const head = facts([tag('', `#${step.seq}`), ...exchangeWords(step.exchange), ...decided(step)]);
          return item(step, head + written(step) + fields, step.seq);
        }
        const values = step.parameters.length === 0 ? '' : quiet(parameterWords(step.parameters));
        return item(step, facts([tag('', `#${step.seq}`), ...decided(step)]) + statement(step) + values, step.seq);
      }
      case 'denied': {
        const rules = step.rules.length === 0 ? undefined : `rule ${step.rules.join(', ')}`;
        return item(step, facts([tag('bad', 'denied'), step.denied, step.message, rules, step.code]), step.seq);
      }
      case 'held': {
        const needs = `needs ${requirementWords(step.requirements) || 'an approval'}`;
        return item(step, facts([tag('held', 'held'), step.request, needs]), step.seq);
      }
      case 'released': {
        const votes = step.votes.map((vote) => quiet(voteWords(vote))).join('');
        return item(step, facts([tag('held', releasedWord(step.state)), step.request, step.state]) + votes, step.seq);
      }
      case 'rows': {
        if (step.first) shownRows = 0;
        const rows = step.rows.slice(0, Math.max(0, mostRows - shownRows));
        shownRows += rows.length;
        return rows.length === 0 ? '' : item(step, tableOf(step.columns, rows), step.seq);
      }
      case 'result': {
        const notes = resultWords(step.result, shownRows);
        shownRows = 0;
        return notes.length === 0 ? '' : item(step, notes.map(quiet).join(''), step.seq);
      }
      case 'body': {
        if (step.first) shownBody = 0;
        const lines = bodyLines(step, shownBody, mostRows);
        shownBody += lines.length;
        const notes = bodyNotes(step, mostRows).map(quiet).join('');
        const body = lines.length === 0 ? '' : `<pre>${lines.map(escaped).join('\n')}</pre>`;
        return body === '' && notes === '' ? '' : item(step, body + notes, step.seq);
      }
      case 'output': {
        const lines = printed.add(step.seq, step.code, step.data);
        return lines.length === 0 ? '' : item(step, outputOf(lines), step.seq);
      }
      case 'file':
        return item(
          step,
          facts([tag('', `#${step.seq}`), fileWords(step.operation, step.accesses), step.detail, ...decided(step)]),
          step.seq,
        );
      case 'file-denied': {
        const rules = step.rules.length === 0 ? undefined : `rule ${step.rules.join(', ')}`;
        const what = fileWords(step.operation, step.accesses);
        return item(step, facts([tag('bad', 'denied'), what, step.message, rules, step.code]), step.seq);
      }
      case 'file-closed': {
        const masked = Object.keys(step.masked).length === 0 ? '' : ' data-masked';
        return item(step, facts(['closed', ...fileEndWords(step), maskedWords(step.masked)]), step.seq, masked);
      }
      case 'executed': {
        const masked = Object.keys(step.masked).length === 0 ? '' : ' data-masked';
        const end = facts([
          tag('good', 'executed'),
          ...endWords(step),
          ...exchangeEndWords(step),
          ...outcomeWords(step),
        ]);
        return item(step, outputEnd(step.seq, step) + end, step.seq, masked);
      }
      case 'failed':
        return item(
          step,
          outputEnd(step.seq, step) +
            facts([
              tag('bad', 'failed'),
              step.code,
              ...endWords(step),
              ...exchangeEndWords(step),
              ...outcomeWords(step),
            ]),
          step.seq,
        );
      case 'credential':
        return item(step, facts([`credential ${step.action}`, step.type, step.username, step.reference]));
      case 'ended': {
        const counts =
          step.commands === undefined ? undefined : `${step.commands} commands, ${step.denied ?? 0} denied`;
        const what = step.interrupted ? tag('bad', 'session interrupted') : tag('', 'session ended');
        return item(step, facts([what, step.reason, step.code, counts]));
      }
      case 'other':
        return item(step, facts([step.event]));
      default:
        return step satisfies never;
    }
  }

  function outputEnd(seq: number, outcome: StepOutcome): string {
    const lines = printed.end(seq);
    return (lines.length === 0 ? '' : outputOf(lines)) + unrecordedWords(outcome).map(quiet).join('');
  }

  return {
    head,
    step: render,
    tail: () => `</ol></main>\n<script>${PAGE_SCRIPT}</script>\n</body>\n</html>\n`,
  };
}

/** Markup of ours, as opposed to text. */
interface Markup {
  readonly html: string;
}

function tag(look: '' | 'good' | 'bad' | 'held', text: string): Markup {
  return { html: `<span class="tag ${look}">${escaped(text)}</span>` };
}

function facts(parts: readonly (string | Markup | undefined)[]): string {
  const shown = parts.flatMap((part) => {
    if (part === undefined || part === '') return [];
    return [typeof part === 'string' ? `<span>${escaped(part)}</span>` : part.html];
  });
  return `<div class="facts">${shown.join('')}</div>`;
}

const quiet = (text: string): string => `<div class="quiet">${escaped(text)}</div>`;

function decided({ verdict, observed, rules, masks }: DecidedText): (string | Markup | undefined)[] {
  const look = verdict === 'Allow' ? 'good' : verdict === 'RequireApproval' ? 'held' : 'bad';
  return [
    tag(look, verdict ?? 'not decided'),
    observed === undefined ? undefined : tag('held', `Observe; in Enforce: ${observed}`),
    ruleWords(rules),
    masks.length === 0 ? undefined : { html: `<span class="mask">${escaped(`masks ${masks.join(', ')}`)}</span>` },
  ];
}

function statement({ text }: DecidedText): string {
  if (text === undefined) return quiet('The text is not recorded.');
  const lines = layOut(text).map((line) =>
    line
      .map(({ type, text: piece }) => {
        const shown = escaped(piece.replaceAll('\t', '    '));
        return type === 'plain' ? shown : `<span class="${type}">${shown}</span>`;
      })
      .join(''),
  );
  return `<pre>${lines.join('\n')}</pre>`;
}

/** Lines are escaped already for a terminal; here they are text of a page. */
function outputOf(lines: readonly OutputLine[]): string {
  return `<pre>${lines.map(({ text }) => escaped(text)).join('\n')}</pre>`;
}

/** What is no SQL stays as it was written. */
function written({ text }: DecidedText): string {
  if (text === undefined) return quiet('The text is not recorded.');
  return `<pre>${text.split('\n').map(escaped).join('\n')}</pre>`;
}

function tableOf(columns: readonly string[], rows: readonly (readonly (string | null)[])[]): string {
  const right = columns.map((_, index) => rows.every((row) => /^-?\d+(\.\d+)?$/.test(row[index] ?? '0')));
  const names = columns.map((name) => `<th>${escaped(name)}</th>`).join('');
  const body = rows.map((row) => {
    const cells = row.map((value, index) => {
      if (value === null) return `<td class="null">${NULL_MARK}</td>`;
      const shown = value.length > CELL_CHARACTERS ? `${value.slice(0, CELL_CHARACTERS)}…` : value;
      return `<td${right[index] ? ' class="n"' : ''}>${escaped(shown)}</td>`;
    });
    return `<tr>${cells.join('')}</tr>`;
  });
  return `<div class="scroll"><table><thead><tr>${names}</tr></thead><tbody>${body.join('')}</tbody></table></div>`;
}

function escapedAttribute(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('"', '&quot;');
}
