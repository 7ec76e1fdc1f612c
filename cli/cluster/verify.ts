import { type Command, Option } from 'commander';
import { parseConnection } from '../commands/sessions-options.ts';
import { type VerifyCommandOptions, verifyOrSay } from '../commands/verify.ts';
import type { CliIo } from '../io.ts';
import type { ConnectionName, PlaceOptions } from '../places/place-options.ts';
import { clusterRecord } from './record.ts';

interface ClusterVerifyOptions extends PlaceOptions, VerifyCommandOptions {
  readonly connection?: ConnectionName;
}

const EXAMPLES = `
The segments are fetched and checked here, so nobody in the cluster is believed but the key and the anchors that you bring.

Exit status: 0 clean, 1 bad, 2 it could not be verified.

Examples:
  kubectl sallyport verify -n shop --key record.pub
  kubectl sallyport verify --connection shop/orders --key record.pub --anchors /mnt/worm/anchors -o json`;

/** Adds `verify`: the record of the archive, checked where the person is. */
export function registerVerify(program: Command, io: CliIo): void {
  const place = clusterRecord();
  place
    .options(
      program
        .command('verify')
        .description('Check that the record is as it was written: names the first line of each stream that is not'),
    )
    .option('--connection <namespace/name>', 'only this AccessConnection', parseConnection)
    .option(
      '--key <key>',
      'public key as `record key` prints it, or a file of such; may be repeated',
      (value: string, all: string[] = []) => [...all, value],
      [],
    )
    .option('--anchors <dir>', 'folder of anchored checkpoints')
    .addOption(new Option('-o, --output <format>', 'output format').choices(['text', 'json']).default('text'))
    .addHelpText('after', EXAMPLES)
    .action((options: ClusterVerifyOptions) =>
      verifyOrSay(options, io, async (check) => {
        await using reader = await place.open(options, io);
        await check([await reader.folder(reader.scope(options.connection))]);
      }),
    );
}
