import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { connect as dial } from 'node:net';
import { join, resolve } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { developmentKey, signDevelopmentToken } from '../../proxy/identity/development.ts';
import { CliError } from '../errors.ts';
import type { CliIo } from '../io.ts';
import { connectHttp } from './connect-http.ts';
import { connectKubernetes } from './connect-kubernetes.ts';
import { connectSsh } from './connect-ssh.ts';
import { addTokenOptions, type TokenOptions, tokenRequest } from './token-request.ts';

const EXAMPLES = `
Examples:
  sallyport connect shop/db --as system:serviceaccount:shop:reporter
  sallyport connect shop/db --as okta:ada@example.com --group team:data -- -c 'SELECT * FROM customers'
  sallyport connect shop/db --as okta:ada@example.com -o json      # PGHOST, PGPORT, PGPASSWORD, … for other programs
  sallyport connect shop/host --as system:serviceaccount:shop:agent --user deploy -- systemctl status nginx
  sallyport connect shop/host --as okta:ada@example.com -o config >> ~/.ssh/config   # for scp, rsync, git; asks for the token
  sallyport connect shop/payments --as system:serviceaccount:shop:support-agent -- /v1/charges
  sallyport connect shop/payments --as okta:ada@example.com -o json      # base URL, token and authority for other programs
  sallyport connect shop/cluster --as system:serviceaccount:shop:scaler -- get pods
  sallyport connect shop/cluster --as okta:ada@example.com -o config > kubeconfig`;

/** What a running gateway writes into STATE/run/endpoints.json. */
interface Endpoints {
  readonly connections: readonly {
    readonly namespace: string;
    readonly name: string;
    readonly protocol: string;
    readonly address: string;
    readonly port: number;
    readonly database?: string;
    /** SSH: a user on the target. */
    readonly user?: string;
  }[];
  readonly tls?: { readonly caFile?: string };
  readonly plaintext: boolean;
}

type Endpoint = Endpoints['connections'][number];
type ConnectOptions = TokenOptions & { readonly output: 'text' | 'json' | 'config'; readonly user?: string };

/**
 * Variables of libpq that would lead the connection elsewhere, or ask the gateway for what it does not do. Settings of psql and
 * of the session, such as PGOPTIONS, stay.
 */
const CONFLICTING = [
  'PGHOSTADDR',
  'PGSERVICE',
  'PGSERVICEFILE',
  'PGPASSFILE',
  'PGREQUIREAUTH',
  'PGCHANNELBINDING',
  'PGSSLCERT',
  'PGSSLKEY',
  'PGSSLCRL',
  'PGSSLCRLDIR',
  'PGSSLNEGOTIATION',
  'PGREQUIRESSL',
  'PGTARGETSESSIONATTRS',
  'PGLOADBALANCEHOSTS',
];

/** Adds `sallyport connect`. */
export function register(program: Command, io: CliIo): void {
  addTokenOptions(program.command('connect'), io)
    .description('Open stock psql, ssh, curl or kubectl on a connection of the gateway that runs on the state folder')
    .argument('<connection>', 'NAMESPACE/NAME of the AccessConnection', checkConnection)
    .argument(
      '[arguments...]',
      'arguments of psql, kubectl or curl (a path stands for its URL), or options and command of ssh, after --',
    )
    .option('--user <name>', 'SSH: the user on the target (default: one that the connection names)')
    .addOption(
      new Option(
        '-o, --output <format>',
        'json prints the connection parameters, token included, and starts nothing; config prints a Host block for ~/.ssh/config, a file for curl --config, or a kubeconfig',
      )
        .choices(['text', 'json', 'config'])
        .default('text'),
    )
    .addHelpText('after', EXAMPLES)
    .action((connection: string, words: string[], options: ConnectOptions) => connect(connection, words, options, io));
}

function checkConnection(text: string): string {
  if (!/^[^/]+\/[^/]+$/.test(text)) throw new InvalidArgumentError('Write NAMESPACE/NAME.');
  return text;
}

const OPENED = ['Postgres', 'SSH', 'HTTP', 'Kubernetes'] as const;

const isOpened = (protocol: string): protocol is (typeof OPENED)[number] => OPENED.some((each) => each === protocol);

/** The variables of libpq that lead to the connection. */
type Variables = Readonly<Record<string, string>>;

async function connect(label: string, words: readonly string[], options: ConnectOptions, io: CliIo): Promise<void> {
  const state = resolve(io.cwd, options.state);
  const endpoints = await readEndpoints(state);
  const endpoint = endpoints.connections.find(({ namespace, name }) => `${namespace}/${name}` === label);
  if (endpoint === undefined) {
    const known = endpoints.connections.map(({ namespace, name }) => `${namespace}/${name}`).join(', ');
    throw new CliError('SPC021', [label, state, known || 'none']);
  }
  const { protocol } = endpoint;
  if (!isOpened(protocol)) throw new CliError('SPC022', [label, protocol]);
  // A gateway that listens everywhere is reached on this machine.
  const host = endpoint.address === '0.0.0.0' ? '127.0.0.1' : endpoint.address === '::' ? '::1' : endpoint.address;
  await checkListening(host, endpoint.port, state);
  const token = await signDevelopmentToken(await developmentKey(state), tokenRequest(options), Date.now());
  if (protocol === 'HTTP') {
    const { plaintext, tls } = endpoints;
    await connectHttp({ host, port: endpoint.port, caFile: tls?.caFile, plaintext, token, state }, words, options, io);
    return;
  }
  if (protocol === 'Kubernetes') {
    const at = { label, host, port: endpoint.port, caFile: endpoints.tls?.caFile, state, token };
    await connectKubernetes(at, words, options, io);
    return;
  }
  await (protocol === 'SSH'
    ? connectSsh(
        { label, host, port: endpoint.port, user: options.user ?? endpoint.user, state, token },
        words,
        options,
        io,
      )
    : connectPostgres({ host, endpoint, endpoints, token }, words, options, io));
}

async function connectPostgres(
  at: { readonly host: string; readonly endpoint: Endpoint; readonly endpoints: Endpoints; readonly token: string },
  psqlArguments: readonly string[],
  options: ConnectOptions,
  io: CliIo,
): Promise<void> {
  const { host, endpoint, endpoints, token } = at;
  const caFile = endpoints.tls?.caFile;
  const variables: Variables = {
    PGHOST: host,
    PGPORT: String(endpoint.port),
    PGDATABASE: endpoint.database ?? endpoint.name,
    // Free text to the gateway; shown in psql's prompt.
    PGUSER: options.as.slice(options.as.lastIndexOf(':') + 1),
    PGPASSWORD: token,
    PGGSSENCMODE: 'disable',
    PGSSLMODE: endpoints.plaintext ? 'disable' : 'verify-full',
    ...(endpoints.plaintext || caFile === undefined ? {} : { PGSSLROOTCERT: caFile }),
  };
  switch (options.output) {
    case 'json':
      io.stdout.write(`${JSON.stringify(variables)}\n`);
      return;
    case 'config':
      throw new CliError('SPC026', [at.endpoint.name]);
    case 'text':
      await runPsql(psqlArguments, variables, io);
      return;
    default:
      options.output satisfies never;
  }
}

async function readEndpoints(state: string): Promise<Endpoints> {
  try {
    return JSON.parse(await readFile(join(state, 'run', 'endpoints.json'), 'utf8')) as Endpoints;
  } catch (error) {
    throw new CliError('SPC020', [state], error);
  }
}

/** The file outlives a gateway that was killed, and psql would only say that somebody refuses. */
function checkListening(host: string, port: number, state: string): Promise<void> {
  return new Promise((done, reject) => {
    const socket = dial({ host, port, timeout: 3_000 });
    const absent = (error?: Error): void => {
      socket.destroy();
      reject(new CliError('SPC020', [state], error));
    };
    socket.once('error', absent);
    socket.once('timeout', () => absent());
    socket.once('connect', () => {
      socket.destroy();
      done();
    });
  });
}

function runPsql(psqlArguments: readonly string[], variables: Variables, io: CliIo): Promise<void> {
  const env: Record<string, string | undefined> = { ...io.env };
  for (const name of CONFLICTING) delete env[name];
  return new Promise((done, reject) => {
    const psql = spawn('psql', [...psqlArguments], { stdio: 'inherit', env: { ...env, ...variables } });
    psql.once('error', (error) => {
      reject('code' in error && error.code === 'ENOENT' ? new CliError('SPC023', [], error) : error);
    });
    psql.once('exit', (status) => {
      // psql's 3 is a failed script; ours end at 2.
      io.setExitCode(status === 0 ? 0 : status === 2 ? 2 : 1);
      done();
    });
  });
}
