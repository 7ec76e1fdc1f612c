import type { RecordedEvent } from './format.ts';
import { fileFacts } from './replay/program-steps.ts';

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
  /** Of a command that is no statement: `Exec`, `Shell`, `LocalForward`, `open`, `remove`, … */
  readonly operation?: string;
  /** As whom it ran at the target. */
  readonly user?: string;
  /** Number of the channel that it ran on, in its connection. */
  readonly channel?: number;
  readonly argv?: unknown;
  /** Exit status of a program. */
  readonly exit?: number;
  /** The signal that ended it. */
  readonly signal?: string;
  /** Files, and what was done with them. */
  readonly accesses?: readonly { readonly access: string; readonly path?: string }[];
  /** Of an operation on files that the target refused: SFTP's status code. */
  readonly status?: number;
  readonly bytesRead?: number;
  readonly bytesWritten?: number;
  /** Of a request over HTTP; `status` is then that of the answer. */
  readonly method?: string;
  readonly host?: string;
  /** Path and query. */
  readonly target?: string;
  readonly requestBytes?: number;
  /** What the lane knew of it besides. */
  readonly details?: unknown;
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

/** A client of SFTP asks for this much at a time, at most. */
const MOST_PASSED = 1024;

/** Joins events to commands. Holds the commands in flight only. */
export function createCommandViews(): CommandViews {
  const open = new Map<string, Draft>();
  /** Operations on files that went on lately: those that are answered at once. */
  const passed = new Map<string, Draft>();

  /** A file that is opened is told of once it is closed, with what went to and fro; everything else at once. */
  function enterFile(event: RecordedEvent, key: string): CommandView | undefined {
    const { session, seq } = event;
    if (typeof session !== 'string' || typeof seq !== 'number') return undefined;
    const begun = open.get(key) ?? passed.get(key);
    const draft: Draft = { ...(begun ?? { session, seq, time: event.t, outcome: 'unknown' }) };
    describe(draft, event);
    open.delete(key);
    passed.delete(key);
    if (event.e === 'file.denied') return { ...draft, outcome: 'denied' };
    const { status, operation } = draft;
    if (event.e === 'file.closed')
      return { ...draft, outcome: status === undefined || status <= 1 ? 'executed' : 'failed' };
    if (operation === 'open') {
      open.set(key, draft);
      return undefined;
    }
    // That the target refused it comes behind, and names only its number.
    passed.set(key, draft);
    for (const oldest of passed.keys()) if (passed.size <= MOST_PASSED || !passed.delete(oldest)) break;
    return { ...draft, outcome: 'executed' };
  }

  return {
    enter(event) {
      const { session, seq } = event;
      if (typeof session !== 'string' || typeof seq !== 'number') return undefined;
      const key = `${session} ${seq}`;
      if (event.e.startsWith('file.')) return enterFile(event, key);
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

/** Commands that ended before an earlier one are kept so long, and no longer than there are so many of them. */
const MOST_KEPT = 10_000;

/**
 * Puts commands of one session in the order in which they were asked for; views give them in the order in which they end.
 * @param print gets each command once, as soon as all before it have ended
 */
export function inOrderOfSeq(views: CommandViews, print: (command: CommandView) => void) {
  const kept: CommandView[] = [];
  const release = (before: number): void => {
    kept.sort((a, b) => a.seq - b.seq);
    for (let next = kept[0]; next !== undefined && (next.seq < before || kept.length > MOST_KEPT); next = kept[0]) {
      kept.shift();
      print(next);
    }
  };
  return {
    enter(event: RecordedEvent): void {
      const command = views.enter(event);
      if (command === undefined) return;
      kept.push(command);
      release(Math.min(...views.open().map(({ seq }) => seq)));
    },
    /** The record has no more. */
    end(): void {
      kept.push(...views.open());
      release(Number.POSITIVE_INFINITY);
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
  describeProgram(draft, event);
  describeExchange(draft, event);
}

function describeProgram(draft: Draft, event: RecordedEvent): void {
  const { operation, user, channel, argv, exit, signal, accesses, status, bytesRead, bytesWritten } = event;
  if (typeof operation === 'string') draft.operation = operation;
  if (typeof user === 'string') draft.user = user;
  if (typeof channel === 'number') draft.channel = channel;
  if (argv !== undefined) draft.argv = argv;
  if (typeof exit === 'number') draft.exit = exit;
  if (typeof signal === 'string') draft.signal = signal;
  if (accesses !== undefined) draft.accesses = fileFacts(event).accesses;
  if (typeof status === 'number') draft.status = status;
  if (typeof bytesRead === 'number') draft.bytesRead = bytesRead;
  if (typeof bytesWritten === 'number') draft.bytesWritten = bytesWritten;
}

function describeExchange(draft: Draft, event: RecordedEvent): void {
  const { method, host, target, requestBytes, details } = event;
  if (typeof method === 'string') draft.method = method;
  if (typeof host === 'string') draft.host = host;
  if (typeof target === 'string') draft.target = target;
  if (typeof requestBytes === 'number') draft.requestBytes = requestBytes;
  if (details !== undefined) draft.details = joined(draft.details, details);
}

/** What is known at the end besides what was known at the beginning: of a field that both have, the later one. */
function joined(former: unknown, later: unknown): unknown {
  if (!isObject(former) || !isObject(later)) return later;
  const both = Object.entries(later).map(([name, value]) => [name, joined(former[name], value)] as const);
  return { ...former, ...Object.fromEntries(both) };
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isStrings(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}

function isCounts(value: unknown): value is Readonly<Record<string, number>> {
  return (
    typeof value === 'object' && value !== null && Object.values(value).every((count) => typeof count === 'number')
  );
}
