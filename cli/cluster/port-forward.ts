import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { NAMES, PORTS } from '../../api/cluster.ts';
import { CliError } from '../errors.ts';
import type { CliIo } from '../io.ts';
import type { Cluster } from './cluster.ts';

/** A way to the archive's port for people, as long as it is held. */
export interface Forward extends AsyncDisposable {
  /** On the loopback address. */
  readonly port: number;
}

const MAX_SAID = 4096;

/**
 * `kubectl port-forward`: whoever calls a plugin of kubectl has kubectl, and it signs in as they do, whatever their kubeconfig says. What goes
 * through is TLS from here to the archive. @throws CliError SPC060
 */
export async function forwardToArchive(cluster: Cluster, io: CliIo): Promise<Forward> {
  const target = [`service/${NAMES.archive}`, `:${PORTS.archiveReading}`];
  const words = [...cluster.kubectlFlags, '-n', cluster.operatorNamespace, 'port-forward', '--address', '127.0.0.1'];
  const child = spawn('kubectl', [...words, ...target], {
    cwd: io.cwd,
    env: { ...io.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = Promise.withResolvers<void>();
  let said = '';
  let failure: Error | undefined;
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = `${said}${text}`.slice(-MAX_SAID);
  });
  child.once('error', (error) => {
    failure = error;
    ended.resolve();
  });
  child.once('close', () => ended.resolve());
  const stop = (): void => void child.kill();
  io.signal.addEventListener('abort', stop, { once: true });
  const port = await Promise.race([
    listening(child.stdout),
    ended.promise.then(() => {
      throw new CliError('SPC060', [failure?.message ?? said.trim()], failure);
    }),
  ]);
  return {
    port,
    async [Symbol.asyncDispose]() {
      io.signal.removeEventListener('abort', stop);
      stop();
      await ended.promise;
    },
  };
}

/** `Forwarding from 127.0.0.1:40123 -> 8445` */
function listening(output: NodeJS.ReadableStream): Promise<number> {
  return new Promise((resolve) => {
    createInterface({ input: output }).on('line', (line) => {
      const port = /^Forwarding from 127\.0\.0\.1:(\d+) /.exec(line)?.[1];
      if (port !== undefined) resolve(Number(port));
    });
  });
}
