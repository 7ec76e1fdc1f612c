import { afterAll, beforeAll, expect, test } from 'vitest';
import { describeWith } from '../support/requires.ts';
import { type SshGround, startSshGround } from '../support/ssh-ground.ts';
import { sshServer } from '../support/sshd.ts';

const POLICY = `
apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: agents}
spec:
  connections: {names: [host]}
  subjects: [{serviceAccount: {name: agent}}]
  rules:
    - name: anything
      effect: Allow
      ssh: {operations: [Exec], loginUsers: [deploy], commands: ["**"]}
`;

describeWith(sshServer, 'the SSH lane with stock ssh', () => {
  let g: SshGround;
  beforeAll(async () => {
    g = await startSshGround({ resources: { 'policy.yaml': POLICY } });
  }, 60_000);
  afterAll(() => g?.[Symbol.asyncDispose]());

  test('runs what is allowed', async () => {
    const result = await g.ssh(['echo hello']);
    console.log(result.stdout.toString(), result.stderr, result.status, g.gateway.output());
    expect(result).toMatchObject({ status: 0, stdout: Buffer.from('hello\n'), stderr: '' });
  });
});
