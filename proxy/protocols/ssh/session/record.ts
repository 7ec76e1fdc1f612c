import type { CompiledConnection } from '../../../../policy/bundle.ts';
import type { ApprovalRequirement } from '../../../../policy/decision.ts';
import {
  type AuditLevel,
  commandDenied,
  commandHeld,
  commandReceived,
  commandReleased,
  type Release,
  sessionFragment,
  textFragment,
} from '../../../../record/events.ts';
import type { RecordEventType, RecordStream } from '../../../../record/port.ts';
import {
  type SshOutcome,
  type SshReceived,
  sshFragment,
  sshOutcome,
  sshOutcomeType,
} from '../../../../record/ssh-events.ts';
import type { ApprovalTicket } from '../../../ports.ts';
import type { SshReport } from '../errors.ts';
import type { Verdict } from './verdict.ts';

/** Writes one session's events. */
export interface SessionRecord {
  readonly stream: RecordStream;
  /** `"session":"ID"`. */
  readonly session: string;
  readonly level: AuditLevel;
  readonly denials: number;
  event(type: RecordEventType, members: string): void;
  received(seq: number, verdict: Verdict, facts: SshReceived): void;
  /** @param received it is in the record already, since it was held */
  denied(
    seq: number,
    text: string,
    verdict: Verdict | undefined,
    facts: SshReceived,
    report: SshReport,
    received: boolean,
  ): void;
  /** @param members those of `file.denied` */
  fileDenied(members: string): void;
  held(seq: number, ticket: ApprovalTicket, asked: readonly ApprovalRequirement[]): void;
  released(
    seq: number,
    ticket: ApprovalTicket,
    release: Release & { readonly state: string; readonly members: string },
  ): void;
  /** @param members more of the outcome, beginning with a comma */
  ended(seq: number, outcome: SshOutcome, members?: string): void;
}

/** A command is recorded as it is written: which of its words are secrets cannot be known. */
const asWritten = (text: string): string => text;

export function createSessionRecord(
  stream: RecordStream,
  id: string,
  { level }: CompiledConnection['audit'],
): SessionRecord {
  const session = sessionFragment(id);
  let denials = 0;
  return {
    stream,
    session,
    level,
    get denials() {
      return denials;
    },
    event: (type, members) => void stream.append(type, members),
    received(seq, { command, recordMembers }, facts) {
      const shown = textFragment(command.text, level, asWritten) + recordMembers + sshFragment(facts, level);
      stream.append('command.received', commandReceived(session, seq, shown));
    },
    denied(seq, text, verdict, facts, { code, message }, received) {
      denials++;
      if (!received) {
        const shown = textFragment(text, level, asWritten) + (verdict?.recordMembers ?? '') + sshFragment(facts, level);
        stream.append('command.received', commandReceived(session, seq, shown));
      }
      const rules = verdict?.decision.verdict === 'Allow' ? [] : (verdict?.decision.rules ?? []);
      // The message quotes what was asked for.
      const said = level === 'Metadata' ? { code, rules } : { code, message, rules };
      stream.append('command.denied', commandDenied(session, seq, said));
    },
    fileDenied(members) {
      denials++;
      stream.append('file.denied', members);
    },
    held(seq, { name, hash }, asked) {
      stream.append('command.held', commandHeld(session, seq, name, asked, hash));
    },
    released(seq, { name, hash }, { state, members, ...release }) {
      stream.append('command.released', commandReleased(session, seq, name, state, { hash, ...release }) + members);
    },
    ended(seq, outcome, members = '') {
      stream.append(sshOutcomeType(outcome), sshOutcome(session, seq, outcome) + members);
    },
  };
}
