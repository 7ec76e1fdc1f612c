import { relative, resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { DEFAULT_CONFIGURATION, type ReadConfiguration, readConfiguration } from '../../api/configuration.ts';
import { apiMessage } from '../../api/errors.ts';
import { type Finding, type Loaded, loadResources } from '../../api/load.ts';
import { checkRules } from '../../api/rules.ts';
import { compile } from '../../policy/compile.ts';
import { findingsOf } from '../../proxy/standalone/bundle-source.ts';
import { cliMessage } from '../errors.ts';
import { findingText } from '../findings.ts';
import { type CliIo, defaultState, stateWords } from '../io.ts';
import { type Databases, openDatabases } from './databases.ts';
import { checkApis } from './validate-apis.ts';
import { checkApprovers } from './validate-approvers.ts';
import { type ColumnsOf, checkColumns } from './validate-columns.ts';
import { checkSshKeys } from './validate-ssh.ts';

interface ValidateOptions {
  readonly file: readonly string[];
  readonly config?: string;
  readonly database: boolean;
  readonly state?: string;
  readonly strict: boolean;
  readonly output: 'text' | 'json';
}

const EXAMPLES = `
Exit status: 0 when there is no error (with --strict: and no warning), 1 otherwise, 2 for wrong usage.

Examples:
  sallyport validate -f policies
  sallyport validate -f policies -c sallyport.yaml --strict -o json     # also: approvals that nobody could give
  sallyport validate -f policies --database     # also: masking patterns that match no column`;

/** Adds `validate`: everything that an API server would refuse, and what it could not know. */
export function register(program: Command, io: CliIo): void {
  program
    .command('validate')
    .description('Check resources as an API server would, and for what cannot work; nothing is started or changed')
    .requiredOption(
      '-f, --file <path>',
      'folder or file of resources; may be repeated',
      (path: string, all: readonly string[] = []) => [...all, path],
    )
    .option('-c, --config <file>', 'SallyportConfiguration, which is checked too')
    .option('--database', 'sign in to the databases and compare masking rules with their columns', false)
    .option('--state <dir>', `state folder with credentials, for --database (${stateWords(io.env)})`)
    .option('--strict', 'warnings count as errors', false)
    .addOption(new Option('-o, --output <format>', 'output format').choices(['text', 'json']).default('text'))
    .addHelpText('after', EXAMPLES)
    .action((options: ValidateOptions) => validate(options, io));
}

/** @param columnsOf what a connection's database has, for tests; else the databases are asked */
export async function validate(options: ValidateOptions, io: CliIo, columnsOf?: ColumnsOf): Promise<void> {
  const paths = options.file.map((path) => resolve(io.cwd, path));
  const configured: ReadConfiguration =
    options.config === undefined
      ? { configuration: DEFAULT_CONFIGURATION, findings: [], locate: undefined }
      : await readConfiguration(resolve(io.cwd, options.config));
  const configuration = configured.configuration ?? DEFAULT_CONFIGURATION;
  const { guardrailNamespace } = configuration;
  const loaded = await loadResources(paths, checkRules);
  const { bundle, problems } = compile(loaded.resources, { guardrailNamespace });
  const found = [
    ...configured.findings,
    ...loaded.findings,
    ...nothingFound(loaded, paths),
    ...findingsOf(loaded, problems),
    ...checkSshKeys(loaded),
    ...checkApis(loaded),
  ];
  for (const [index, name] of [...configuration.listen.keys()].entries()) {
    const [namespace = '', connection = ''] = name.split('/');
    if (bundle.connection(namespace, connection) !== undefined || configured.locate === undefined) continue;
    // In error itself, which has been said.
    if (loaded.places.has(`AccessConnection/${name}`)) continue;
    const place = configured.locate(['listen', index, 'connection']);
    found.push({ severity: 'error', ...place, code: 'SPC003', ...cliMessage('SPC003', [name]) });
  }
  if (options.config !== undefined && configured.configuration !== undefined) {
    const { approvers } = configured.configuration;
    found.push(...checkApprovers({ loaded, bundle, guardrailNamespace, approvers }));
  }
  if (options.database || columnsOf !== undefined) {
    const state = options.state ?? configuration.state ?? defaultState(io.env);
    const databases = openDatabases({ loaded, configuration, state, environment: io.env });
    try {
      const ask = columnsOf ?? columnsFrom(databases);
      found.push(...(await checkColumns({ loaded, bundle, guardrailNamespace, columnsOf: ask })));
    } finally {
      databases.close();
    }
  }
  report(
    found.map((finding) => ({ ...finding, file: displayed(finding.file, io.cwd) })).sort(byPlace),
    loaded,
    options,
    io,
  );
}

function nothingFound({ resources, keyValues, findings, passedOver }: Loaded, paths: readonly string[]): Finding[] {
  const { connections, policies, maskingRules } = resources;
  const count =
    connections.length + policies.length + maskingRules.length + keyValues.length + findings.length + passedOver.length;
  if (count > 0) return [];
  const { message, fix } = apiMessage('SPA005', [paths.join(', ')]);
  return [{ severity: 'error', file: paths[0] ?? '', line: 1, column: 1, code: 'SPA005', message, fix }];
}

/** As the user would write it: relative when it is below where they are. */
function displayed(file: string, cwd: string): string {
  const path = relative(cwd, file);
  return path === '' || path.startsWith('..') ? file : path;
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

function byPlace(a: Finding, b: Finding): number {
  return compare(a.file, b.file) || a.line - b.line || a.column - b.column || compare(a.message, b.message);
}

function columnsFrom(databases: Databases): ColumnsOf {
  return async (connection) => {
    const catalog = await databases.catalogOf(connection);
    return [...catalog.relations()].flatMap(({ schema, name, columns }) =>
      columns.map((column) => ({ schema, relation: name, column: column.name })),
    );
  };
}

function report(findings: readonly Finding[], loaded: Loaded, options: ValidateOptions, io: CliIo): void {
  const errors = findings.filter(({ severity }) => severity === 'error').length;
  const warnings = findings.length - errors;
  const valid = errors === 0 && !(options.strict && warnings > 0);
  const { connections, policies, maskingRules } = loaded.resources;
  const objects = {
    AccessConnection: connections.length,
    AccessPolicy: policies.length,
    MaskingRule: maskingRules.length,
    Secret: loaded.keyValues.filter(({ kind }) => kind === 'Secret').length,
    ConfigMap: loaded.keyValues.filter(({ kind }) => kind === 'ConfigMap').length,
  };
  if (!valid) io.setExitCode(1);
  switch (options.output) {
    case 'json': {
      const passedOver = loaded.passedOver.map((each) => ({ ...each, file: displayed(each.file, io.cwd) }));
      const answer = { valid, errors, warnings, files: loaded.files.length, objects, findings, passedOver };
      io.stdout.write(`${JSON.stringify(answer, undefined, 2)}\n`);
      return;
    }
    case 'text': {
      for (const finding of findings) io.stdout.write(findingText(finding));
      const counted = Object.entries(objects).filter(([, count]) => count > 0);
      const inside = counted.map(([kind, count]) => `${count} ${kind}`).join(', ');
      const others = loaded.passedOver.length === 0 ? '' : `, ${loaded.passedOver.length} of other kinds passed over`;
      const files = `${loaded.files.length} file(s)${inside === '' ? '' : `: ${inside}`}${others}`;
      io.stdout.write(`${files}; ${errors} error(s), ${warnings} warning(s)\n`);
      return;
    }
    default: {
      const never: never = options.output;
      throw new Error(`unknown output format ${String(never)}`);
    }
  }
}
