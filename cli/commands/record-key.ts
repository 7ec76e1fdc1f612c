import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { recordKey, recordPublicKeys, rotateRecordKey } from '../../proxy/standalone/record-key.ts';
import { type CliIo, defaultState } from '../io.ts';
import { groupExamples } from './group-examples.ts';

interface RecordKeyOptions {
  readonly state: string;
  readonly rotate: boolean;
  readonly output: 'text' | 'json';
}

const EXAMPLES = [
  "sallyport record key > record.pub       # keep it where the gateway's machine cannot write",
  'sallyport verify ~/.local/state/sallyport --key record.pub',
  'sallyport record key --rotate           # then start the gateway again',
];

/** Adds `record key`. */
export function register(program: Command, io: CliIo): void {
  program
    .command('record')
    .description('The key that signs the record')
    .addHelpText('afterAll', groupExamples(EXAMPLES))
    .command('key')
    .description('Print the public keys of the record, one per line, the one in force last')
    .option('--state <dir>', 'state folder of the gateway', defaultState(io.env))
    .option('--rotate', 'make a new key first; a gateway signs with it from its next start on', false)
    .addOption(new Option('-o, --output <format>', 'output format').choices(['text', 'json']).default('text'))
    .action(async (options: RecordKeyOptions) => {
      const state = resolve(io.cwd, options.state);
      await (options.rotate ? rotateRecordKey(state) : recordKey(state));
      const keys = await recordPublicKeys(state);
      if (options.output === 'json') io.stdout.write(`${JSON.stringify({ current: keys.at(-1), keys })}\n`);
      else for (const key of keys) io.stdout.write(`${key}\n`);
    });
}
