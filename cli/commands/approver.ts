import { type Command, Option } from 'commander';
import { makeApproverKey } from '../../proxy/approval/approver-keys.ts';
import { type CliIo, defaultApproverKeys } from '../io.ts';
import { groupExamples } from './group-examples.ts';

/** Adds `approver create`. */
export function register(program: Command, io: CliIo): void {
  const approver = program
    .command('approver')
    .description('Keys of people who approve, for themselves alone')
    .addHelpText('afterAll', groupExamples(['sallyport approver create ada', 'sallyport approver create ada -o json']));
  approver
    .command('create')
    .description('Make a key, and print what the configuration of the gateway needs')
    .argument('<name>', 'name of the person in rules, requests and the record')
    .addOption(new Option('-o, --output <format>', 'output format').choices(['text', 'json']).default('text'))
    .action((name: string, options: { readonly output: 'text' | 'json' }) => create(name, options.output, io));
}

async function create(name: string, output: 'text' | 'json', io: CliIo): Promise<void> {
  const { path, publicKey } = await makeApproverKey(defaultApproverKeys(io.env), name);
  switch (output) {
    case 'text':
      io.stdout.write(`# The key is in ${path}; nobody else needs it.\n`);
      io.stdout.write(
        `# For the configuration of the gateway:\napprovers:\n  - name: ${name}\n    publicKey: ${publicKey}\n`,
      );
      return;
    case 'json':
      io.stdout.write(`${JSON.stringify({ name, publicKey, keyFile: path })}\n`);
      return;
    default:
      output satisfies never;
  }
}
