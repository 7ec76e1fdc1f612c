import { type Command, Option } from 'commander';
import type { CommandFilter } from '../../record/command-filter.ts';
import { type CommandView, createCommandViews, inOrderOfSeq } from '../../record/commands.ts';
import { neutralise, safeJson } from '../../record/display.ts';
import type { FollowedEvent } from '../../record/follow.ts';
import type { SessionFilter, SessionSummary } from '../../record/sessions.ts';
import type { CliIo } from '../io.ts';
import type { ConnectionName } from '../places/place-options.ts';
import { findSession, folderRecord, type RecordPlace } from '../places/record.ts';
import { groupExamples } from './group-examples.ts';
import { commandLines, sessionHead, sessionTable } from './sessions-format.ts';
import { type CommonOptions, parseConnection, parseMoment, parseText, withCommon } from './sessions-options.ts';
import { registerReplay } from './sessions-replay.ts';

interface FilterOptions extends CommonOptions {
  readonly connection?: ConnectionName;
  readonly as?: string;
  readonly denied?: boolean;
}

interface ListOptions extends FilterOptions, CommandFilter {
  readonly since?: Date;
  readonly until?: Date;
  readonly protocol?: string;
}

const EXAMPLES = [
  'sallyport sessions list --since 24h --denied',
  'sallyport sessions list --verdict Deny --text DROP --since 2026-03-01 --until 2026-03-08',
  "sallyport sessions list --rule no-deletes --text '/(?i)delete from (orders|items)/'     # one command meets all of it",
  'sallyport sessions show 01JZ6T3N8Q -o json',
  'sallyport sessions replay 01JZ6T3N8Q --speed 4 --max-pause 500ms',
  'sallyport sessions replay 01JZ6T3N8Q --export html --out session.html     # one page, which loads nothing',
  'sallyport sessions replay 01JZ6T3N8Q --export asciicast --out session.cast',
  'sallyport sessions follow --connection shop/orders',
];

/** Adds `sessions list|show|replay|follow`. */
export function register(program: Command, io: CliIo, place: RecordPlace = folderRecord(io)): void {
  const sessions = program
    .command('sessions')
    .description('Read the record: who did what, decided by which rule')
    .addHelpText('afterAll', groupExamples(EXAMPLES));
  const common = (command: Command) => withCommon(command, place);
  filtered(common(sessions.command('list').description('List sessions, the oldest first')))
    .option('--since <time>', 'only sessions that started since then: 30m, 12h, 7d, or a date', parseMoment)
    .option('--until <time>', 'only sessions that started before that', parseMoment)
    .addOption(
      new Option('--verdict <verdict>', 'only with a command that was decided so').choices([
        'Allow',
        'Deny',
        'RequireApproval',
      ]),
    )
    .addOption(
      new Option('--protocol <protocol>', 'only sessions of this protocol').choices([
        'Postgres',
        'SSH',
        'Kubernetes',
        'HTTP',
      ]),
    )
    .option('--rule <rule>', 'only with a command that this rule decided: RULE, POLICY/RULE or NAMESPACE/POLICY/RULE')
    .option('--text <text>', 'only with a command that contains the text, or matches a /regular expression/', parseText)
    .action((options: ListOptions) => list(place, options, io));
  common(
    sessions
      .command('show')
      .description('Show one session: each command, its verdict and rule, and what came of it')
      .argument('<session>', 'id of the session, as list shows it'),
  )
    .option('--denied', 'only commands that were denied')
    .action((session: string, options: FilterOptions) => show(place, session, options, io));
  registerReplay(common(sessions.command('replay')), io, place);
  filtered(common(sessions.command('follow').description('Show what happens from now on, in all connections'))).action(
    (options: FilterOptions) => follow(place, options, io),
  );
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

async function list(place: RecordPlace, options: ListOptions, io: CliIo): Promise<void> {
  await using reader = await place.open(options, io);
  const found: SessionSummary[] = [];
  const filter = { ...sessionFilter(options), ...reader.scope(options.connection) };
  for await (const session of reader.sessions(filter)) found.push(session);
  found.sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : 0));
  if (options.output === 'text') io.stdout.write(sessionTable(found));
  else for (const session of found) io.stdout.write(`${safeJson(session)}\n`);
}

function sessionFilter({ as, since, until, denied, verdict, rule, text, protocol }: ListOptions): SessionFilter {
  return {
    ...(as === undefined ? {} : { who: as }),
    ...(since === undefined ? {} : { since }),
    ...(until === undefined ? {} : { until }),
    ...(denied === undefined ? {} : { denied }),
    ...(verdict === undefined ? {} : { verdict }),
    ...(rule === undefined ? {} : { rule }),
    ...(protocol === undefined ? {} : { protocol }),
    ...(text === undefined ? {} : { text }),
  };
}

async function show(place: RecordPlace, id: string, options: FilterOptions, io: CliIo): Promise<void> {
  await using reader = await place.open(options, io);
  const session = await findSession(reader, id);
  const print = (command: CommandView): void => {
    if (options.denied === true && command.outcome !== 'denied') return;
    io.stdout.write(options.output === 'text' ? commandLines(command) : `${safeJson(command)}\n`);
  };
  io.stdout.write(options.output === 'text' ? `${sessionHead(session)}\n` : `${safeJson(session)}\n`);
  const commands = inOrderOfSeq(createCommandViews(), print);
  for await (const event of reader.events(id)) commands.enter(event);
  commands.end();
}

async function follow(place: RecordPlace, options: FilterOptions, io: CliIo): Promise<void> {
  await using reader = await place.open(options, io);
  const scope = reader.scope(options.connection);
  const subjects = createSubjects();
  if (options.as !== undefined) {
    for await (const session of reader.sessions(scope)) {
      if (session.state === 'running')
        subjects.enter(session.session, { username: session.who, onBehalfOf: session.onBehalfOf });
    }
  }
  const views = createCommandViews();
  for await (const followed of reader.follow(scope, io.signal)) {
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
  const denial = event.e === 'command.denied' || event.e === 'file.denied' || event.e === 'session.refused';
  if (options.output === 'json') {
    if (
      event.e === 'request.chunk' ||
      event.e === 'result.chunk' ||
      event.e === 'output.chunk' ||
      (options.denied === true && !denial)
    )
      return undefined;
    const { result: _result, parts: _parts, ...shown } = event;
    return `${safeJson({ connection, ...shown })}\n`;
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
