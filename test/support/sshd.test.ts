import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { describeWith } from './requires.ts';
import { runClient, sshKey, sshParameters, sshServer, startSshd } from './sshd.ts';

describeWith(sshServer, 'the OpenSSH server of the tests', () => {
  test('lets a key in, gives exit statuses, and is gone afterwards', async () => {
    const folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-key-'));
    const key = await sshKey(path.join(folder, 'id'));
    let port: number;
    {
      await using sshd = await startSshd({ authorizedKeys: [key.publicKey] });
      port = sshd.port;
      const parameters = sshParameters({ ...sshd, port, identity: key.privateKeyPath });
      const done = await runClient('ssh', [...parameters, sshd.host, 'cat; echo no >&2; exit 7'], { input: 'yes' });
      expect([done.status, done.stdout.toString(), done.stderr]).toEqual([7, 'yes', 'no\n']);
      await sshd.logged(/Accepted publickey for deploy/);
    }
    const parameters = sshParameters({ port, knownHostsPath: '/dev/null', identity: key.privateKeyPath });
    expect((await runClient('ssh', [...parameters, '127.0.0.1', 'true'])).status).toBe(255);
    await rm(folder, { recursive: true });
  });
});
