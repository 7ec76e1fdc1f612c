import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CliError } from '../errors.ts';
import type { CliIo } from '../io.ts';
import { curlWords } from './curl-words.ts';

/** Where a gateway listens for an HTTP connection, and the token to send. */
export interface HttpEndpoint {
  readonly host: string;
  readonly port: number;
  /** The authority to trust; undefined: the system's. */
  readonly caFile: string | undefined;
  /** Without TLS. */
  readonly plaintext: boolean;
  readonly token: string;
  /** State folder of the gateway. */
  readonly state: string;
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
      const paths = curlWords(words, url);
      await runCurl(
        paths.length === 0 ? ['--head', `${url}/`] : paths,
        curlConfiguration(endpoint),
        endpoint.state,
        io,
      );
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

/** @param state folder of the gateway, which is its user's alone */
async function runCurl(words: readonly string[], configuration: string, state: string, io: CliIo): Promise<void> {
  const file = join(state, 'run', `curl-${randomUUID()}`);
  await writeFile(file, configuration, { mode: 0o600, flag: 'wx' });
  try {
    await spawned(['--disable', '--config', file, ...words], io);
  } finally {
    await rm(file, { force: true });
  }
}

/** Nothing of this user's own (~/.curlrc) leads elsewhere. */
function spawned(words: readonly string[], io: CliIo): Promise<void> {
  return new Promise((done, reject) => {
    const curl = spawn('curl', words, { stdio: 'inherit', env: io.env });
    curl.once('error', (error) => {
      reject('code' in error && error.code === 'ENOENT' ? new CliError('SPC027', [], error) : error);
    });
    curl.once('exit', (status) => {
      io.setExitCode(status ?? 1);
      done();
    });
  });
}
