import { mkdtemp, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { describeWith } from '../support/requires.ts';
import { repositoryRoot } from '../support/sallyport.ts';
import { startSshGround } from '../support/ssh-ground.ts';
import { sshServer } from '../support/sshd.ts';

describeWith(sshServer, 'examples/ssh-hosts.yaml', () => {
  test('allows, denies and holds on a real host what it says', async () => {
    const example = await readFile(path.join(repositoryRoot, 'examples', 'ssh-hosts.yaml'), 'utf8');
    const [, policy = ''] = example.split('\n---\n');
    // The connection is that of the ground; the rules are the example's, for its agent.
    const resources = {
      'policy.yaml': policy
        .replace('selector: {matchLabels: {role: web}}', 'names: [host]')
        .replace('name: ops-agent}', 'name: agent}'),
    };
    const folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-example-'));
    await using g = await startSshGround({ resources });
    const shared = {
      options: [`ControlPath=${path.join(folder, 'control')}`, 'ControlMaster=auto', 'ControlPersist=30'],
    };
    // Whether the host has a service of that name is the host's affair: 126 would be ours.
    for (const allowed of ['systemctl status shop', 'journalctl -u shop -n 5', 'tail -n 5 /var/log/shop/app.log'])
      expect((await g.ssh([allowed], shared)).status, allowed).not.toBe(126);
    for (const denied of [
      'systemctl status other',
      'systemctl status shop; id',
      'journalctl -u shop > /tmp/x',
      'tail -n 5 /var/log/shop/../auth.log',
      'bash',
      'rm -rf /var/log/shop',
    ]) {
      const result = await g.ssh([denied], shared);
      expect(result.status, denied).toBe(126);
      expect(result.stderr, denied).toContain('SPS001');
    }
    const shell = g.start([], { flags: ['-tt'] });
    await shell.says(/this waits for approval.*Say in the ticket what the shell is for/);
    shell.child.kill('SIGINT');
    await shell.ended;
    await rm(folder, { recursive: true, force: true });
  }, 60_000);
});
