import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { parseAllDocuments, stringify } from 'yaml';
import { NAMES } from '../../api/cluster.ts';
import type { AccessConnection } from '../../api/resources.ts';
import { DEPLOYMENTS, NAMESPACES } from '../../kube/builtin.ts';
import { type InjectionContext, inject } from '../../operator/webhook/injection/inject.ts';
import { neutralise } from '../../record/display.ts';
import { lineDiff, withContext } from '../../record/line-diff.ts';
import { CliError, cliMessage } from '../errors.ts';
import type { CliIo } from '../io.ts';
import { OUTPUTS, type Output, objectText } from '../output.ts';
import type { PlaceOptions } from '../places/place-options.ts';
import { packageVersion } from '../version.ts';
import {
  type Cluster,
  CONNECTIONS,
  listed,
  openCluster,
  whereAllowed,
  withClusterOptions,
  withOperatorNamespace,
} from './cluster.ts';
import { type FoundPod, podsOf } from './pods-of.ts';

interface InjectOptions extends PlaceOptions {
  readonly filename: string;
  readonly output: Output;
}

const AROUND = 3;

const EXAMPLES = `
Exit status: 0 what admission would let in, with or without a change; 1 what it would refuse.

Examples:
  kubectl sallyport inject --dry-run -f agent.yaml
  kubectl get deployment agent -o yaml | kubectl sallyport inject --dry-run -f /dev/stdin -o yaml
  kubectl sallyport inject --dry-run -f agent.yaml -n agents -o json`;

/** Adds `inject --dry-run`: what admission would do with the pods of a manifest, by the code that does it there. */
export function registerInject(program: Command, io: CliIo): void {
  const command = program.command('inject').description('Show what injection would change in the pods of a manifest');
  withOperatorNamespace(withClusterOptions(command))
    .requiredOption('-f, --filename <file>', 'manifest of pods, or of what makes pods')
    .requiredOption('--dry-run', 'change nothing; without it there is nothing to do, since admission injects by itself')
    .addOption(
      new Option('-o, --output <format>', 'text: a diff; json: the patch; yaml: the pod')
        .choices(OUTPUTS)
        .default('text'),
    )
    .addHelpText('after', EXAMPLES)
    .action((options: InjectOptions) => dryRun(options, io));
}

async function dryRun(options: InjectOptions, io: CliIo): Promise<void> {
  const pods = await readPods(options.filename, io);
  const cluster = await openCluster(options, io);
  const known = await facts(cluster, pods, io);
  for (const found of pods) {
    const namespace = options.namespace ?? found.namespace ?? cluster.homeNamespace;
    const result = inject(found.pod, { ...known, namespace });
    if (result.type === 'refusal') io.setExitCode(1);
    io.stdout.write(resultText(found, namespace, result, options.output, io));
  }
}

/** @throws CliError SPC067, SPC069 */
async function readPods(file: string, io: CliIo): Promise<FoundPod[]> {
  let documents: unknown[];
  try {
    const text = await readFile(resolve(io.cwd, file), 'utf8');
    documents = parseAllDocuments(text).map((document) => {
      if (document.errors[0] !== undefined) throw document.errors[0];
      return document.toJS({ maxAliasCount: 100 }) as unknown;
    });
  } catch (error) {
    throw new CliError('SPC069', [file, error instanceof Error ? error.message : String(error)], error);
  }
  const pods = documents.flatMap(podsOf);
  if (pods.length === 0) throw new CliError('SPC067', [file]);
  return pods;
}

/** What the webhook knows of the cluster, as far as this person may read it. */
async function facts(
  cluster: Cluster,
  pods: readonly FoundPod[],
  io: CliIo,
): Promise<Omit<InjectionContext, 'namespace'>> {
  const { client, homeNamespace, operatorNamespace } = cluster;
  const everywhere = await whereAllowed(() => listed(() => client.listAll(CONNECTIONS)));
  let connections: readonly AccessConnection[] = everywhere?.items ?? [];
  if (everywhere === undefined) {
    note(io, 'AccessConnections of all namespaces');
    connections = (await listed(() => client.listAll(CONNECTIONS, { namespace: homeNamespace }))).items;
  }
  const labels = new Map<string, Readonly<Record<string, string>>>();
  const namespaces = await whereAllowed(() => client.listAll(NAMESPACES));
  if (namespaces === undefined) {
    note(io, 'namespaces and their labels');
    for (const name of [homeNamespace, ...pods.map(({ namespace }) => namespace)])
      if (name !== undefined) labels.set(name, {});
    for (const { metadata } of connections) labels.set(metadata.namespace, {});
  } else for (const { metadata } of namespaces.items) labels.set(metadata.name, metadata.labels ?? {});
  const operator = await whereAllowed(() =>
    client.get(DEPLOYMENTS, { namespace: operatorNamespace, name: NAMES.operator }),
  );
  return {
    connections,
    namespaceLabels: (name) => labels.get(name),
    version: packageVersion(),
    image: connectorImage(operator) ?? `${NAMES.connector}:${packageVersion()}`,
  };
}

function note(io: CliIo, what: string): void {
  const { message, fix } = cliMessage('SPC068', [what]);
  io.stderr.write(`warning: ${message} [SPC068]\n  ${fix}\n`);
}

/** The operator's own flag `--connector-image`. */
function connectorImage(operator: object | undefined): string | undefined {
  const words = JSON.stringify(operator ?? {});
  return /"--connector-image=([^"]+)"/.exec(words)?.[1] ?? /"--connector-image","([^"]+)"/.exec(words)?.[1];
}

function resultText(
  { label, pod }: FoundPod,
  namespace: string,
  result: ReturnType<typeof inject>,
  output: Output,
  io: CliIo,
): string {
  const head = neutralise(`${label} in ${namespace}`);
  if (output === 'json') {
    const { type } = result;
    const told = {
      none: () => ({}),
      refusal: () => (result.type === 'refusal' ? result.refusal : {}),
      patch: () => (result.type === 'patch' ? { patch: result.patch, warnings: result.plan.warnings } : {}),
    };
    return objectText({ object: label, namespace, result: type, ...told[type]() }, 'json');
  }
  switch (result.type) {
    case 'none':
      return output === 'yaml'
        ? objectText(pod, 'yaml')
        : `${head}: nothing, since neither it nor its namespace asks for it\n`;
    case 'refusal': {
      const text = `${head}: refused, ${result.refusal.code}: ${neutralise(result.refusal.message)}\n`;
      return output === 'yaml' ? `# ${text}` : text;
    }
    case 'patch': {
      if (output === 'yaml') return objectText(result.pod, 'yaml');
      const warnings = result.plan.warnings.map((warning) => `  ${neutralise(warning)}\n`).join('');
      return `${head}: ${result.patch.length} change(s)\n${warnings}${diffText(pod, result.pod, io)}`;
    }
    default:
      return result satisfies never;
  }
}

function diffText(before: object, after: object, io: CliIo): string {
  const colours = io.isTTY && !io.env['NO_COLOR'];
  const text = (object: object): string => stringify(object, { lineWidth: 0 });
  return withContext(lineDiff(text(before), text(after)), AROUND)
    .map(({ sign, text: line }) => {
      const shown = `${sign} ${neutralise(line)}`;
      if (!colours || sign === ' ') return `${shown}\n`;
      return `\u001b[${sign === '+' ? 32 : 31}m${shown}\u001b[0m\n`;
    })
    .join('');
}
