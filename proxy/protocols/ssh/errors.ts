import { neutralise } from '../../../record/display.ts';
import type { GateRefusal } from '../../ports.ts';

/**
 * Errors of the SSH lane: one table. What a client reads is `sallyport: ` and these words on stderr, or in the goodbye of the connection;
 * code and session stand in the last line, so that a person can find the moment in the record. `{}` is filled by the place that raises it.
 */
export const SSH_ERRORS = {
  SPS001: { message: 'denied: {}', hint: '' },
  SPS002: { message: 'this needs approval: {}', hint: '' },
  SPS003: { message: 'the approval was not given: {}', hint: '' },
  SPS004: { message: 'this needs approval, which cannot be asked for: {}', hint: '' },
  SPS005: { message: 'more than {} commands in a minute', hint: 'Wait a minute, and send fewer commands.' },
  SPS006: { message: 'the session ends: {}', hint: 'Connect again.' },
  SPS007: {
    message: 'the record cannot be written, so no command is forwarded',
    hint: 'The platform team finds the cause in the log of Sallyport and on its state folder.',
  },
  SPS008: {
    message: 'the command has {} bytes, more than the limit',
    hint: 'Send a shorter command, or raise limits.maxStatementBytes in the configuration.',
  },
  SPS009: { message: 'the command is not valid UTF-8, or holds a NUL', hint: 'Send commands in UTF-8.' },
  SPS010: {
    message: 'it ran longer than {} s, the limit of this command',
    hint: 'Ask for less, or at another time.',
  },
  SPS011: {
    message: 'it returned more than {} bytes, the limit of this command',
    hint: 'Ask for less at a time.',
  },
  SPS012: {
    message: 'the command has {} bytes as an approver would read it, more than can be shown',
    hint: 'Nobody approves unseen: send less than 64 KiB.',
  },
  SPS013: { message: 'the client withdrew', hint: '' },
  SPS014: {
    message: 'there are {} sessions already, the limit here',
    hint: 'Close sessions, or try again later.',
  },
  SPS015: {
    message: '{} may not use this connection',
    hint: 'Ask the platform team for an AccessPolicy that names you.',
  },
  SPS016: { message: 'there is no connection at this address any more', hint: 'Ask the platform team.' },
  SPS017: {
    message: 'the session cannot be set up',
    hint: 'Try again; the platform team finds the cause in the log of Sallyport.',
  },
  SPS018: { message: 'the target closed the connection', hint: 'Connect again.' },
  SPS019: { message: 'the client did not sign in within {} s', hint: 'Send the token with the first attempt.' },
  SPS020: { message: 'none of the attempts to sign in was accepted', hint: 'Use a fresh token.' },
  SPS021: { message: 'protocol violation: {}', hint: 'Use an SSH client that speaks protocol 2.' },
  SPS022: { message: 'the client went away before it had signed in', hint: '' },
  SPS023: {
    message: '{} does not pass through Sallyport',
    hint: 'Run commands one by one: ssh HOST COMMAND.',
  },
  SPS024: {
    message: 'the user {} cannot be logged in as',
    hint: 'Ask the platform team which users your AccessPolicies and the AccessConnection name.',
  },
  SPS025: {
    message: 'the credential of this connection is good for one command, and it was used',
    hint: 'Connect again for the next command, or ask the platform team for a connection with scope Connection.',
  },
  SPS026: {
    message: 'the limit of this connection is reached: {}',
    hint: 'Connect again, and do less on one connection.',
  },
  SPS027: {
    message: 'the time of this shell is over: it was {} s',
    hint: 'Connect again for another one.',
  },
  SPS028: {
    message: 'the terminal showed {} bytes, the most that is recorded of one',
    hint: 'Connect again, and run what prints much as a command: ssh HOST COMMAND.',
  },
  SPS029: {
    message: 'denied: {}',
    hint: 'Run a command that prints text, or ask the platform team for an exception from the masking rule.',
  },
} as const;

export type SshErrorCode = keyof typeof SSH_ERRORS;

/** What a client is told, whoever says it: a code of ours, words, and what to do. */
export interface SshReport {
  readonly code: string;
  readonly message: string;
  /** Such as the rule that decided. */
  readonly detail?: string;
  readonly hint: string;
}

/** Fills a row of the table. `detail` and `hint` of the caller stand in place of the table's. */
export function sshError(
  code: SshErrorCode,
  fill: string | number = '',
  more: { readonly detail?: string; readonly hint?: string } = {},
): SshReport {
  const { message, hint } = SSH_ERRORS[code];
  const detail = more.detail === undefined ? {} : { detail: more.detail };
  return { code, message: message.replace('{}', () => String(fill)), hint: more.hint || hint, ...detail };
}

/** What the gate says, with the code of whoever denied. */
export function gateReport({ code, message, hint }: GateRefusal): SshReport {
  return { code, message, hint };
}

/** Why an identity ended before its time, as its sessions are told. */
export function withdrawnReport({ reason }: AbortSignal): SshReport {
  const { code, message, hint } = reason as Partial<GateRefusal>;
  if (typeof code !== 'string' || typeof message !== 'string') return sshError('SPS006', 'your identity was withdrawn');
  return { code, message: `the session ends: ${message}`, hint: hint ?? '' };
}

/** Ours are told as they are; of anything else only that it happened: its text may name what agents must not know. */
export function reportOf(error: Error): SshReport {
  if (error instanceof Refused) return error.report;
  const known = error as Error & { code?: unknown; hint?: unknown };
  if (typeof known.code !== 'string' || !/^SP[A-Z]\d{3}$/.test(known.code)) return sshError('SPS017');
  if (known.code.startsWith('SPR')) return { ...sshError('SPS007'), code: known.code };
  // A file that cannot be read is named in the log; its path is none of the agent's business.
  if (known.code === 'SPA001') return { ...sshError('SPS017'), code: known.code };
  return { code: known.code, message: error.message, hint: typeof known.hint === 'string' ? known.hint : '' };
}

/** A client that was identified but gets no session, and why. */
export class Refused extends Error {
  override readonly name = 'Refused';
  readonly code: string;
  readonly report: SshReport;
  constructor(report: SshReport, cause?: unknown) {
    super(report.message, cause === undefined ? undefined : { cause });
    this.code = report.code;
    this.report = report;
  }
}

/** Each line of a text for the client's stderr, with our name in front. Lines end with `\n`. */
export function words(...lines: readonly string[]): string {
  const text = lines.filter((line) => line !== '').join('\n');
  return text
    .split('\n')
    .map((line) => `sallyport: ${neutralise(line)}\n`)
    .join('');
}

/** The whole report as its client reads it: what, by which rule, what to do, and where to find it. */
export function reportText({ code, message, detail = '', hint }: SshReport, session: string): string {
  return words(message, detail, hint, `${code}, session ${session}`);
}

/** The same for a client that gets no session: of its first line alone, which is all that some clients show, one can go on. */
export function refusalText({ code, message, detail = '', hint }: SshReport, session: string): string {
  return words(`${message} (${code}, session ${session})`, detail, hint);
}

/** The same in one line, for the reason of a refused channel or of a goodbye. */
export function reportLine({ code, message, detail = '', hint }: SshReport, session: string): string {
  const parts = [message, detail, hint, `${code}, session ${session}`].filter((part) => part !== '');
  return `sallyport: ${neutralise(
    parts
      .map((part) => part.replace(/\.$/, ''))
      .join('. ')
      .replaceAll('\n', ' '),
  )}`;
}
