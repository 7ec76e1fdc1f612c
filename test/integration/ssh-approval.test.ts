import { access, readFile, rm } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { stateOf } from '../support/approval-ground.ts';
import { describeWith } from '../support/requires.ts';
import { type SshGround, startSshGround } from '../support/ssh-ground.ts';
import { sshServer } from '../support/sshd.ts';

const rules = (more = ''): string => `
apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: operations}
spec:
  connections: {all: true}
  subjects: [{serviceAccount: {name: agent}}]
  rules:
    - name: restart
      effect: Allow
      message: A restart interrupts customers.
      ssh: {operations: [Exec, WriteFile], loginUsers: [deploy], commands: ["tee **", "cat **"], paths: ["/tmp/**"]}
      approval: {approvers: {groups: [on-call]}, timeout: 1m}
    - name: later
      effect: Allow
      ssh: {operations: [Exec], loginUsers: [deploy], commands: ["uptime **"]}
      approval: {hold: Reject, timeout: 1m}
    - name: shell
      effect: Allow
      ssh: {operations: [Shell], loginUsers: [deploy]}
      approval: {timeout: 1m}
      limits: {maxDuration: 2s}
${more}`;

describeWith(sshServer, 'commands that wait for people', () => {
  let g: SshGround;
  beforeAll(async () => {
    g = await startSshGround({ resources: { 'policy.yaml': rules() } });
  });
  afterAll(async () => {
    await g?.[Symbol.asyncDispose]();
    await rm(`/tmp/approved-${process.pid}`, { force: true });
  });

  test('wait, say at once who may approve and how, and run exactly once when they are approved', async () => {
    const held = g.start([`tee -a /tmp/approved-${process.pid}`]);
    held.child.stdin?.end('once\n');
    await held.says(/this waits for approval/);
    const request = await g.pending();
    const text = held.stderr();
    expect(text).toContain('A restart interrupts customers.');
    expect(text).toContain(`sallyport approve ${request.metadata.name} -n default`);
    expect(text).toContain('group on-call');
    expect(text).toContain('Ctrl-C withdraws');
    expect(request.spec.request).toMatchObject({
      protocol: 'SSH',
      loginUser: 'deploy',
      summary: expect.stringContaining('tee -a /tmp/approved'),
      effects: expect.arrayContaining([expect.stringContaining('tee')]),
    });
    expect(request.spec.preview?.unavailable).toContain('cannot be estimated');
    await g.vote(request);
    expect((await held.ended).status).toBe(0);
    expect(held.stdout()).toBe('once\n');
    const done = await g.request(
      (found) => found.metadata.name === request.metadata.name && stateOf(found) === 'Executed',
    );
    expect(stateOf(done)).toBe('Executed');
    expect(await readFile(`/tmp/approved-${process.pid}`, 'utf8')).toBe('once\n');
    const events = await g.recorded((event) => event.e === 'command.executed' && event['exit'] === 0);
    expect(events.find((event) => event.e === 'command.released')).toMatchObject({
      state: 'Consumed',
      votes: [expect.objectContaining({ voter: 'ada' })],
    });
    // The approval is used up: the same command asks again.
    const again = g.start([`tee -a /tmp/approved-${process.pid}`]);
    await again.says(/this waits for approval/);
    again.child.kill('SIGINT');
    await again.ended;
    expect(await readFile(`/tmp/approved-${process.pid}`, 'utf8')).toBe('once\n');
  });

  test('do not run when they are denied', async () => {
    const held = g.start(['cat /etc/hostname-a']);
    await held.says(/this waits for approval/);
    await g.vote(await g.pending(), g.ada, 'Deny');
    expect((await held.ended).status).toBe(126);
    expect(held.stderr()).toContain('SPS003');
    expect(held.stderr()).toContain('was denied by ada');
  });

  test('are withdrawn by Ctrl-C and by the end of the channel, and then approve nothing', async () => {
    const [interrupted] = [g.start(['cat /etc/hostname-b'])];
    await interrupted.says(/this waits for approval/);
    const first = await g.pending();
    interrupted.child.kill('SIGINT');
    await interrupted.ended;
    await g.request(({ metadata, status }) => metadata.name === first.metadata.name && status?.state === 'Withdrawn');

    const control = `${g.folder}/shared`;
    const shared = { options: [`ControlPath=${control}`, 'ControlMaster=yes', 'LogLevel=DEBUG1'], flags: ['-N'] };
    const master = g.start([], shared);
    await master.says(/Entering interactive session/);
    const closed = g.start(['cat /etc/hostname-c'], { options: [`ControlPath=${control}`] });
    await closed.says(/this waits for approval/);
    const second = await g.pending();
    closed.child.kill('SIGTERM');
    await closed.ended;
    await g.request(({ metadata, status }) => metadata.name === second.metadata.name && status?.state === 'Withdrawn');
    master.child.kill();
    await master.ended;
    const events = await g.recorded((event) => event.e === 'command.released' && event['state'] === 'Withdrawn');
    expect(events.some((event) => event.e === 'command.executed' && /hostname-[bc]/.test(String(event['text'])))).toBe(
      false,
    );
  });

  test('are withdrawn by the Ctrl-C of a terminal, and what was typed before is for the program', async () => {
    const interrupted = g.start(['cat /etc/hostname-e'], { flags: ['-tt'] });
    await interrupted.says(/this waits for approval/);
    const first = await g.pending();
    interrupted.child.stdin?.write('typed\x03');
    expect((await interrupted.ended).status).toBe(126);
    await g.request(({ metadata, status }) => metadata.name === first.metadata.name && status?.state === 'Withdrawn');

    const shell = g.start([], { flags: ['-tt'] });
    await shell.says(/this waits for approval/);
    shell.child.stdin?.write('echo typed-$((40+2)); exit 9\n');
    await g.vote(await g.pending());
    expect((await shell.ended).status).toBe(9);
    expect(shell.stdout()).toContain('typed-42');
  });

  test('with hold: Reject are refused at once, and pass once after the approval', async () => {
    const first = await g.ssh(['uptime -p']);
    expect(first.status).toBe(126);
    expect(first.stderr).toContain('ask for exactly the same again');
    const request = await g.pending();
    await g.vote(request);
    expect((await g.ssh(['uptime -p'])).status).toBe(0);
    expect((await g.ssh(['uptime -p'])).status).toBe(126);
    await g.vote(await g.pending(), g.ada, 'Deny');
  });

  test('a shell that was approved ends when its time is over', async () => {
    const shell = g.start([], { flags: ['-tt'] });
    await shell.says(/this waits for approval/);
    await g.vote(await g.pending());
    await shell.says(/observed, not controlled/);
    expect((await shell.ended).status).toBe(126);
    expect(shell.stderr()).toContain('the time of this shell is over: it was 2 s');
  });

  test('are decided again when the policy changes while they wait', async () => {
    const held = g.start(['cat /etc/hostname-d']);
    await held.says(/this waits for approval/);
    const deny = `    - name: never
      effect: Deny
      ssh: {operations: [Exec], commands: ["cat **"]}
`;
    await g.edit('policy.yaml', rules(deny));
    expect((await held.ended).status).toBe(126);
    expect(held.stderr()).toContain('default/operations/never');
    await g.edit('policy.yaml', rules());
  });

  test('of one kind approve nothing of another, however alike they are written', async () => {
    const either = rules().replace(
      '{operations: [Shell], loginUsers: [deploy]}\n      approval: {timeout: 1m}',
      '{operations: [Exec, Shell], loginUsers: [deploy], commands: [shell]}\n      approval: {timeout: 1m, reuseFor: 10m}',
    );
    await g.edit('policy.yaml', either);
    const harmless = g.start(['shell']);
    await harmless.says(/this waits for approval/);
    await g.vote(await g.pending());
    expect((await harmless.ended).status).toBe(127);
    expect((await g.ssh(['shell'])).status).toBe(127);
    const shell = g.start([], { flags: ['-T'] });
    await shell.says(/this waits for approval|observed, not controlled/);
    expect(shell.stderr()).toContain('this waits for approval');
    shell.child.kill('SIGINT');
    await shell.ended;
    await g.edit('policy.yaml', rules());
  });

  test('outlive nothing: a gateway that is killed runs nothing, and its request is no longer held', async () => {
    const held = g.start([`tee -a /tmp/never-${process.pid}`]);
    held.child.stdin?.end('never\n');
    await held.says(/this waits for approval/);
    const request = await g.pending();
    await g.restart();
    expect((await held.ended).status).toBe(255);
    await g.vote(request);
    const events = await g.recorded((event) => event.e === 'session.interrupted');
    expect(events.length).toBeGreaterThan(0);
    await expect(access(`/tmp/never-${process.pid}`)).rejects.toThrow('ENOENT');
  });
});
