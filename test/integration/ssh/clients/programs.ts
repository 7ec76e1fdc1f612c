/** SSH clients of other languages, fetched once into .cache/ in pinned versions. */
import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { goProgram } from '../../../support/go-programs.ts';
import { pythonFolder } from '../../../support/python-packages.ts';

const run = promisify(execFile);

/** What a client's checks say, by name of the check. */
export type Results = Readonly<Record<string, unknown>>;

async function results(command: string, parameters: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Results> {
  const { stdout } = await run(command, [...parameters], { env: { ...process.env, ...env } });
  return JSON.parse(stdout) as Results;
}

export interface Server {
  readonly port: number;
  /** `ssh-ed25519 AAAA…` */
  readonly hostKey: string;
}

export interface Checks {
  /** Path of a private key that signs in as `deploy`. */
  readonly key: string;
  /** A port of the loopback address, as the server sees it, where an SSH server greets: the destination of forwards. */
  readonly destination: number;
  /** A folder of the server's that `deploy` may write. */
  readonly folder: string;
}

export async function paramiko(server: Server, { key, destination, folder }: Checks): Promise<Results> {
  const script = path.join(import.meta.dirname, 'checks_paramiko.py');
  return results('python3', [script, String(server.port), key, String(destination), folder], {
    PYTHONPATH: await pythonFolder(['paramiko==4.0.0']),
  });
}

/** golang.org/x/crypto/ssh */
export async function xcrypto(server: Server, { key, destination }: Checks): Promise<Results> {
  const program = await goProgram(path.join(import.meta.dirname, 'xcrypto'));
  return results(program, [String(server.port), key, String(destination), server.hostKey]);
}
