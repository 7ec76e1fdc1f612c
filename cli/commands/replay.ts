import { resolve } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { Catalog } from '../../proxy/protocols/postgres/catalog/types.ts';
import { safeJson } from '../../record/display.ts';
import { forEachCommand } from '../../record/replay/asked.ts';
import type { SegmentFilter } from '../../record/segment.ts';
import { CHANGES, type Change } from '../backtest/compare.ts';
import { createJudge } from '../backtest/judge.ts';
import { reportJunit, reportText } from '../backtest/report.ts';
import { type Accepted, createTally } from '../backtest/summary.ts';
import { CliError } from '../errors.ts';
import { type CliIo, defaultState } from '../io.ts';
import type { ConnectionName, PlaceOptions } from '../places/place-options.ts';
import { folderRecord, type RecordPlace } from '../places/record.ts';
import { openDatabases } from './databases.ts';
import { loadPolicies, type Policies } from './offline-decision.ts';
import { parseConnection, parseMoment } from './sessions-options.ts';

interface BackTestOptions extends PlaceOptions {
  readonly policies: readonly string[];
  readonly config?: string;
  readonly since?: Date;
  readonly until?: Date;
  readonly connection?: ConnectionName;
  readonly as?: string;
  readonly accept: readonly Accepted[];
  readonly strict: boolean;
  readonly database: boolean;
  readonly examples: number;
  readonly output: 'text' | 'json' | 'junit';
}

const EXAMPLES = `
Decided again is what the record holds: the text, at its time, for the subject with its verified groups. Claims of tokens are not
recorded, so where a policy looks at them nothing is said, and the answer says how many commands that were.

Exit status: 0 when nothing changes, or only what --accept names; 1 when something else does; 2 for wrong usage.

Examples:
  sallyport replay --policies policies.new --since 7d
  sallyport replay --policies policies.new --since 7d --database      # also: which masks are added
  sallyport replay --policies policies.new --accept allow-to-approval --accept allow-to-deny=shop/no-deletes/delete -o junit`;

/** Adds `replay`: recorded commands decided again under other policies. */
export function register(program: Command, io: CliIo, place: RecordPlace = folderRecord(io)): void {
  place
    .options(program.command('replay'))
    .description('Decide recorded commands again under other policies, and show what would change')
    .requiredOption(
      '--policies <path>',
      'folder or file of resources; may be repeated',
      (path: string, all: readonly string[] = []) => [...all, path],
    )
    .option('-c, --config <file>', 'SallyportConfiguration, for its guardrail namespace')
    .option('--since <time>', 'only commands since then: 30m, 12h, 7d, or a date', parseMoment)
    .option('--until <time>', 'only commands before that', parseMoment)
    .option(
      '--connection <namespace/name>',
      'only this AccessConnection; namespace default if left out',
      parseConnection,
    )
    .option('--as <subject>', 'only this subject, or the person behind it')
    .option(
      '--accept <change>',
      `a change that is meant: ${CHANGES.join(', ')}; of one rule alone: CHANGE=RULE`,
      addAccepted,
      [],
    )
    .option('--strict', 'what cannot be judged counts as a change', false)
    .option('--database', 'sign in to the databases: names and masks as their catalogs say', false)
    .option('--examples <number>', 'examples of each change', parseExamples, 3)
    .addOption(new Option('-o, --output <format>', 'output format').choices(['text', 'json', 'junit']).default('text'))
    .addHelpText('after', EXAMPLES)
    .action((options: BackTestOptions) => backTest(place, options, io));
}

function isChange(text: string): text is Change {
  return CHANGES.some((change) => change === text);
}

function addAccepted(text: string, earlier: readonly Accepted[]): readonly Accepted[] {
  const equals = text.indexOf('=');
  const change = equals < 0 ? text : text.slice(0, equals);
  if (!isChange(change)) throw new InvalidArgumentError(`write one of ${CHANGES.join(', ')}.`);
  return [...earlier, equals < 0 ? { change } : { change, because: text.slice(equals + 1) }];
}

function parseExamples(text: string): number {
  if (!/^\d{1,4}$/.test(text)) throw new InvalidArgumentError('write a whole number.');
  return Number(text);
}

async function backTest(place: RecordPlace, options: BackTestOptions, io: CliIo): Promise<void> {
  const started = performance.now();
  await using reader = await place.open(options, io);
  const scope = reader.scope(options.connection);
  const policies = await loadPolicies(options.policies, options.config, io);
  const judge = createJudge(policies, options.database ? await catalogsOf(policies, scope, options, io) : new Map());
  const tally = createTally(options.accept, options.examples);
  const { as, since, until } = options;
  await forEachCommand(
    await reader.folder(scope),
    scope,
    (asked) => {
      const { session, command } = asked;
      if (as !== undefined && session.username !== as && session.onBehalfOf !== as) return;
      // What earlier commands prepared and set counts, also when they are not asked for.
      const judged = judge.judge(asked);
      const time = Date.parse(command.time);
      if ((since !== undefined && time < since.getTime()) || (until !== undefined && time >= until.getTime())) return;
      tally.enter(asked, judged);
    },
    io.signal,
  );
  const summary = tally.summary();
  const notes = options.database
    ? []
    : ['Without --database names are read as the text has them, and masks that are added cannot be told.'];
  switch (options.output) {
    case 'text':
      io.stdout.write(reportText(summary, notes, io.isTTY && !io.env['NO_COLOR']));
      break;
    case 'json':
      io.stdout.write(`${safeJson({ ...summary, notes })}\n`);
      break;
    case 'junit':
      io.stdout.write(reportJunit(summary, options.policies[0] ?? '', performance.now() - started));
      break;
    default:
      options.output satisfies never;
  }
  const unexpected = summary.groups.some(({ accepted }) => !accepted);
  const incomplete = options.strict && (summary.unjudged.length > 0 || summary.judged === 0);
  io.setExitCode(unexpected || incomplete ? 1 : 0);
}

/** The catalogs of all connections that are asked for. @throws CliError SPC042 when one cannot be had: half an answer looks whole */
async function catalogsOf(
  policies: Policies,
  only: SegmentFilter,
  options: BackTestOptions,
  io: CliIo,
): Promise<ReadonlyMap<string, Catalog>> {
  const { bundle, loaded, configuration } = policies;
  const state = resolve(io.cwd, options.state ?? defaultState(io.env));
  const databases = openDatabases({ loaded, configuration, state, environment: io.env });
  const catalogs = new Map<string, Catalog>();
  try {
    for (const connection of bundle.connections) {
      const { namespace, name, protocol } = connection;
      if (protocol !== 'Postgres') continue;
      if (only.namespace !== undefined && only.namespace !== namespace) continue;
      if (only.name !== undefined && only.name !== name) continue;
      try {
        catalogs.set(`${namespace}/${name}`, await databases.catalogOf(connection));
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        throw new CliError('SPC042', [`${namespace}/${name}`, reason], error);
      }
    }
  } finally {
    databases.close();
  }
  return catalogs;
}
