import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CliError } from '../errors.ts';
import type { CliIo } from '../io.ts';

/** Where a gateway listens for a Kubernetes connection, and the token to send. */
export interface KubernetesEndpoint {
  /** `NAMESPACE/NAME`. */
  readonly label: string;
  readonly host: string;
  readonly port: number;
  /** The authority to trust; undefined: the system's. */
  readonly caFile: string | undefined;
  /** State folder of the gateway. */
  readonly state: string;
  readonly token: string;
}

/** Clients of Kubernetes send no token without TLS, which a gateway offers always. */
const serverOf = ({ host, port }: KubernetesEndpoint): string =>
  `https://${host.includes(':') ? `[${host}]` : host}:${port}`;

/**
 * Opens stock kubectl, or prints what other programs need.
 * @param words arguments of kubectl
 * @throws CliError SPC028
 */
export async function connectKubernetes(
  endpoint: KubernetesEndpoint,
  words: readonly string[],
  { output }: { readonly output: 'text' | 'json' | 'config' },
  io: CliIo,
): Promise<void> {
  const { caFile, token, state } = endpoint;
  switch (output) {
    case 'json':
      io.stdout.write(
        `${JSON.stringify({ server: serverOf(endpoint), token, ...(caFile === undefined ? {} : { caFile }) })}\n`,
      );
      return;
    case 'config':
      io.stdout.write(await kubeconfig(endpoint));
      return;
    case 'text': {
      const folder = join(state, 'run');
      await mkdir(folder, { recursive: true, mode: 0o700 });
      const file = join(folder, `kubeconfig-${randomUUID()}`);
      await writeFile(file, await kubeconfig(endpoint), { mode: 0o600, flag: 'wx' });
      try {
        await runKubectl(words.length === 0 ? ['version'] : words, { ...io.env, KUBECONFIG: file }, io);
      } finally {
        await rm(file, { force: true });
      }
      return;
    }
    default:
      output satisfies never;
  }
}

/** JSON is YAML. The authority stands in it, so that it can be carried elsewhere. */
async function kubeconfig(endpoint: KubernetesEndpoint): Promise<string> {
  const name = endpoint.label.replace('/', '-');
  const ca = endpoint.caFile === undefined ? undefined : (await readFile(endpoint.caFile)).toString('base64');
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      {
        name,
        cluster: {
          server: serverOf(endpoint),
          ...(ca === undefined ? {} : { 'certificate-authority-data': ca }),
        },
      },
    ],
    users: [{ name, user: { token: endpoint.token } }],
    contexts: [{ name, context: { cluster: name, user: name } }],
    'current-context': name,
  };
  return `${JSON.stringify(config, null, 2)}\n`;
}

function runKubectl(words: readonly string[], env: Record<string, string | undefined>, io: CliIo): Promise<void> {
  return new Promise((done, reject) => {
    const kubectl = spawn('kubectl', [...words], { stdio: 'inherit', env });
    kubectl.once('error', (error) => {
      reject('code' in error && error.code === 'ENOENT' ? new CliError('SPC028', [], error) : error);
    });
    kubectl.once('exit', (status) => {
      io.setExitCode(status ?? 1);
      done();
    });
  });
}
