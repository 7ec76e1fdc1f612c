import { type Command, Option } from 'commander';
import type { CliIo } from '../io.ts';
import { packageVersion } from '../version.ts';
import { groupExamples } from './group-examples.ts';

interface UninstallOptions {
  readonly yes?: boolean;
  readonly kubeconfig?: string;
  readonly output: 'text' | 'json';
}

const EXAMPLES = ['sallyport uninstall', 'sallyport uninstall --yes'];

/** Adds `uninstall`. */
export function register(program: Command, io: CliIo): void {
  program
    .command('uninstall')
    .description('Remove from a cluster what the operator applied, once the operator itself is gone')
    .addHelpText('afterAll', groupExamples(EXAMPLES))
    .option('--yes', 'remove it; without this it is only listed')
    .option('--kubeconfig <file>', 'how to reach the API server, outside of the cluster')
    .addOption(new Option('-o, --output <format>', 'output format').choices(['text', 'json']).default('text'))
    .action((options: UninstallOptions) => run(options, io));
}

async function run({ yes, kubeconfig, output }: UninstallOptions, io: CliIo): Promise<void> {
  const [{ loadKubeConfig }, { createKubeClient }, { removeApplied }] = await Promise.all([
    import('../../kube/access.ts'),
    import('../../kube/client.ts'),
    import('../../operator/uninstall.ts'),
  ]);
  const access = await loadKubeConfig({ kubeconfig, env: io.env });
  const client = createKubeClient({ access, userAgent: `sallyport/${packageVersion()}` });
  const dryRun = yes !== true;
  try {
    const objects = await removeApplied(client, { dryRun, signal: io.signal });
    if (output === 'json') {
      io.stdout.write(`${JSON.stringify({ removed: !dryRun, objects })}\n`);
      return;
    }
    for (const { kind, namespace, name } of objects)
      io.stdout.write(`${kind} ${namespace === undefined ? '' : `${namespace}/`}${name}\n`);
    io.stdout.write(`${objects.length} objects ${dryRun ? 'would be removed; --yes removes them' : 'removed'}\n`);
  } finally {
    client.close();
  }
}
