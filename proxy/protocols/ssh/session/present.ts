import { createHash } from 'node:crypto';
import type { ContentDetectors } from '../../../masking/detectors.ts';
import type { Presentation } from '../../../ports.ts';
import { effectsOf, type Verdict } from './verdict.ts';

/** Longest command that is shown to approvers, in bytes. */
export const MOST_SHOWN = 65_536;
const SUMMARY = 120;

/** What changes what a command does, besides its text. */
export interface CommandSettings {
  readonly environment: ReadonlyMap<string, string>;
  /** `TERM` of a pseudo-terminal. */
  readonly terminal: string | undefined;
}

/** As the hash of an approval covers them: each by its name. */
export function settingsOf({ environment, terminal }: CommandSettings): Readonly<Record<string, string>> {
  const named = [...environment].map(([name, value]) => [`env.${name}`, value] as const);
  return Object.fromEntries(terminal === undefined ? named : [...named, ['terminal', terminal] as const]);
}

/** What an approver reads: the line as the target's shell will get it, who runs it, and with what around it. */
export function present(
  verdict: Verdict,
  settings: CommandSettings,
  content: ContentDetectors | undefined,
): Presentation {
  const redactions = new Set<string>();
  const hidden = (text: string): string => content?.maskText(text, (name) => redactions.add(name)) ?? text;
  const { text, loginUser } = verdict.command;
  // In front, so that no text can pass itself off as one of these lines.
  const around = Object.entries(settingsOf(settings)).map(
    ([name, value]) => `# ${name}=${JSON.stringify(hidden(value))}`,
  );
  const command = hidden(text);
  return {
    summary: [...(command.split('\n', 1)[0] ?? '')].slice(0, SUMMARY).join(''),
    display: [`# as user ${loginUser}`, ...around, '', command].join('\n'),
    redactions: [...redactions].sort(),
    effects: effectsOf(verdict, hidden),
    preview: { cascades: [], unavailable: 'what a command does on a host cannot be estimated without running it' },
  };
}

/** For `reuseFor`: the same command again. It has no values apart from its text. */
export function fingerprintOf({ command, decision }: Verdict): string | undefined {
  if (decision.reuse === 'never') return undefined;
  return `sha256:${createHash('sha256').update(command.text).digest('hex')}`;
}
