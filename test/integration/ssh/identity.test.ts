import { execFile } from 'node:child_process';
import { chmod, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { developmentKey, signDevelopmentToken } from '../../../proxy/identity/development.ts';
import { describeWith } from '../../support/requires.ts';
import { sallyport } from '../../support/sallyport.ts';
import { type SshGround, startSshGround } from '../../support/ssh-ground.ts';
import { runClient, type SshResult, sshKey, sshServer } from '../../support/sshd.ts';

const run = promisify(execFile);

const POLICY = `
apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: everybody-may-ask}
spec:
  connections: {all: true}
  subjects: [{serviceAccount: {name: agent}}, {serviceAccount: {name: bot}}, {user: "okta:ada"}]
  rules:
    - name: ask
      effect: Allow
      ssh: {operations: [Exec], loginUsers: [deploy], commands: ["id **", "echo **"]}
`;

describeWith(sshServer, 'who SSH clients are, and whom they trust', () => {
  let g: SshGround;
  let askpass = '';
  beforeAll(async () => {
    g = await startSshGround({ resources: { 'policy.yaml': POLICY } });
    askpass = join(g.folder, 'askpass');
    const script = `case "$1" in *"from character "*) f="\${1##*from character }" f="\${f%%:*}";; *) f=1;; esac
printf %s "$TOKEN" | tail -c "+$f" | head -c 1023
`;
    await writeFile(askpass, `#!/bin/sh\n${script}`);
    await chmod(askpass, 0o755);
  }, 60_000);
  afterAll(() => g?.[Symbol.asyncDispose]());

  /** Stock ssh that trusts the gateway's authority and nothing else, whatever it dials. */
  async function ssh(
    options: readonly string[],
    command: readonly string[],
    { token = '', host = '127.0.0.1' } = {},
  ): Promise<SshResult> {
    const all = [
      'StrictHostKeyChecking=yes',
      `UserKnownHostsFile=${join(g.state, 'ssh', 'known_hosts')}`,
      'GlobalKnownHostsFile=/dev/null',
      'IdentityAgent=none',
      'NumberOfPasswordPrompts=1',
      `Port=${g.port()}`,
      ...options,
    ];
    const env = { TOKEN: token, SSH_ASKPASS: askpass, SSH_ASKPASS_REQUIRE: 'force' };
    const parameters = ['-F', 'none', ...all.flatMap((option) => ['-o', option]), `deploy@${host}`, ...command];
    return runClient('ssh', parameters, { env });
  }
  const TOKEN = ['PubkeyAuthentication=no', 'PreferredAuthentications=keyboard-interactive'];
  const tokenOf = async (subject: string, padding = 0): Promise<string> =>
    signDevelopmentToken(
      await developmentKey(g.state),
      { subject, groups: [], claims: padding === 0 ? {} : { p: 'x'.repeat(padding) }, ttlSeconds: 600 },
      Date.now(),
    );

  test('a token is the answer to the only question, or the password, however long it is', async () => {
    const agent = 'system:serviceaccount:default:agent';
    const short = await tokenOf(agent);
    expect((await ssh(TOKEN, ['echo', 'in'], { token: short })).stdout.toString()).toBe('in\n');
    const password = ['PubkeyAuthentication=no', 'PreferredAuthentications=password'];
    expect((await ssh(password, ['echo', 'in'], { token: short })).stdout.toString()).toBe('in\n');
    const long = await tokenOf(agent, 2500);
    expect(long.length).toBeGreaterThan(3 * 1023);
    expect((await ssh(TOKEN, ['echo', 'long'], { token: long })).stdout.toString()).toBe('long\n');
    const cut = await ssh(password, ['echo', 'in'], { token: long });
    expect(cut).toMatchObject({ status: 255, stderr: expect.stringContaining('SPI047') });
    expect(cut.stderr).toContain('PreferredAuthentications=keyboard-interactive');
    const { method } = (await g.recorded(({ e, method }) => e === 'session.authenticated' && method === 'password'))
      .filter(({ e }) => e === 'session.authenticated')
      .at(0) ?? { method: undefined };
    expect(method).toBe('keyboard-interactive');
  });

  test('a refused token says why, and stays out of what is said', async () => {
    const refused = await ssh(TOKEN, ['id'], { token: 'hunter2' });
    expect(refused).toMatchObject({ status: 255, stderr: expect.stringContaining('sallyport: SPI003') });
    expect(refused.stderr).not.toContain('hunter2');
    const nobody = await ssh(TOKEN, ['id'], { token: await tokenOf('okta:eve') });
    expect(nobody).toMatchObject({
      status: 255,
      stderr: expect.stringContaining('okta:eve may not use this connection'),
    });
  });

  test('sallyport connect opens ssh on it, and ca ssh-hosts prints the line that it trusts', async () => {
    const connect = ['connect', 'default/host', '--as', 'okta:ada', '--state', g.state, '--'];
    expect(await sallyport([...connect, 'echo', 'connected'])).toMatchObject({ status: 0, stdout: 'connected\n' });
    const denied = await sallyport([...connect, 'cat', '/etc/passwd']);
    expect(denied).toMatchObject({ status: 126, stderr: expect.stringContaining('sallyport: denied') });
    const { stdout } = await sallyport(['ca', 'ssh-hosts', '--state', g.state]);
    expect(stdout).toBe(await readFile(join(g.state, 'ssh', 'known_hosts'), 'utf8'));
    const ca = await sallyport(['ca', 'ssh', 'default/user-ca', '--state', g.state, '--principal', 'deploy']);
    const [authority = ''] = (await readFile(join(g.folder, 'user-ca.pub'), 'utf8')).split('\n');
    expect(ca.stdout).toContain(authority.split(' ')[1]);
    expect(ca.stdout).toContain('TrustedUserCAKeys /etc/ssh/sallyport_ca.pub');
    expect(ca.stdout).toContain('# /etc/ssh/sallyport_principals/deploy: deploy');
  });

  test('a host key that the authority has not certified is not trusted, nor the authority for other names', async () => {
    const token = await tokenOf('okta:ada');
    expect((await ssh(TOKEN, ['echo', 'in'], { token, host: 'localhost' })).stdout.toString()).toBe('in\n');
    const other = await ssh([...TOKEN, 'HostKeyAlias=elsewhere.example'], ['id'], { token });
    expect(other).toMatchObject({ status: 255, stderr: expect.stringMatching(/host key verification failed/i) });
    expect((await stat(join(g.state, 'ssh', 'host_ca'))).mode & 0o777).toBe(0o600);
  });

  test('keys and certificates sign in as whom the connection says, until it says so no more', async () => {
    const [ca, user] = await Promise.all([sshKey(join(g.folder, 'corp-ca')), sshKey(join(g.folder, 'laptop'))]);
    const sign = async (...words: string[]): Promise<void> => {
      await run('ssh-keygen', ['-q', '-s', ca.privateKeyPath, '-I', 'ada', ...words, `${user.privateKeyPath}.pub`]);
    };
    const connection = join(g.resources, 'connection-host.yaml');
    const before = await readFile(connection, 'utf8');
    const trusted = `${before}    trustedUserCAs:
      - publicKey: ${ca.publicKey}
        maxLifetime: 1h
        subjects: [{principal: ada, user: "okta:ada"}, {principal: bot, serviceAccount: {name: bot}}]
`;
    await g.edit('connection-host.yaml', trusted);
    const key = (path: string): string[] => [
      'IdentitiesOnly=yes',
      `IdentityFile=${path}`,
      'PreferredAuthentications=publickey',
    ];
    await sign('-n', 'ada', '-V', '-1m:+30m');
    expect((await ssh(key(user.privateKeyPath), ['echo', 'ada'])).stdout.toString()).toBe('ada\n');
    await g.recorded(({ e, method }) => e === 'session.authenticated' && method === 'certificate');
    await sign('-n', 'ada', '-V', '-1m:+3h');
    const long = await ssh(key(user.privateKeyPath), ['id']);
    expect(long).toMatchObject({ status: 255, stderr: expect.stringContaining('longer than the 3600 s') });
    await sign('-n', 'root', '-V', '-1m:+30m');
    expect(await ssh(key(user.privateKeyPath), ['id'])).toMatchObject({ stderr: expect.stringContaining('SPI044') });
    await sign('-n', 'bot', '-V', '-1m:+30m');
    expect((await ssh(key(user.privateKeyPath), ['echo', 'bot'])).stdout.toString()).toBe('bot\n');

    expect((await ssh(key(g.keys.agent.privateKeyPath), ['echo', 'key'])).stdout.toString()).toBe('key\n');
    const options = ['ControlMaster=yes', `ControlPath=${g.folder}/m`, 'LogLevel=DEBUG1'];
    const master = g.start(['-N'], { options });
    await master.says(/Entering interactive session/);
    await g.edit('connection-host.yaml', trusted.replaceAll(/^.*account: agent.*$|^.*name: agent}.*$/gm, ''));
    expect((await master.ended).status).toBe(255);
    expect(master.stderr()).toContain('was taken out of default/host');
    expect((await ssh(key(g.keys.agent.privateKeyPath), ['id'])).status).toBe(255);
    await g.edit('connection-host.yaml', before);
  });
});
