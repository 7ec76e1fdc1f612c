import type { AskedCommand } from '../../record/replay/asked.ts';
import { CHANGES, type Change } from './compare.ts';
import type { Judged } from './judge.ts';

/** One recorded command as an example of a change. */
export interface Example {
  readonly session: string;
  readonly seq: number;
  readonly time: string;
  readonly who: string;
  readonly connection: string;
  readonly text: string;
  readonly denied?: string;
  readonly message?: string;
}

/** All commands that change in one way for one reason. */
export interface ChangeGroup {
  readonly change: Change;
  /** Names of rules, or words. */
  readonly because: string;
  readonly commands: number;
  readonly sessions: number;
  readonly subjects: number;
  /** `--accept` names it. */
  readonly accepted: boolean;
  readonly examples: readonly Example[];
}

export interface Summary {
  readonly commands: number;
  readonly judged: number;
  /** Commands with a change, each counted once. */
  readonly changed: number;
  readonly first?: string;
  readonly last?: string;
  /** By kind of change, then the most frequent first. */
  readonly groups: readonly ChangeGroup[];
  readonly unjudged: readonly { readonly reason: string; readonly commands: number }[];
}

export interface Tally {
  enter(asked: AskedCommand, judged: Judged): void;
  summary(): Summary;
}

/** A change, or one for one reason: `allow-to-deny`, `allow-to-deny=NAMESPACE/POLICY/RULE`. */
export interface Accepted {
  readonly change: Change;
  readonly because?: string;
}

interface Draft {
  readonly change: Change;
  readonly because: string;
  commands: number;
  readonly sessions: Set<string>;
  readonly subjects: Set<string>;
  readonly texts: Set<string>;
  readonly examples: Example[];
}

/** Of an example. */
const TEXT_CHARACTERS = 2_000;

/** Counts what was judged. @param most examples of each group, with different texts */
export function createTally(accepted: readonly Accepted[], most: number): Tally {
  const groups = new Map<string, Draft>();
  const unjudged = new Map<string, number>();
  let commands = 0;
  let judgedCount = 0;
  let changed = 0;
  let first: string | undefined;
  let last: string | undefined;

  function group(change: Change, because: string): Draft {
    const key = `${change}\n${because}`;
    let draft = groups.get(key);
    if (draft === undefined) {
      draft = {
        change,
        because,
        commands: 0,
        sessions: new Set(),
        subjects: new Set(),
        texts: new Set(),
        examples: [],
      };
      groups.set(key, draft);
    }
    return draft;
  }

  return {
    enter({ session, command }, judged) {
      commands++;
      if (first === undefined || command.time < first) first = command.time;
      if (last === undefined || command.time > last) last = command.time;
      if (judged.type === 'unjudged') {
        unjudged.set(judged.reason, (unjudged.get(judged.reason) ?? 0) + 1);
        return;
      }
      judgedCount++;
      if (judged.changes.length > 0) changed++;
      for (const { change, because, denied, message } of judged.changes) {
        const draft = group(change, because);
        const text = (command.text ?? '').slice(0, TEXT_CHARACTERS);
        draft.commands++;
        draft.sessions.add(session.session);
        draft.subjects.add(session.username ?? '');
        if (draft.examples.length >= most || draft.texts.has(text)) continue;
        draft.texts.add(text);
        draft.examples.push({
          session: session.session,
          seq: command.seq,
          time: command.time,
          who: session.username ?? '',
          connection: `${session.namespace}/${session.name}`,
          text,
          ...(denied === undefined ? {} : { denied }),
          ...(message === undefined ? {} : { message }),
        });
      }
    },
    summary: () => ({
      commands,
      judged: judgedCount,
      changed,
      ...(first === undefined ? {} : { first }),
      ...(last === undefined ? {} : { last }),
      groups: [...groups.values()]
        .map(({ change, because, commands: count, sessions, subjects, examples }) => ({
          change,
          because,
          commands: count,
          sessions: sessions.size,
          subjects: subjects.size,
          accepted: accepted.some((one) => one.change === change && (one.because ?? because) === because),
          examples,
        }))
        .sort(
          (a, b) =>
            CHANGES.indexOf(a.change) - CHANGES.indexOf(b.change) ||
            b.commands - a.commands ||
            compare(a.because, b.because),
        ),
      unjudged: [...unjudged]
        .map(([reason, count]) => ({ reason, commands: count }))
        .sort((a, b) => b.commands - a.commands || compare(a.reason, b.reason)),
    }),
  };
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
