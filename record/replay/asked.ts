import { type CommandView, createCommandViews } from '../commands.ts';
import { parseEvent, type RecordedEvent } from '../format.ts';
import { lineHead, lineType, scanLines } from '../scan.ts';
import { isMissing, listSegments, type SegmentFilter, streamKey } from '../segment.ts';

/** Who asked, from where and when, as far as the record says. */
export interface AskingSession {
  readonly session: string;
  readonly namespace: string;
  readonly name: string;
  /** RFC 3339. */
  readonly startedAt: string;
  readonly username?: string;
  readonly serviceAccount?: { readonly namespace: string; readonly name: string };
  readonly issuer?: string;
  readonly onBehalfOf?: string;
  /** Verified groups; absent when no `session.authenticated` was read. */
  readonly groups?: readonly string[];
  /** `ADDRESS:PORT`. */
  readonly client?: string;
  readonly application?: string;
}

/** A command that was recorded, with the session that sent it: what a back-test decides again. */
export interface AskedCommand {
  readonly session: AskingSession;
  readonly command: CommandView;
}

type Draft = { -readonly [K in keyof AskingSession]: AskingSession[K] };

/** Types that this reads; all others are passed over by their first bytes. */
const READ: ReadonlySet<string> = new Set([
  'session.start',
  'session.authenticated',
  'session.end',
  'session.interrupted',
  'command.received',
  'command.denied',
  'command.held',
  'command.released',
  'command.executed',
  'command.failed',
]);

/**
 * Calls back for every command of the record, of each session in the order in which they were over; those without an outcome at the end
 * of their session. Memory goes with what is in flight. @throws the system's error
 */
export async function forEachCommand(
  root: string,
  filter: SegmentFilter,
  take: (asked: AskedCommand) => void,
  signal?: AbortSignal,
): Promise<void> {
  const sessions = new Map<string, { readonly draft: Draft; readonly received: Set<number> }>();
  let views = createCommandViews();
  let key = '';

  function give(command: CommandView): void {
    const session = sessions.get(command.session);
    // Each statement of a string has an outcome of its own: the string was asked for once.
    if (session?.received.delete(command.seq) === true) take({ session: session.draft, command });
  }

  function endStream(): void {
    for (const command of views.open()) give(command);
    views = createCommandViews();
    sessions.clear();
  }

  for (const segment of await listSegments(root, filter)) {
    if (streamKey(segment) !== key) endStream();
    key = streamKey(segment);
    const { namespace, name } = segment;
    const visit = (block: Buffer, start: number, end: number): void => {
      const type = lineType(block, start, end);
      if (type === undefined || !READ.has(type)) return;
      const id = lineHead(block, start, end, type)?.session;
      const event = id === undefined ? undefined : parseEvent(block.toString('utf8', start, end));
      if (id === undefined || event === undefined) return;
      let session = sessions.get(id);
      if (session === undefined) {
        session = { draft: { session: id, namespace, name, startedAt: event.t }, received: new Set() };
        sessions.set(id, session);
      }
      if (type === 'session.start' || type === 'session.authenticated') describe(session.draft, event);
      if (type === 'command.received' && typeof event['seq'] === 'number') session.received.add(event['seq']);
      const command = views.enter(event);
      if (command !== undefined) give(command);
      if (type !== 'session.end' && type !== 'session.interrupted') return;
      for (const left of views.open()) if (left.session === id) give(left);
      views.forget(id);
      sessions.delete(id);
    };
    try {
      await scanLines(segment.path, visit, signal);
    } catch (error) {
      // Retention may remove a segment between the listing and the reading.
      if (!isMissing(error)) throw error;
    }
  }
  endStream();
}

function describe(session: Draft, event: RecordedEvent): void {
  const { who, groups, client, application } = event;
  if (typeof who === 'object' && who !== null) {
    if ('username' in who && typeof who.username === 'string') session.username = who.username;
    if ('issuer' in who && typeof who.issuer === 'string') session.issuer = who.issuer;
    if ('onBehalfOf' in who && typeof who.onBehalfOf === 'string') session.onBehalfOf = who.onBehalfOf;
    if ('serviceAccount' in who && isAccount(who.serviceAccount)) session.serviceAccount = who.serviceAccount;
  }
  if (Array.isArray(groups)) session.groups = groups.filter((group) => typeof group === 'string');
  if (typeof client === 'string') session.client = client;
  if (typeof application === 'string') session.application = application;
}

function isAccount(value: unknown): value is { readonly namespace: string; readonly name: string } {
  if (typeof value !== 'object' || value === null) return false;
  return (
    'namespace' in value && typeof value.namespace === 'string' && 'name' in value && typeof value.name === 'string'
  );
}
