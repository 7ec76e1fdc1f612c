import { type Command, Option } from 'commander';
import type { CliIo } from '../io.ts';
import { explanation, explanationJson, painter } from './explain-format.ts';
import { decideOffline, loadPolicies } from './offline-decision.ts';
import { addClaim, addGroup, parseTime, type SubjectOptions, subjectOf } from './subject-options.ts';

interface ExplainOptions extends SubjectOptions {
  readonly file: readonly string[];
  readonly config?: string;
  readonly connection: string;
  readonly command: string;
  readonly at?: Date;
  readonly output: 'text' | 'json';
}

const EXAMPLES = `
Exit status: 0 when the command is allowed, 1 when it is denied, held, or cannot be decided, 2 for wrong usage.

Examples:
  sallyport explain -f policies --as system:serviceaccount:default:agent --connection orders --command 'DELETE FROM orders'
  sallyport explain -f policies --as okta:ana@example.com --group okta:dba --connection shop/orders --at 2026-03-07T20:00:00Z \\
    --command 'SELECT * FROM customers' -o json`;

/** Adds `explain`: the decision on one command, tuple by tuple, by the engine of the gateway. */
export function register(program: Command, io: CliIo): void {
  program
    .command('explain')
    .description('Show what would be decided on a command, and by which rule; no database is needed')
    .requiredOption('-f, --file <path>', 'folder or file of resources; may be repeated', addGroup, [])
    .option('-c, --config <file>', 'SallyportConfiguration, for its guardrail namespace')
    .requiredOption('--as <subject>', 'system:serviceaccount:NAMESPACE:NAME, or ALIAS:SUBJECT')
    .option('--group <group>', 'a group, such as okta:dba; may be repeated', addGroup, [])
    .option(
      '--claim <name=value>',
      'a claim of the token; may be repeated, the same name twice makes a list',
      addClaim,
      new Map(),
    )
    .requiredOption('--connection <namespace/name>', 'the AccessConnection; namespace default if left out')
    .requiredOption('--command <sql>', 'what the agent sends')
    .option('--at <time>', 'when it is sent, such as 2026-03-07T20:00:00Z (default: now)', parseTime)
    .addOption(new Option('-o, --output <format>', 'output format').choices(['text', 'json']).default('text'))
    .addHelpText('after', EXAMPLES)
    .action((options: ExplainOptions) => explain(options, io));
}

async function explain(options: ExplainOptions, io: CliIo): Promise<void> {
  const subject = subjectOf(options);
  const policies = await loadPolicies(options.file, options.config, io);
  const { connection, command, at = new Date() } = options;
  const offline = decideOffline(policies, { subject, connection, command, at });
  switch (options.output) {
    case 'text':
      io.stdout.write(explanation(subject, offline, painter(io.isTTY && !io.env['NO_COLOR'])));
      break;
    case 'json':
      io.stdout.write(`${JSON.stringify(explanationJson(subject, offline))}\n`);
      break;
    default:
      options.output satisfies never;
  }
  io.setExitCode(offline.decision.verdict === 'Allow' ? 0 : 1);
}
