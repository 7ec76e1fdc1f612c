import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { parse } from 'yaml';
import { GROUP } from '../../api/cluster.ts';
import { neutralise } from '../../record/display.ts';
import { type Paint, painter } from '../commands/explain-format.ts';
import type { CliIo } from '../io.ts';
import { OUTPUTS, type Output, objectText } from '../output.ts';
import type { PlaceOptions } from '../places/place-options.ts';
import { packageFolder, packageVersion } from '../version.ts';
import { openCluster, withOperatorNamespace } from './cluster.ts';
import { gatherFacts } from './doctor/facts.ts';
import type { Diagnosis } from './doctor/finding.ts';
import {
  checkCrds,
  checkFences,
  checkOperator,
  checkRights,
  checkVersion,
  checkWebhook,
  rightsOfOperator,
} from './doctor/install.ts';
import { checkArchive, checkClocks, checkConnections, checkEgress, checkPods, checkProxies } from './doctor/running.ts';

interface DoctorOptions extends PlaceOptions {
  readonly output: Output;
}

const KINDS = ['accessconnections', 'accesspolicies', 'approvalrequests', 'maskingrules'] as const;

const EXAMPLES = `
Exit status: 0 when nothing is broken (there may be warnings), 1 when something is.

Examples:
  kubectl sallyport doctor
  kubectl sallyport doctor -o json | jq 'select(.state == "error")'`;

/** Adds `doctor`: looks at everything that has to be right, and says how to mend what is not. */
export function registerDoctor(program: Command, io: CliIo): void {
  withOperatorNamespace(
    program
      .command('doctor')
      .description('Check the installation, proxies, agents’ pods, archive and clocks, and say how to mend each')
      .option('--kubeconfig <file>', 'kubeconfig file (default: as kubectl finds it)')
      .option('--context <name>', 'context of the kubeconfig (default: the current one)'),
  )
    .addOption(new Option('-o, --output <format>', 'output format').choices(OUTPUTS).default('text'))
    .addHelpText('after', EXAMPLES)
    .action((options: DoctorOptions) => doctor(options, io));
}

async function doctor(options: DoctorOptions, io: CliIo): Promise<void> {
  const cluster = await openCluster(options, io);
  const crds = await ownCrds();
  const facts = await gatherFacts(cluster, packageVersion(), [...crds.keys()], rightsOfOperator);
  const found = [
    ...checkVersion(facts),
    ...checkCrds(facts, crds),
    ...checkOperator(facts),
    ...checkWebhook(facts),
    ...checkFences(facts),
    ...checkRights(facts),
    ...checkConnections(facts),
    ...checkProxies(facts),
    ...checkEgress(facts),
    ...checkPods(facts),
    ...checkArchive(facts),
    ...checkClocks(facts),
  ];
  const paint = painter(io.isTTY && !io.env['NO_COLOR']);
  for (const diagnosis of found)
    io.stdout.write(
      options.output === 'text' ? diagnosisText(diagnosis, paint) : objectText(diagnosis, options.output),
    );
  const count = (state: Diagnosis['state']): number => found.filter((each) => each.state === state).length;
  const [errors, warnings, unknown] = [count('error'), count('warning'), count('unknown')];
  if (options.output === 'text')
    io.stdout.write(`\n${errors} broken, ${warnings} to look at, ${unknown} not visible to you\n`);
  io.setExitCode(errors > 0 ? 1 : 0);
}

/** The CRDs of this release, by name. */
async function ownCrds(): Promise<Map<string, unknown>> {
  const read = async (plural: string) =>
    [
      `${plural}.${GROUP}`,
      parse(await readFile(join(packageFolder(), 'crds', `${plural}.yaml`), 'utf8')) as unknown,
    ] as const;
  return new Map(await Promise.all(KINDS.map(read)));
}

const WORDS = { ok: 'ok', warning: 'look', error: 'broken', unknown: 'unseen' } as const;
const WIDTH = 8;

function diagnosisText({ check, state, object, message, fix }: Diagnosis, paint: Paint): string {
  const word = WORDS[state].padEnd(WIDTH);
  const painted = state === 'ok' ? paint.good(word) : state === 'error' ? paint.bad(word) : paint.held(word);
  const line = `${painted}${check.padEnd(12)}${neutralise(object)}: ${neutralise(message)}\n`;
  return fix === undefined ? line : `${line}${' '.repeat(WIDTH + 12)}${neutralise(fix)}\n`;
}
