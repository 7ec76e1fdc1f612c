import { spawn } from 'node:child_process';
import { CliError } from '../errors.ts';
import type { CliIo } from '../io.ts';

/** Where a gateway listens for an HTTP connection, and the token to send. */
export interface HttpEndpoint {
  readonly host: string;
  readonly port: number;
  /** The authority to trust; undefined: the system's. */
  readonly caFile: string | undefined;
  /** Without TLS. */
  readonly plaintext: boolean;
  readonly token: string;
}

/** What stands before every path. */
export function baseUrl({ host, port, plaintext }: HttpEndpoint): string {
  return `${plaintext ? 'http' : 'https'}://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/**
 * Opens stock curl, or prints what other programs need.
 * @param words arguments of curl; one that begins with `/` is a path at the target
 * @throws CliError SPC027
 */
export async function connectHttp(
  endpoint: HttpEndpoint,
  words: readonly string[],
  { output }: { readonly output: 'text' | 'json' | 'config' },
  io: CliIo,
): Promise<void> {
  const url = baseUrl(endpoint);
  const { caFile, plaintext, token } = endpoint;
  switch (output) {
    case 'json':
      io.stdout.write(`${JSON.stringify({ url, token, ...(plaintext || caFile === undefined ? {} : { caFile }) })}\n`);
      return;
    case 'config':
      io.stdout.write(curlConfiguration(endpoint));
      return;
    case 'text': {
      const paths = words.map((word) => (word.startsWith('/') ? `${url}${word}` : word));
      await runCurl(paths.length === 0 ? ['--head', `${url}/`] : paths, curlConfiguration(endpoint), io);
      return;
    }
    default:
      output satisfies never;
  }
}

/** A file for `curl --config`: what is in it shows in no list of processes. */
function curlConfiguration(endpoint: HttpEndpoint): string {
  const { host, caFile, plaintext, token } = endpoint;
  const lines = [
    `oauth2-bearer = ${quoted(token)}`,
    // A proxy of the environment would get the token.
    `noproxy = ${quoted(host)}`,
    ...(plaintext || caFile === undefined ? [] : [`cacert = ${quoted(caFile)}`]),
  ];
  return `${lines.join('\n')}\n`;
}

const quoted = (value: string): string => `"${value.replace(/[\\"]/g, (one) => `\\${one}`)}"`;

function runCurl(words: readonly string[], configuration: string, io: CliIo): Promise<void> {
  return new Promise((done, reject) => {
    // Nothing of this user's own (~/.curlrc) leads elsewhere.
    const curl = spawn('curl', ['--disable', '--config', '/dev/fd/3', ...words], {
      stdio: ['inherit', 'inherit', 'inherit', 'pipe'],
      env: io.env,
    });
    const given = curl.stdio[3] as NodeJS.WritableStream;
    // It may end before it has read it, such as for an option that it does not know.
    given.on('error', () => {});
    given.end(configuration);
    curl.once('error', (error) => {
      reject('code' in error && error.code === 'ENOENT' ? new CliError('SPC027', [], error) : error);
    });
    curl.once('exit', (status) => {
      io.setExitCode(status ?? 1);
      done();
    });
  });
}
