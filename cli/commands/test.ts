import { writeFile } from 'node:fs/promises';
import { relative, resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { ruleName } from '../../policy/rule.ts';
import { neutralise } from '../../record/display.ts';
import { CliError } from '../errors.ts';
import type { CliIo } from '../io.ts';
import { painter } from './explain-format.ts';
import { junitXml, type ReportedCase } from './junit.ts';
import { decideOffline, loadPolicies, type OfflineDecision, type Policies } from './offline-decision.ts';
import { subjectOf } from './subject-options.ts';
import { type Expectation, readTests, type TestCase, type TestSuite } from './test-cases.ts';

interface TestOptions {
  readonly config?: string;
  readonly junit?: string;
  readonly output: 'text' | 'json';
}

/** A Wednesday noon: a case without `at` must come out the same on every day. */
const DEFAULT_TIME = '2026-01-07T12:00:00Z';

const EXAMPLES = `
Examples:
  sallyport test examples/standalone
  sallyport test policies --junit report.xml

Cases stand in files *.test.yaml beside the policies:

  apiVersion: sallyport.dev/v1alpha1
  kind: SallyportTest
  metadata: {name: quickstart}
  spec:
    files: [quickstart.yaml]          # left out: everything in this folder
    cases:
      - name: the agent cannot delete
        as: system:serviceaccount:default:agent
        connection: orders
        command: DELETE FROM orders
        expect: Deny                  # or {verdict, rule, denied, message, observed}
      - name: deletes are held at night
        as: system:serviceaccount:default:janitor
        connection: orders
        command: DELETE FROM orders WHERE id = 1
        at: 2026-03-04T22:00:00Z      # left out: a Wednesday noon, UTC
        expect: {verdict: RequireApproval, rule: needs-two-people}

      - name: the agent restarts the shop
        as: system:serviceaccount:default:ops-agent
        connection: web-1                 # an SSH connection: command is a line of shell
        loginUser: deploy                 # left out: the connection's only one
        operation: Exec                   # left out: Exec; else command is a path, host:port, a subsystem, or nothing
        command: sudo systemctl restart shop
        expect: Allow

      - name: scaling is held
        as: system:serviceaccount:default:scaler
        connection: cluster               # a Kubernetes or an HTTP connection: command is METHOD PATH
        command: PATCH /apis/apps/v1/namespaces/shop/deployments/web
        headers: {Content-Type: application/merge-patch+json}   # left out: this for PATCH, else application/json
        body: {spec: {replicas: 5}}       # or a text
        expect: RequireApproval

Exit status: 0 when every case came out as expected, else 1; 2 for wrong usage.`;

/** Adds `test`: cases in YAML beside the policies, decided by the engine of the gateway. */
export function register(program: Command, io: CliIo): void {
  program
    .command('test')
    .description('Run the cases of *.test.yaml against the policies beside them')
    .argument('<path>', 'folder, or one test file')
    .option('-c, --config <file>', 'SallyportConfiguration, for its guardrail namespace')
    .option('--junit <file>', 'also write a JUnit report')
    .addOption(new Option('-o, --output <format>', 'output format').choices(['text', 'json']).default('text'))
    .addHelpText('after', EXAMPLES)
    .action((path: string, options: TestOptions) => test(path, options, io));
}

async function test(path: string, options: TestOptions, io: CliIo): Promise<void> {
  const suites = await readTests(resolve(io.cwd, path));
  const paint = painter(io.isTTY && !io.env['NO_COLOR']);
  const results: ReportedCase[] = [];
  for (const suite of suites) {
    const policies = await loadPolicies(suite.paths, options.config, io);
    if (options.output === 'text') io.stdout.write(`${neutralise(suite.name)} (${relative(io.cwd, suite.file)})\n`);
    for (const one of suite.cases) {
      const result = runCase(suite, one, policies);
      results.push(result);
      if (options.output === 'json') io.stdout.write(`${JSON.stringify(jsonOf(result))}\n`);
      else if (result.failure === undefined) io.stdout.write(`  ${paint.good('pass')}  ${neutralise(one.name)}\n`);
      else
        io.stdout.write(
          `  ${paint.bad('FAIL')}  ${neutralise(one.name)}\n        ${relative(io.cwd, suite.file)}:${one.line}: ${neutralise(result.failure)}\n`,
        );
    }
  }
  if (options.junit !== undefined) await report(resolve(io.cwd, options.junit), results);
  const failed = results.filter(({ failure }) => failure !== undefined).length;
  if (options.output === 'text') io.stdout.write(`${results.length - failed} passed, ${failed} failed\n`);
  io.setExitCode(failed === 0 ? 0 : 1);
}

async function report(file: string, results: readonly ReportedCase[]): Promise<void> {
  try {
    await writeFile(file, junitXml(results));
  } catch (error) {
    throw new CliError('SPC034', [file, error instanceof Error ? error.message : String(error)], error);
  }
}

function jsonOf({ suite, name, file, line, failure }: ReportedCase): object {
  return { suite, name, file, line, passed: failure === undefined, ...(failure === undefined ? {} : { failure }) };
}

function runCase(suite: TestSuite, one: TestCase, policies: Policies): ReportedCase {
  const started = performance.now();
  let failure: string | undefined;
  try {
    const subject = subjectOf({
      as: one.as,
      group: one.groups ?? [],
      claim: new Map(Object.entries(one.claims ?? {})),
    });
    const at = new Date(one.at ?? DEFAULT_TIME);
    failure = difference(one.expect, decideOffline(policies, { ...one, subject, at }));
  } catch (error) {
    // A case that names a connection or subject that cannot be is a failed case; the others still run.
    failure = error instanceof Error ? error.message : String(error);
  }
  return {
    suite: suite.name,
    name: one.name,
    file: suite.file,
    line: one.line,
    durationMs: performance.now() - started,
    ...(failure === undefined ? {} : { failure }),
  };
}

/** What came out differently, in words; undefined when nothing did. */
function difference(expect: TestCase['expect'], { decision, parseError }: OfflineDecision): string | undefined {
  const expected: Expectation = typeof expect === 'string' ? { verdict: expect } : expect;
  const rules = decision.rules.map(ruleName);
  const by = rules.length > 0 ? ` by ${rules.join(', ')}` : '';
  const why = parseError === undefined ? (decision.denied ?? '') : parseError.message;
  if (decision.verdict !== expected.verdict) {
    return `expected ${expected.verdict}, got ${decision.verdict}${by}${why === '' ? '' : ` (${why})`}`;
  }
  const { rule, denied, message, observed } = expected;
  if (rule !== undefined && !rules.some((name) => name === rule || name.endsWith(`/${rule}`))) {
    return `expected rule ${rule}, got ${rules.length > 0 ? rules.join(', ') : 'none'}`;
  }
  if (denied !== undefined && decision.denied !== denied)
    return `expected denied ${denied}, got ${decision.denied ?? 'nothing'}`;
  if (message !== undefined && decision.message?.includes(message) !== true) {
    return `expected a message with "${message}", got ${decision.message === undefined ? 'none' : `"${decision.message}"`}`;
  }
  if (observed !== decision.observed && (observed !== undefined || typeof expect === 'object')) {
    return `expected observed ${observed ?? 'nothing'}, got ${decision.observed ?? 'nothing'}`;
  }
  return undefined;
}
