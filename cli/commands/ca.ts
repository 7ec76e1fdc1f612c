import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { openAuthority } from '../../proxy/standalone/authority.ts';
import { CliError } from '../errors.ts';
import { type CliIo, defaultState } from '../io.ts';
import { groupExamples } from './group-examples.ts';

interface CaOptions {
  readonly state: string;
  readonly out?: string;
  readonly role: string;
  readonly database: string;
  readonly output: 'text' | 'json';
}

const NAME = /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/;

function secretName(text: string): { readonly namespace: string; readonly name: string } {
  const [namespace = '', name = '', ...rest] = text.includes('/') ? text.split('/') : ['default', text];
  if (rest.length > 0 || !NAME.test(namespace) || !NAME.test(name))
    throw new InvalidArgumentError('write NAMESPACE/NAME, or NAME for the namespace default.');
  return { namespace, name };
}

const EXAMPLES = [
  'sallyport ca postgres shop/orders-ca --role app --database orders --out sallyport-ca.crt',
  'sallyport ca postgres orders-ca -o json',
];

/** Adds `sallyport ca postgres`. */
export function register(program: Command, io: CliIo): void {
  const ca = program
    .command('ca')
    .description('Authorities that sign the certificates which Sallyport signs in with')
    .addHelpText('afterAll', groupExamples(EXAMPLES));
  ca.command('postgres')
    .description('Print the authority for credential.clientCertificate, and what the server needs; made at first use')
    .argument('<secret>', 'Secret that caSecretRef names, as NAMESPACE/NAME', secretName)
    .option('--state <dir>', 'state folder, where the key is kept', defaultState(io.env))
    .option(
      '--out <file>',
      'write the certificate to this file; standard output then has the lines for the server only',
    )
    .option('--role <name>', 'role in the line for pg_hba.conf', 'all')
    .option('--database <name>', 'database in the line for pg_hba.conf', 'all')
    .addOption(new Option('-o, --output <format>', 'output format').choices(['text', 'json']).default('text'))
    .action((secret: { namespace: string; name: string }, options: CaOptions) => print(secret, options, io));
}

const hbaName = (name: string): string => (/^[a-z_][a-z0-9_]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`);

async function print(secret: { namespace: string; name: string }, options: CaOptions, io: CliIo): Promise<void> {
  const certificate = await openAuthority(resolve(io.cwd, options.state), secret.namespace, secret.name, Date.now());
  if (options.out !== undefined) {
    try {
      await writeFile(resolve(io.cwd, options.out), certificate, { mode: 0o644 });
    } catch (error) {
      throw new CliError('SPC050', [options.out, error instanceof Error ? error.message : String(error)], error);
    }
  }
  const file = options.out ?? 'sallyport-ca.crt';
  const settings = `ssl = on\nssl_ca_file = '${file.replaceAll("'", "''")}'`;
  const hba = `hostssl ${hbaName(options.database)} ${hbaName(options.role)} all cert`;
  switch (options.output) {
    case 'text':
      io.stdout.write(`${options.out === undefined ? certificate : ''}# The server trusts this authority for clients: postgresql.conf
${settings}
# The role signs in with a certificate, and with nothing else: pg_hba.conf, before lines that match it too
${hba}
`);
      return;
    case 'json':
      io.stdout.write(`${JSON.stringify({ certificate, postgresqlConf: settings.split('\n'), pgHba: [hba] })}\n`);
      return;
    default:
      options.output satisfies never;
  }
}
