import { eventType, parseEvent, type RecordedEvent } from './format.ts';
import { readLines } from './lines.ts';
import { ownerIsAlive, parseOwner, type SegmentOwner } from './owner.ts';
import { isMissing, listSegments, type SegmentFilter, type SegmentPath, streamKey } from './segment.ts';

export type SessionState =
  /** Its process runs and it has no end yet. */
  | 'running'
  | 'ended'
  /** Its process died; the next start said so. */
  | 'interrupted'
  /** Its process died and nothing has said so yet. */
  | 'lost'
  /** It never came to be: not authenticated, or not allowed. */
  | 'refused';

/** One session as the record tells it. Members that no event gave are absent. */
export interface SessionSummary {
  readonly session: string;
  /** `NAMESPACE/NAME`. */
  readonly connection: string;
  readonly who?: string;
  readonly onBehalfOf?: string;
  readonly client?: string;
  readonly application?: string;
  readonly database?: string;
  /** RFC 3339. */
  readonly start: string;
  readonly end?: string;
  readonly durationMs?: number;
  readonly commands: number;
  readonly denied: number;
  readonly failed: number;
  readonly state: SessionState;
  /** Why it ended or was refused. */
  readonly reason?: string;
}

export interface SessionFilter extends SegmentFilter {
  /** This one alone: lines of others are passed over undecoded. */
  readonly session?: string;
  /** User name of the subject, or the person behind it. */
  readonly who?: string;
  /** Started at this time or later. */
  readonly since?: Date;
  /** At least one command was denied, or the session was refused. */
  readonly denied?: boolean;
}

export interface ReadOptions {
  readonly isAlive?: (owner: SegmentOwner) => boolean;
  readonly signal?: AbortSignal;
}

type Draft = { -readonly [K in keyof SessionSummary]: SessionSummary[K] };

/**
 * All sessions, each as soon as its end is known, the running ones of a stream at its end; not sorted. Segments are read as
 * streams: memory goes with the sessions that run at the same time, not with the size of the record.
 */
export async function* listSessions(
  root: string,
  filter: SessionFilter = {},
  options: ReadOptions = {},
): AsyncGenerator<SessionSummary> {
  const isAlive = options.isAlive ?? ownerIsAlive;
  const matches = (summary: SessionSummary) => passes(summary, filter);
  const open = new Map<string, Draft>();
  let key = '';
  let owner: SegmentOwner | undefined;
  for (const segment of await listSegments(root, filter)) {
    if (streamKey(segment) !== key) {
      yield* remaining(open, owner !== undefined && isAlive(owner)).filter(matches);
      open.clear();
      owner = undefined;
      key = streamKey(segment);
    }
    for await (const line of linesOf(segment, filter.session, options.signal)) {
      const head = line.toString('latin1', 0, 512);
      const type = eventType(head);
      if (type === undefined) continue;
      if (type === 'segment.start') owner = parseOwner(parseEvent(line.toString('utf8'))?.owner) ?? owner;
      const ended = note(open, type, head, line, segment);
      if (ended !== undefined && matches(ended)) yield ended;
    }
  }
  yield* remaining(open, owner !== undefined && isAlive(owner)).filter(matches);
}

/** Whole lines; with a session, the head of the segment and the lines that name it. */
async function* linesOf(
  segment: SegmentPath,
  session: string | undefined,
  signal: AbortSignal | undefined,
): AsyncGenerator<Buffer> {
  const options = signal === undefined ? {} : { signal };
  try {
    if (session === undefined) {
      for await (const line of readLines(segment.path, options)) if (line.whole) yield line.bytes;
      return;
    }
    for await (const head of readLines(segment.path, options)) {
      if (head.whole) yield head.bytes;
      break;
    }
    for await (const line of readLines(segment.path, { ...options, containing: naming(session) })) {
      if (line.whole && line.offset > 0) yield line.bytes;
    }
  } catch (error) {
    // Retention may remove a segment between the listing and the reading.
    if (!isMissing(error)) throw error;
  }
}

/** What every line of a session contains. In the text of a command, the quotes would be escaped. */
function naming(session: string): Buffer {
  return Buffer.from(`"session":${JSON.stringify(session)}`);
}

const SESSION = /"session":"([^"\\]+)"/;

/** Enters one event. Returns the session when this event ended it. */
function note(
  open: Map<string, Draft>,
  type: string,
  head: string,
  line: Buffer,
  segment: SegmentPath,
): SessionSummary | undefined {
  switch (type) {
    case 'command.received':
      return count(open, head, 'commands');
    case 'command.denied':
      return count(open, head, 'denied');
    case 'command.failed':
      return count(open, head, 'failed');
    case 'session.start':
    case 'session.authenticated':
    case 'session.end':
    case 'session.refused':
    case 'session.interrupted':
      break;
    default:
      return undefined;
  }
  const event = parseEvent(line.toString('utf8'));
  const session = event?.session;
  if (event === undefined || typeof session !== 'string') return undefined;
  const draft = open.get(session) ?? begin(session, event.t, segment);
  open.set(session, draft);
  describe(draft, event);
  const state = ending(type);
  if (state === undefined) return undefined;
  open.delete(session);
  return finish(draft, event, state);
}

function count(open: Map<string, Draft>, head: string, what: 'commands' | 'denied' | 'failed'): undefined {
  const draft = open.get(SESSION.exec(head)?.[1] ?? '');
  if (draft !== undefined) draft[what]++;
  return undefined;
}

function begin(session: string, start: string, segment: SegmentPath): Draft {
  const connection = `${segment.namespace}/${segment.name}`;
  return { session, connection, start, commands: 0, denied: 0, failed: 0, state: 'running' };
}

function describe(draft: Draft, event: RecordedEvent): void {
  const { who } = event;
  if (typeof who === 'object' && who !== null) {
    if ('username' in who && typeof who.username === 'string') draft.who = who.username;
    if ('onBehalfOf' in who && typeof who.onBehalfOf === 'string') draft.onBehalfOf = who.onBehalfOf;
  }
  if (typeof event.client === 'string') draft.client = event.client;
  if (typeof event.application === 'string') draft.application = event.application;
  if (typeof event.database === 'string') draft.database = event.database;
  const reason = event.reason ?? event.message;
  if (typeof reason === 'string') draft.reason = reason;
}

function ending(type: string): SessionState | undefined {
  switch (type) {
    case 'session.end':
      return 'ended';
    case 'session.refused':
      return 'refused';
    case 'session.interrupted':
      return 'interrupted';
    default:
      return undefined;
  }
}

function finish(draft: Draft, event: RecordedEvent, state: SessionState): SessionSummary {
  // A crash ends a session at its process's last sign of life, not when somebody came to look.
  const end = state === 'interrupted' && typeof event.lastEvent === 'string' ? event.lastEvent : event.t;
  return { ...draft, state, end, durationMs: Math.max(0, Date.parse(end) - Date.parse(draft.start)) };
}

function remaining(open: ReadonlyMap<string, Draft>, alive: boolean): SessionSummary[] {
  return [...open.values()].map((draft) => ({ ...draft, state: alive ? 'running' : 'lost' }));
}

function passes(summary: SessionSummary, filter: SessionFilter): boolean {
  if (filter.session !== undefined && filter.session !== summary.session) return false;
  if (filter.who !== undefined && filter.who !== summary.who && filter.who !== summary.onBehalfOf) return false;
  if (filter.since !== undefined && Date.parse(summary.start) < filter.since.getTime()) return false;
  return filter.denied !== true || summary.denied > 0 || summary.state === 'refused';
}

/** The events of one session in order, from every segment of its stream. Segments without it are passed over undecoded. */
export async function* sessionEvents(
  root: string,
  session: string,
  signal?: AbortSignal,
): AsyncGenerator<RecordedEvent> {
  const options = { containing: naming(session), ...(signal === undefined ? {} : { signal }) };
  let foundIn: string | undefined;
  for (const segment of await listSegments(root)) {
    if (foundIn !== undefined && streamKey(segment) !== foundIn) return;
    try {
      for await (const line of readLines(segment.path, options)) {
        const event = line.whole ? parseEvent(line.bytes.toString('utf8')) : undefined;
        if (event === undefined || event.session !== session) continue;
        foundIn = streamKey(segment);
        yield event;
        if (ending(event.e) !== undefined) return;
      }
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
  }
}
