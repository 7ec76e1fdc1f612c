import { type Command, InvalidArgumentError, Option } from 'commander';
import type { CliIo } from '../io.ts';
import { OUTPUTS, type Output, objectText } from '../output.ts';
import type { PlaceOptions } from '../places/place-options.ts';
import { folderPolicies, type PolicyPlace } from '../places/policies.ts';
import type { ApiQuestion } from './api-question.ts';
import { explanation, explanationJson, painter } from './explain-format.ts';
import { decideOffline } from './offline-decision.ts';
import { ASKED_OPERATIONS, type AskedOperation, type SshQuestion } from './ssh-question.ts';
import { addClaim, addGroup, parseTime, type SubjectOptions, subjectOf } from './subject-options.ts';

interface ExplainOptions extends SubjectOptions, PlaceOptions, SshQuestion, Pick<ApiQuestion, 'body'> {
  readonly header: Readonly<Record<string, string>>;
  readonly file?: readonly string[];
  readonly connection: string;
  readonly command?: string;
  readonly at?: Date;
  readonly output: Output;
}

/** What is asked for without a text. */
const WITHOUT_TEXT: ReadonlySet<AskedOperation> = new Set(['Shell', 'AgentForward', 'X11Forward', 'Tunnel']);

const EXAMPLES = `
Exit status: 0 when the command is allowed, 1 when it is denied, held, or cannot be decided, 2 for wrong usage.

Examples:
  sallyport explain -f policies --as system:serviceaccount:default:agent --connection orders --command 'DELETE FROM orders'
  sallyport explain -f policies --as okta:ana@example.com --group okta:dba --connection shop/orders --at 2026-03-07T20:00:00Z \\
    --command 'SELECT * FROM customers' -o json
  sallyport explain -f policies --as system:serviceaccount:default:ops-agent --connection web-1 --login-user deploy \\
    --command 'systemctl status shop && sudo systemctl restart shop'
  sallyport explain -f policies --as system:serviceaccount:default:ops-agent --connection web-1 --login-user deploy \\
    --operation ReadFile --command /var/log/shop/app.log
  sallyport explain -f policies --as system:serviceaccount:default:scaler --connection cluster \\
    --command 'PATCH /apis/apps/v1/namespaces/shop/deployments/web' --body '{"spec":{"replicas":5}}'
  sallyport explain -f policies --as system:serviceaccount:default:support --connection payments \\
    --command 'POST /v1/refunds' --header 'Idempotency-Key: 1' --body '{"amount":5}'`;

/** Adds `explain`: the decision on one command, tuple by tuple, by the engine of the gateway. */
export function register(program: Command, io: CliIo, place: PolicyPlace = folderPolicies()): void {
  place
    .options(
      program
        .command('explain')
        .description('Show what would be decided on a command, and by which rule; no target is needed'),
    )
    .requiredOption('--as <subject>', 'system:serviceaccount:NAMESPACE:NAME, or ALIAS:SUBJECT')
    .option('--group <group>', 'a group, such as okta:dba; may be repeated', addGroup, [])
    .option(
      '--claim <name=value>',
      'a claim of the token; may be repeated, the same name twice makes a list',
      addClaim,
      new Map(),
    )
    .requiredOption('--connection <namespace/name>', 'the AccessConnection; namespace default if left out')
    .option('--command <text>', 'what the agent sends: SQL, a line of shell, or METHOD PATH of a request')
    .option('--login-user <user>', "SSH: the user on the target (default: the connection's only one)")
    .addOption(
      new Option(
        '--operation <operation>',
        'SSH: what is asked for; --command is then a path, host:port or unix:/path, a subsystem, or left out',
      )
        .choices(ASKED_OPERATIONS)
        .default('Exec'),
    )
    .option('--terminal', 'SSH: with a terminal', false)
    .option('--body <text>', 'Kubernetes, HTTP: the body of the request')
    .option('--header <header>', 'Kubernetes, HTTP: NAME: VALUE; may be repeated', addHeader, {})
    .option('--at <time>', 'when it is sent, such as 2026-03-07T20:00:00Z (default: now)', parseTime)
    .addOption(new Option('-o, --output <format>', 'output format').choices(OUTPUTS).default('text'))
    .addHelpText('after', EXAMPLES)
    .action((options: ExplainOptions, command: Command) => {
      if (options.command === undefined && !WITHOUT_TEXT.has(options.operation ?? 'Exec'))
        command.error("error: required option '--command <text>' not specified");
      return explain(place, options, io);
    });
}

function addHeader(text: string, earlier: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const [, name, value] = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+): *(.*)$/.exec(text) ?? [];
  if (name === undefined || value === undefined) throw new InvalidArgumentError('write NAME: VALUE.');
  return { ...earlier, [name]: value };
}

async function explain(place: PolicyPlace, options: ExplainOptions, io: CliIo): Promise<void> {
  const subject = subjectOf(options);
  const { bundle, homeNamespace } = await place.open(options, io);
  const { command = '', loginUser, operation, terminal, body, header, at = new Date() } = options;
  const connection = options.connection.includes('/') ? options.connection : `${homeNamespace}/${options.connection}`;
  const offline = decideOffline(
    { bundle },
    {
      subject,
      connection,
      command,
      at,
      headers: header,
      ...(body === undefined ? {} : { body }),
      ...(loginUser === undefined ? {} : { loginUser }),
      ...(operation === undefined ? {} : { operation }),
      ...(terminal === undefined ? {} : { terminal }),
    },
  );
  io.stdout.write(
    options.output === 'text'
      ? explanation(subject, offline, painter(io.isTTY && !io.env['NO_COLOR']))
      : objectText(explanationJson(subject, offline), options.output),
  );
  io.setExitCode(offline.decision.verdict === 'Allow' ? 0 : 1);
}
