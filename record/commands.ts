import type { RecordedEvent } from './format.ts';

/** One command as the record tells it, from the events that share its session and number. Members that no event gave are absent. */
export interface CommandView {
  readonly session: string;
  readonly seq: number;
  /** When it was received, RFC 3339. */
  readonly time: string;
  readonly text?: string;
  readonly parameters?: unknown;
  readonly verdict?: string;
  readonly observed?: string;
  /** `NAMESPACE/POLICY/RULE@GENERATION`. */
  readonly rules?: readonly string[];
  readonly masks?: readonly string[];
  readonly limits?: unknown;
  /** `unknown`: nothing is recorded of what became of it: it runs, or a crash came between. */
  readonly outcome: 'executed' | 'failed' | 'denied' | 'held' | 'unknown';
  readonly rows?: number;
  readonly bytes?: number;
  readonly durationMicros?: number;
  /** Values replaced, by rule or detector. */
  readonly masked?: Readonly<Record<string, number>>;
  readonly sqlstate?: string;
  readonly code?: string;
  readonly denied?: string;
  readonly message?: string;
}

type Draft = { -readonly [K in keyof CommandView]: CommandView[K] };

export interface CommandViews {
  /** Enters one event. Returns the command when this event says what became of it. */
  enter(event: RecordedEvent): CommandView | undefined;
  /** Commands of which no event says what became of them. */
  open(): CommandView[];
  /** Drops what a session that is over left open. */
  forget(session: string): void;
}

/** Joins events to commands. Holds the commands in flight only. */
export function createCommandViews(): CommandViews {
  const open = new Map<string, Draft>();
  return {
    enter(event) {
      const { session, seq } = event;
      if (typeof session !== 'string' || typeof seq !== 'number') return undefined;
      const key = `${session} ${seq}`;
      const outcome = outcomeOf(event.e);
      if (outcome === undefined && event.e !== 'command.received') return undefined;
      const draft: Draft = open.get(key) ?? { session, seq, time: event.t, outcome: 'unknown' };
      open.set(key, draft);
      describe(draft, event);
      if (outcome !== undefined) draft.outcome = outcome;
      if (outcome === undefined || outcome === 'held' || outcome === 'unknown') return undefined;
      open.delete(key);
      return draft;
    },
    open: () => [...open.values()],
    forget(session) {
      for (const [key, draft] of open) if (draft.session === session) open.delete(key);
    },
  };
}

function outcomeOf(type: string): CommandView['outcome'] | undefined {
  switch (type) {
    case 'command.executed':
      return 'executed';
    case 'command.failed':
      return 'failed';
    case 'command.denied':
      return 'denied';
    case 'command.held':
      return 'held';
    case 'command.released':
      return 'unknown';
    default:
      return undefined;
  }
}

function describe(draft: Draft, event: RecordedEvent): void {
  const { text, parameters, limits, verdict, observed, rules, masks, rows, bytes, us, masked } = event;
  const { sqlstate, code, denied, message } = event;
  if (typeof text === 'string') draft.text = text;
  if (parameters !== undefined) draft.parameters = parameters;
  if (limits !== undefined) draft.limits = limits;
  if (typeof verdict === 'string') draft.verdict = verdict;
  if (typeof observed === 'string') draft.observed = observed;
  if (isStrings(rules)) draft.rules = rules;
  if (isStrings(masks)) draft.masks = masks;
  if (typeof rows === 'number') draft.rows = rows;
  if (typeof bytes === 'number') draft.bytes = bytes;
  if (typeof us === 'number') draft.durationMicros = us;
  if (isCounts(masked)) draft.masked = masked;
  if (typeof sqlstate === 'string') draft.sqlstate = sqlstate;
  if (typeof code === 'string') draft.code = code;
  if (typeof denied === 'string') draft.denied = denied;
  if (typeof message === 'string') draft.message = message;
}

function isStrings(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}

function isCounts(value: unknown): value is Readonly<Record<string, number>> {
  return (
    typeof value === 'object' && value !== null && Object.values(value).every((count) => typeof count === 'number')
  );
}
