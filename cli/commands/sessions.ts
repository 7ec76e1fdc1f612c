import { access } from 'node:fs/promises';
import { resolve } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { type CommandView, createCommandViews } from '../../record/commands.ts';
import { neutralise, safeJson } from '../../record/display.ts';
import { describeCause, RecorderError } from '../../record/errors.ts';
import { type FollowedEvent, followEvents } from '../../record/follow.ts';
import type { SegmentFilter } from '../../record/segment.ts';
import { listSessions, type SessionFilter, type SessionSummary, sessionEvents } from '../../record/sessions.ts';
import { type CliIo, defaultState } from '../io.ts';
import { commandLines, sessionHead, sessionTable } from './sessions-format.ts';

interface CommonOptions {
  readonly state: string;
  readonly output: 'text' | 'json';
}

interface FilterOptions extends CommonOptions {
  readonly connection?: SegmentFilter;
  readonly as?: string;
  readonly since?: Date;
  readonly denied?: boolean;
}

const EXAMPLES = `
Examples:
  sallyport sessions list --since 24h --denied
  sallyport sessions show 01JZ6T3N8Q -o json
  sallyport sessions follow --connection shop/orders`;

/** Adds `sessions list|show|follow`. */
export function register(program: Command, io: CliIo): void {
  const sessions = program
    .command('sessions')
    .description('Read the record: who did what, decided by which rule')
    .addHelpText('afterAll', EXAMPLES);
  const common = (command: Command) => withCommon(command, io);
  filtered(common(sessions.command('list').description('List sessions, the oldest first')))
    .option('--since <time>', 'only sessions that started since then: 30m, 12h, 7d, or a date', parseSince)
    .action((options: FilterOptions) => list(options, io));
  common(
    sessions
      .command('show')
      .description('Show one session: each command, its verdict and rule, and what came of it')
      .argument('<session>', 'id of the session, as list shows it'),
  )
    .option('--denied', 'only commands that were denied')
    .action((session: string, options: FilterOptions) => show(session, options, io));
  filtered(common(sessions.command('follow').description('Show what happens from now on, in all connections'))).action(
    (options: FilterOptions) => follow(options, io),
  );
}

function withCommon(command: Command, io: CliIo): Command {
  return command
    .option('--state <dir>', 'state folder of the gateway', defaultState(io.env))
    .addOption(new Option('-o, --output <format>', 'output format').choices(['text', 'json']).default('text'));
}

function filtered(command: Command): Command {
  return command
    .option(
      '--connection <namespace/name>',
      'only this AccessConnection; namespace default if left out',
      parseConnection,
    )
    .option('--as <subject>', 'only this subject, or the person behind it')
    .option('--denied', 'only with a denial');
}

function parseConnection(text: string): SegmentFilter {
  const parts = text.split('/');
  const [namespace, name] = parts.length === 1 ? ['default', text] : parts;
  if (parts.length > 2 || !namespace || !name) throw new InvalidArgumentError('write NAMESPACE/NAME.');
  return { namespace, name };
}

const UNITS = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

function parseSince(text: string): Date {
  const match = /^(\d{1,9})([smhd])$/.exec(text);
  const unit = match?.[2];
  const time =
    match !== null && (unit === 's' || unit === 'm' || unit === 'h' || unit === 'd')
      ? Date.now() - Number(match[1]) * UNITS[unit]
      : Date.parse(text);
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) throw new InvalidArgumentError('write 30m, 12h, 7d or a date such as 2026-03-01.');
  return date;
}

async function recordFolder(options: CommonOptions, io: CliIo): Promise<string> {
  const root = resolve(io.cwd, options.state, 'record');
  try {
    await access(root);
  } catch (error) {
    throw new RecorderError('SPR008', { path: root, detail: describeCause(error), cause: error });
  }
  return root;
}

async function list(options: FilterOptions, io: CliIo): Promise<void> {
  const root = await recordFolder(options, io);
  const found: SessionSummary[] = [];
  for await (const session of listSessions(root, sessionFilter(options))) found.push(session);
  found.sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : 0));
  if (options.output === 'text') io.stdout.write(sessionTable(found));
  else for (const session of found) io.stdout.write(`${safeJson(session)}\n`);
}

function sessionFilter(options: FilterOptions): SessionFilter {
  return {
    ...options.connection,
    ...(options.as === undefined ? {} : { who: options.as }),
    ...(options.since === undefined ? {} : { since: options.since }),
    ...(options.denied === undefined ? {} : { denied: options.denied }),
  };
}

async function show(id: string, options: FilterOptions, io: CliIo): Promise<void> {
  const root = await recordFolder(options, io);
  const session = await find(root, id);
  const print = (command: CommandView): void => {
    if (options.denied === true && command.outcome !== 'denied') return;
    io.stdout.write(options.output === 'text' ? commandLines(command) : `${safeJson(command)}\n`);
  };
  io.stdout.write(options.output === 'text' ? `${sessionHead(session)}\n` : `${safeJson(session)}\n`);
  const views = createCommandViews();
  for await (const event of sessionEvents(root, id)) {
    const command = views.enter(event);
    if (command !== undefined) print(command);
  }
  for (const command of views.open()) print(command);
}

async function find(root: string, id: string): Promise<SessionSummary> {
  for await (const session of listSessions(root, { session: id })) return session;
  throw new RecorderError('SPR009', { object: JSON.stringify(id) });
}

async function follow(options: FilterOptions, io: CliIo): Promise<void> {
  const root = await recordFolder(options, io);
  const subjects = createSubjects();
  if (options.as !== undefined) {
    for await (const session of listSessions(root, options.connection ?? {})) {
      if (session.state === 'running')
        subjects.enter(session.session, { username: session.who, onBehalfOf: session.onBehalfOf });
    }
  }
  const views = createCommandViews();
  for await (const followed of followEvents(root, options.connection ?? {}, io.signal)) {
    const id = followed.event.session;
    if (typeof id === 'string') subjects.enter(id, followed.event.who);
    const ours = options.as === undefined || (typeof id === 'string' && subjects.is(id, options.as));
    const lines = ours ? followedLines(followed, options, views) : undefined;
    if (lines !== undefined) io.stdout.write(lines);
    if (typeof id === 'string' && endsSession(followed.event.e)) {
      views.forget(id);
      subjects.forget(id);
    }
  }
}

function endsSession(type: string): boolean {
  return type === 'session.end' || type === 'session.refused' || type === 'session.interrupted';
}

/** Who is behind the running sessions: later events of a session do not say so again. */
function createSubjects() {
  const known = new Map<string, { readonly username: unknown; readonly onBehalfOf: unknown }>();
  return {
    enter(session: string, who: unknown): void {
      if (typeof who !== 'object' || who === null) return;
      known.set(session, {
        username: 'username' in who ? who.username : undefined,
        onBehalfOf: 'onBehalfOf' in who ? who.onBehalfOf : undefined,
      });
    },
    is(session: string, subject: string): boolean {
      const who = known.get(session);
      return who !== undefined && (who.username === subject || who.onBehalfOf === subject);
    },
    forget(session: string): void {
      known.delete(session);
    },
  };
}

/** What `follow` prints for an event, if anything. JSON: the event as recorded, with its connection, without results. */
function followedLines(
  { connection, event }: FollowedEvent,
  options: FilterOptions,
  views: ReturnType<typeof createCommandViews>,
): string | undefined {
  const denial = event.e === 'command.denied' || event.e === 'session.refused';
  if (options.output === 'json') {
    if (event.e === 'result.chunk' || (options.denied === true && !denial)) return undefined;
    return `${safeJson({ connection, ...event })}\n`;
  }
  const command = views.enter(event);
  if (options.denied === true && !denial) return undefined;
  const place = neutralise(`${connection} ${String(event.session ?? '')}`);
  if (command !== undefined) return `${place}  ${commandLines(command)}`;
  if (!event.e.startsWith('session.') && event.e !== 'bundle.changed') return undefined;
  const { who, reason, message, hash } = event;
  const subject = typeof who === 'object' && who !== null && 'username' in who ? who.username : undefined;
  const facts = [event.t.slice(11, 26), event.e, subject, reason, message, hash].filter(
    (fact) => typeof fact === 'string',
  );
  return `${place}  ${facts.map(neutralise).join('  ')}\n`;
}
