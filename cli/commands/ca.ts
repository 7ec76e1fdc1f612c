import { writeFile } from 'node:fs/promises';
import { basename, isAbsolute, join, resolve } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { knownHostsLine } from '../../proxy/identity/ssh-host-keys.ts';
import { openAuthority, openSshAuthority } from '../../proxy/standalone/authority.ts';
import { CliError } from '../errors.ts';
import { type CliIo, defaultState } from '../io.ts';
import { groupExamples } from './group-examples.ts';

interface CommonOptions {
  readonly state: string;
  readonly out?: string;
  readonly output: 'text' | 'json';
}

interface CaOptions extends CommonOptions {
  readonly role: string;
  readonly database: string;
}

interface SshOptions extends CommonOptions {
  readonly principal: readonly string[];
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
  'sallyport ca ssh shop/ssh-ca --principal deploy --out sallyport_ca.pub',
  'sallyport ca ssh-hosts >> ~/.ssh/known_hosts',
];

/** Adds `sallyport ca postgres`, `ca ssh` and `ca ssh-hosts`. */
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
  ca.command('ssh')
    .description('Print the authority for credential.sshCertificate, and what sshd needs; made at first use')
    .argument('<secret>', 'Secret that caSecretRef names, as NAMESPACE/NAME', secretName)
    .option('--state <dir>', 'state folder, where the key is kept', defaultState(io.env))
    .option('--out <file>', 'write the public key to this file; standard output then has the lines for sshd only')
    .option(
      '--principal <user>',
      'login user that certificates are for; may be repeated',
      (value: string, all: readonly string[]): readonly string[] => [...all, value],
      [],
    )
    .addOption(new Option('-o, --output <format>', 'output format').choices(['text', 'json']).default('text'))
    .action((secret: { namespace: string; name: string }, options: SshOptions) => printSsh(secret, options, io));
  ca.command('ssh-hosts')
    .description(
      'Print the line for known_hosts with which clients trust the host keys of the gateway; made at first use',
    )
    .option('--state <dir>', 'state folder, where the key is kept', defaultState(io.env))
    .addOption(new Option('-o, --output <format>', 'output format').choices(['text', 'json']).default('text'))
    .action((options: CommonOptions) => printHosts(options, io));
}

async function written(file: string | undefined, text: string, io: CliIo): Promise<void> {
  if (file === undefined) return;
  try {
    await writeFile(resolve(io.cwd, file), text, { mode: 0o644 });
  } catch (error) {
    throw new CliError('SPC050', [file, error instanceof Error ? error.message : String(error)], error);
  }
}

/** Where sshd looks for the principals that may log in as a user; `%u` is that user. */
const PRINCIPALS_FILE = '/etc/ssh/sallyport_principals/%u';

/** Where the host has the public key: sshd wants absolute paths, and a relative one is of this machine. */
function keysFile(out = 'sallyport_ca.pub'): string {
  return isAbsolute(out) ? out : join('/etc/ssh', basename(out));
}

async function printSsh(secret: { namespace: string; name: string }, options: SshOptions, io: CliIo): Promise<void> {
  const publicKey = await openSshAuthority(resolve(io.cwd, options.state), secret.namespace, secret.name);
  await written(options.out, `${publicKey}\n`, io);
  const { principal } = options;
  const sshdConfig = [
    `TrustedUserCAKeys ${keysFile(options.out)}`,
    ...(principal.length === 0 ? [] : [`AuthorizedPrincipalsFile ${PRINCIPALS_FILE}`]),
  ];
  const files = Object.fromEntries(principal.map((user) => [PRINCIPALS_FILE.replace('%u', user), user]));
  switch (options.output) {
    case 'text': {
      const lines = Object.entries(files).map(([file, user]) => `# ${file}: ${user}\n`);
      io.stdout.write(`${options.out === undefined ? `# ${keysFile()}:\n${publicKey}\n` : `# Copy ${options.out} to the host: ${keysFile(options.out)}\n`}# The server trusts this authority for users: sshd_config
${sshdConfig.join('\n')}
# A certificate names one user and lets in nobody else. With AuthorizedPrincipalsFile only users with such a file are let in:
${principal.length === 0 ? '# name them with --principal\n' : lines.join('')}`);
      return;
    }
    case 'json':
      io.stdout.write(`${JSON.stringify({ publicKey, sshdConfig, authorizedPrincipals: files })}\n`);
      return;
    default:
      options.output satisfies never;
  }
}

async function printHosts({ state, output }: CommonOptions, io: CliIo): Promise<void> {
  const line = await knownHostsLine(resolve(io.cwd, state), Date.now);
  io.stdout.write(output === 'json' ? `${JSON.stringify({ knownHosts: line.trim() })}\n` : line);
}

const hbaName = (name: string): string => (/^[a-z_][a-z0-9_]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`);

async function print(secret: { namespace: string; name: string }, options: CaOptions, io: CliIo): Promise<void> {
  const certificate = await openAuthority(resolve(io.cwd, options.state), secret.namespace, secret.name, Date.now());
  await written(options.out, certificate, io);
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
