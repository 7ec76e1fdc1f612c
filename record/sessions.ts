import { type CommandFilter, createCommandMatcher, hasCommandFilter } from './command-filter.ts';
import { parseEvent, type RecordedEvent } from './format.ts';
import { readLines } from './lines.ts';
import { ownerIsAlive, parseOwner, type SegmentOwner } from './owner.ts';
import { type LineVisitor, lineHead, lineType, scanLines } from './scan.ts';
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
  readonly protocol?: string;
  /** Login user at the target, where the client names one. */
  readonly user?: string;
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

export interface SessionFilter extends SegmentFilter, CommandFilter {
  /** This one alone: lines of others are passed over undecoded. */
  readonly session?: string;
  /** User name of the subject, or the person behind it. */
  readonly who?: string;
  /** Started at this time or later. */
  readonly since?: Date;
  /** Started before this time. */
  readonly until?: Date;
  /** Of sessions of this protocol, as `AccessConnection.spec.protocol` has it. */
  readonly protocol?: string;
  /** At least one command was denied, or the session was refused. */
  readonly denied?: boolean;
}

export interface ReadOptions {
  readonly isAlive?: (owner: SegmentOwner) => boolean;
  readonly signal?: AbortSignal;
}

/**
 * All sessions, each once its segment is read, the running ones of a stream at its end; not sorted. Segments are read as
 * streams: memory goes with the sessions that end in one segment, not with the size of the record. Lines that say nothing of a
 * session as a whole are passed over by their first bytes.
 */
export async function* listSessions(
  root: string,
  filter: SessionFilter = {},
  options: ReadOptions = {},
): AsyncGenerator<SessionSummary> {
  const isAlive = options.isAlive ?? ownerIsAlive;
  const matcher = hasCommandFilter(filter) ? createCommandMatcher(filter) : undefined;
  const open = new Map<string, Draft>();
  const found: SessionSummary[] = [];
  let key = '';
  let owner: SegmentOwner | undefined;

  function give(summary: SessionSummary, matched: boolean): void {
    if ((matcher === undefined || matched) && passes(summary, filter)) found.push(summary);
  }

  function visit(segment: SegmentPath, block: Buffer, start: number, end: number): void {
    const type = lineType(block, start, end);
    if (type === undefined || (type === 'command.executed' && matcher === undefined)) return;
    if (type === 'segment.start') {
      owner = parseOwner(parseEvent(block.toString('utf8', start, end))?.['owner']) ?? owner;
      return;
    }
    const head = lineHead(block, start, end, type);
    if (head === undefined) return;
    const { session } = head;
    if (filter.session !== undefined && session !== filter.session) return;
    const draft = open.get(session);
    if (draft !== undefined) count(draft, head.type);
    if (matcher?.enter(head, block, start, end) === true && draft !== undefined) draft.matched = true;
    if (!OF_SESSIONS.has(head.type)) return;
    // It says who once more.
    if (head.type === 'session.authenticated' && draft?.summary.who !== undefined) return;
    const event = parseEvent(block.toString('utf8', start, end));
    if (event === undefined) return;
    const entered = draft ?? begin(session, event.t, segment);
    open.set(session, entered);
    describe(entered.summary, event);
    const state = ending(event.e);
    if (state === undefined) return;
    open.delete(session);
    const matched = matcher?.ended(session) === true || entered.matched;
    give(finish(entered.summary, event, state), matched);
  }

  function endStream(): void {
    const state = owner !== undefined && isAlive(owner) ? 'running' : 'lost';
    for (const [session, { summary, matched }] of open)
      give({ ...summary, state }, matcher?.ended(session) === true || matched);
    open.clear();
    owner = undefined;
  }

  for (const segment of await listSegments(root, filter)) {
    if (streamKey(segment) !== key) {
      endStream();
      key = streamKey(segment);
    }
    await readSegment(segment, filter.session, options.signal, (block, start, end) =>
      visit(segment, block, start, end),
    );
    yield* found.splice(0);
  }
  endStream();
  yield* found;
}

const OF_SESSIONS: ReadonlySet<string> = new Set([
  'session.start',
  'session.authenticated',
  'session.end',
  'session.refused',
  'session.interrupted',
]);

/** A session that is not over, as far as it was read. */
interface Draft {
  readonly summary: { -readonly [K in keyof SessionSummary]: SessionSummary[K] };
  /** A command of it meets the filter. */
  matched: boolean;
}

/** Whole lines; with a session, the head of the segment and the lines that name it. */
async function readSegment(
  segment: SegmentPath,
  session: string | undefined,
  signal: AbortSignal | undefined,
  visit: LineVisitor,
): Promise<void> {
  try {
    if (session === undefined) {
      await scanLines(segment.path, visit, signal);
      return;
    }
    const options = signal === undefined ? {} : { signal };
    for await (const { bytes, whole } of readLines(segment.path, options)) {
      if (whole) visit(bytes, 0, bytes.length);
      break;
    }
    const naming = { ...options, containing: namingBytes(session) };
    for await (const { bytes, whole, offset } of readLines(segment.path, naming)) {
      if (whole && offset > 0) visit(bytes, 0, bytes.length);
    }
  } catch (error) {
    // Retention may remove a segment between the listing and the reading.
    if (!isMissing(error)) throw error;
  }
}

/** What every line of a session contains. In the text of a command, the quotes would be escaped. */
function namingBytes(session: string): Buffer {
  return Buffer.from(`"session":${JSON.stringify(session)}`);
}

function count({ summary }: Draft, type: string): void {
  if (type === 'command.received' || type === 'file.operation') summary.commands++;
  else if (type === 'command.denied') summary.denied++;
  else if (type === 'file.denied') {
    summary.commands++;
    summary.denied++;
  } else if (type === 'command.failed') summary.failed++;
}

function begin(session: string, start: string, segment: SegmentPath): Draft {
  const connection = `${segment.namespace}/${segment.name}`;
  const summary = { session, connection, start, commands: 0, denied: 0, failed: 0, state: 'running' } as const;
  return { summary: { ...summary }, matched: false };
}

function describe(draft: Draft['summary'], event: RecordedEvent): void {
  const { who } = event;
  if (typeof who === 'object' && who !== null) {
    if ('username' in who && typeof who.username === 'string') draft.who = who.username;
    if ('onBehalfOf' in who && typeof who.onBehalfOf === 'string') draft.onBehalfOf = who.onBehalfOf;
  }
  if (typeof event.client === 'string') draft.client = event.client;
  if (typeof event.application === 'string') draft.application = event.application;
  if (typeof event.database === 'string') draft.database = event.database;
  if (typeof event.protocol === 'string') draft.protocol = event.protocol;
  if (typeof event.user === 'string') draft.user = event.user;
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

function finish(draft: SessionSummary, event: RecordedEvent, state: SessionState): SessionSummary {
  // A crash ends a session at its process's last sign of life, not when somebody came to look.
  const end = state === 'interrupted' && typeof event.lastEvent === 'string' ? event.lastEvent : event.t;
  return { ...draft, state, end, durationMs: Math.max(0, Date.parse(end) - Date.parse(draft.start)) };
}

function passes(summary: SessionSummary, filter: SessionFilter): boolean {
  if (filter.session !== undefined && filter.session !== summary.session) return false;
  if (filter.who !== undefined && filter.who !== summary.who && filter.who !== summary.onBehalfOf) return false;
  if (filter.protocol !== undefined && filter.protocol !== summary.protocol) return false;
  if (filter.since !== undefined && Date.parse(summary.start) < filter.since.getTime()) return false;
  if (filter.until !== undefined && Date.parse(summary.start) >= filter.until.getTime()) return false;
  return filter.denied !== true || summary.denied > 0 || summary.state === 'refused';
}

/** The events of one session in order, from every segment of its stream. Segments without it are passed over undecoded. */
export async function* sessionEvents(
  root: string,
  session: string,
  signal?: AbortSignal,
  filter: SegmentFilter = {},
): AsyncGenerator<RecordedEvent> {
  const options = { containing: namingBytes(session), ...(signal === undefined ? {} : { signal }) };
  let foundIn: string | undefined;
  for (const segment of await listSegments(root, filter)) {
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
