import { neutralise } from '../../record/display.ts';
import { painter } from '../commands/explain-format.ts';
import { junitXml, type ReportedCase } from '../commands/junit.ts';
import type { Change } from './compare.ts';
import type { ChangeGroup, Summary } from './summary.ts';

/** What changes, as a person reads it. */
const WORDS: Readonly<Record<Change, string>> = {
  'allow-to-deny': 'Allow → Deny',
  'allow-to-approval': 'Allow → RequireApproval',
  'deny-to-allow': 'Deny → Allow',
  'deny-to-approval': 'Deny → RequireApproval',
  'approval-to-allow': 'RequireApproval → Allow',
  'approval-to-deny': 'RequireApproval → Deny',
  'masks-added': 'masks added',
  'masks-removed': 'masks removed',
};

const EXAMPLE_CHARACTERS = 160;

const counted = (count: number, one: string): string => `${count} ${count === 1 ? one : `${one}s`}`;

/** @param notes what the reader has to know of how it was judged */
export function reportText(summary: Summary, notes: readonly string[], colours: boolean): string {
  const paint = painter(colours);
  const lines: string[] = [];
  const { judged, changed, first, last } = summary;
  const span = first === undefined || last === undefined ? '' : `, ${seconds(first)} to ${seconds(last)}`;
  lines.push(
    summary.commands === 0
      ? 'no recorded command is there to be decided again'
      : `${changed} of ${counted(judged, 'command')} would come out differently${span}`,
  );
  let heading: Change | undefined;
  for (const group of summary.groups) {
    if (group.change !== heading) lines.push('', WORDS[group.change]);
    heading = group.change;
    const { commands, sessions, subjects } = group;
    const numbers = `${counted(commands, 'command')}, ${counted(sessions, 'session')}, ${counted(subjects, 'subject')}`;
    const accepted = group.accepted ? ` ${paint.good('(accepted)')}` : '';
    lines.push(`  ${paintChange(group, neutralise(group.because), paint)}: ${numbers}${accepted}`);
    for (const example of group.examples) {
      const { who, session, seq, time, connection } = example;
      lines.push(`    ${seconds(time)}  ${neutralise(`${who} on ${connection}, ${session} #${seq}`)}`);
      lines.push(`      │ ${cut(neutralise(example.text))}`);
      const told = [example.denied, example.message].filter((part) => part !== undefined).join(': ');
      if (told !== '') lines.push(`      ${neutralise(told)}`);
    }
  }
  if (summary.unjudged.length > 0) {
    const total = summary.unjudged.reduce((sum, { commands }) => sum + commands, 0);
    lines.push('', `not judged: ${counted(total, 'command')}`);
    for (const { reason, commands } of summary.unjudged) lines.push(`  ${commands}: ${neutralise(reason)}`);
  }
  if (notes.length > 0) lines.push('', ...notes.map((note) => neutralise(note)));
  return `${lines.join('\n')}\n`;
}

function paintChange({ change }: ChangeGroup, text: string, paint: ReturnType<typeof painter>): string {
  switch (change) {
    case 'allow-to-deny':
    case 'approval-to-deny':
    case 'masks-removed':
      return paint.bad(text);
    case 'allow-to-approval':
    case 'deny-to-approval':
      return paint.held(text);
    case 'deny-to-allow':
    case 'approval-to-allow':
    case 'masks-added':
      return paint.good(text);
    default:
      return change satisfies never;
  }
}

const cut = (text: string): string =>
  text.length > EXAMPLE_CHARACTERS ? `${text.slice(0, EXAMPLE_CHARACTERS)}…` : text;

const seconds = (time: string): string => time.slice(0, 19).replace('T', ' ');

/** One test case for each change and reason; what is accepted passes, and so does everything that comes out the same. */
export function reportJunit(summary: Summary, file: string, durationMs: number): string {
  const same = summary.judged - summary.changed;
  const common = { suite: 'sallyport replay', file, line: 1, durationMs: 0 };
  const cases: ReportedCase[] = [
    { ...common, name: `${counted(same, 'command')} would come out the same`, durationMs },
    ...summary.groups.map((group) => {
      const [example] = group.examples;
      const what = `${WORDS[group.change]}: ${group.because}`;
      const such = example === undefined ? '' : `, such as ${neutralise(example.text)} of ${example.who}`;
      const failure = `${counted(group.commands, 'command')} of ${counted(group.subjects, 'subject')}${such}`;
      return { ...common, name: neutralise(what), ...(group.accepted ? {} : { failure }) };
    }),
  ];
  return junitXml(cases);
}
