import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chmod, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CliError } from '../errors.ts';
import type { CliIo } from '../io.ts';

/** Where a gateway listens for an SSH connection, and the token to sign in with. */
export interface SshEndpoint {
  /** `NAMESPACE/NAME`. */
  readonly label: string;
  readonly host: string;
  readonly port: number;
  readonly user: string | undefined;
  /** State folder of the gateway. */
  readonly state: string;
  readonly token: string;
}

const TOKEN = 'SALLYPORT_TOKEN';

/**
 * Answers ssh's questions: the token, or the rest of it from the character that the question names, since ssh takes 1023 bytes at a time.
 */
const ASKPASS = `#!/bin/sh
case "$1" in
*"from character "*) from=\${1##*from character } from=\${from%%:*} ;;
*) from=1 ;;
esac
printf %s "$${TOKEN}" | tail -c "+$from" | head -c 1023
`;

/** The gateway's authority is all that is trusted, and nothing of this user's own leads elsewhere. */
const optionsOf = ({ port, state }: SshEndpoint): ReadonlyMap<string, string> =>
  new Map([
    ['Port', String(port)],
    ['UserKnownHostsFile', join(state, 'ssh', 'known_hosts')],
    ['GlobalKnownHostsFile', '/dev/null'],
    ['StrictHostKeyChecking', 'yes'],
    ['UpdateHostKeys', 'no'],
    ['PreferredAuthentications', 'keyboard-interactive'],
    ['PubkeyAuthentication', 'no'],
    ['NumberOfPasswordPrompts', '1'],
    ['ProxyCommand', 'none'],
  ]);

/** Only for a run with a token: a connection that somebody else has signed in to is not shared. */
const UNSHARED: readonly (readonly [string, string])[] = [['ControlPath', 'none']];

/**
 * Opens stock ssh, or prints what other programs need.
 * @param words options and command for ssh
 * @throws CliError SPC024, SPC025
 */
export async function connectSsh(
  endpoint: SshEndpoint,
  words: readonly string[],
  { output }: { readonly output: 'text' | 'json' | 'config' },
  io: CliIo,
): Promise<void> {
  const { label, host, port, user, state, token } = endpoint;
  const options = optionsOf(endpoint);
  if (user === undefined) throw new CliError('SPC025', [label]);
  switch (output) {
    case 'json':
      io.stdout.write(
        `${JSON.stringify({ host, port, user, token, knownHostsFile: join(state, 'ssh', 'known_hosts') })}\n`,
      );
      return;
    case 'config': {
      const lines = [['HostName', host], ['User', user], ...options].map(
        ([name, value]) => `  ${name} ${quoted(value)}`,
      );
      io.stdout.write(`Host ${label.replace('/', '-')}\n${lines.join('\n')}\n`);
      return;
    }
    case 'text': {
      const askpass = await askpassIn(state);
      const given = [...options, ...UNSHARED].flatMap(([name, value]) => ['-o', `${name}=${quoted(value)}`]);
      const env = { ...io.env, SSH_ASKPASS: askpass, SSH_ASKPASS_REQUIRE: 'force', [TOKEN]: token };
      await runSsh([...given, `${user}@${host}`, ...words], env, io);
      return;
    }
    default:
      output satisfies never;
  }
}

/** As ssh_config reads it: a path may have blanks. */
const quoted = (value = ''): string => (/^[A-Za-z0-9_./:@+-]+$/.test(value) ? value : `"${value}"`);

/** The program that ssh asks; it holds no secret. */
async function askpassIn(state: string): Promise<string> {
  const path = join(state, 'ssh', 'askpass');
  // Whole, or not at all: another connect may be about to run it.
  const draft = `${path}.${randomUUID()}`;
  await writeFile(draft, ASKPASS, { mode: 0o700, flag: 'wx' });
  await chmod(draft, 0o700);
  await rename(draft, path);
  return path;
}

function runSsh(words: readonly string[], env: Record<string, string | undefined>, io: CliIo): Promise<void> {
  return new Promise((done, reject) => {
    const ssh = spawn('ssh', words, { stdio: 'inherit', env });
    ssh.once('error', (error) => {
      reject('code' in error && error.code === 'ENOENT' ? new CliError('SPC024', [], error) : error);
    });
    ssh.once('exit', (status) => {
      // That of the command on the host, 126 where Sallyport denied it, or 255 of ssh itself.
      io.setExitCode(status ?? 1);
      done();
    });
  });
}
