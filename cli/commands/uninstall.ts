import type { Command } from 'commander';
import type { CliIo } from '../io.ts';
import { packageVersion } from '../version.ts';
import { groupExamples } from './group-examples.ts';

interface UninstallOptions {
  readonly yes?: boolean;
  readonly kubeconfig?: string;
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
    .action((options: UninstallOptions) => run(options, io));
}

async function run(options: UninstallOptions, io: CliIo): Promise<void> {
  const [{ loadKubeConfig }, { createKubeClient }, { removeApplied }] = await Promise.all([
    import('../../kube/access.ts'),
    import('../../kube/client.ts'),
    import('../../operator/uninstall.ts'),
  ]);
  const access = await loadKubeConfig({ kubeconfig: options.kubeconfig, env: io.env });
  const client = createKubeClient({ access, userAgent: `sallyport/${packageVersion()}` });
  const dryRun = options.yes !== true;
  try {
    const removed = await removeApplied(client, { dryRun, signal: io.signal });
    for (const { kind, namespace, name } of removed)
      io.stdout.write(`${kind} ${namespace === undefined ? '' : `${namespace}/`}${name}\n`);
    io.stdout.write(`${removed.length} objects ${dryRun ? 'would be removed; --yes removes them' : 'removed'}\n`);
  } finally {
    client.close();
  }
}
