/** exec, cp, attach, port-forward and logs of a real kubelet's pods, through Sallyport, over WebSocket and over SPDY. */
import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { startControlPlane } from '../cluster/control-plane.ts';
import { AGENT_IMAGE, agentImage, imageNeeds } from '../cluster/images.ts';
import { type KubeLaneGround, startKubeLaneGround } from '../cluster/kube-lane-ground.ts';
import { kubectl as kubectlProgram, nodeNeeds } from '../cluster/programs.ts';
import { freePort } from '../support/program.ts';
import { describeWith } from '../support/requires.ts';

/** A web server of one answer. */
const SERVER = `$s = IO::Socket::INET->new(LocalPort => 8080, Listen => 50, ReuseAddr => 1);
while ($c = $s->accept) { while (<$c>) { last if /^\\r?\\n/ } print $c "HTTP/1.0 200 OK\\r\\n\\r\\nfrom the pod\\n"; close $c }`;

const container = (name: string, command: readonly string[], more: object = {}): object => ({
  name,
  image: AGENT_IMAGE,
  command,
  ...more,
});

const POD = `---\n${JSON.stringify({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'web', namespace: 'default' },
  spec: {
    terminationGracePeriodSeconds: 0,
    containers: [
      container('web', ['sh', '-c', 'while true; do echo tick; sleep 1; done']),
      container('echo', ['sh', '-c', 'while read line; do echo "got $line"; done'], { stdin: true }),
      container('http', ['perl', '-MIO::Socket::INET', '-e', SERVER]),
    ],
  },
})}`;

const POLICY = `
apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: streams, namespace: default}
spec:
  connections: {all: true}
  subjects: [{serviceAccount: {name: agent}}]
  rules:
    - name: look
      effect: Allow
      kubernetes: {verbs: [get, list, watch], resources: [pods, pods/log], namespaces: [default]}
    - name: programs
      effect: Allow
      kubernetes:
        operations: [Exec]
        resources: [pods, pods/attach, pods/exec]
        namespaces: [default]
        # Programs that run what their words say are named.
        commands: ["**", sh, "sh -c **", "sleep **", "tar **", "head **"]
    - name: ports
      effect: Allow
      kubernetes: {operations: [PortForward], resources: [pods, pods/portforward], namespaces: [default]}
    - name: nothing-is-removed
      effect: Deny
      message: Ask the owners of the pod.
      # Of attach nobody knows what runs, so a rule about it would hit that, too.
      kubernetes: {operations: [Exec], resources: [pods/exec], commands: ["rm **"]}
    - name: people-agree
      effect: RequireApproval
      kubernetes: {operations: [Exec], resources: [pods/exec], commands: ["touch **"]}
      approval: {approvers: {groups: [on-call]}, timeout: 2m}
`;

const MASKS = `
apiVersion: sallyport.dev/v1alpha1
kind: MaskingRule
metadata: {name: people, namespace: default}
spec:
  connections: {names: [masked]}
  content: [{detectors: [Email]}]
`;

const SPDY = { KUBECTL_REMOTE_COMMAND_WEBSOCKETS: 'false', KUBECTL_PORT_FORWARD_WEBSOCKETS: 'false' };

describeWith([...nodeNeeds, ...imageNeeds], 'streams of a pod', () => {
  let ground!: KubeLaneGround;
  let kubectl!: string;
  const cleanup = new AsyncDisposableStack();
  beforeAll(async () => {
    const plane = cleanup.adopt(await startControlPlane({ node: true }), (made) => made.stop());
    await plane.loadImage(await agentImage());
    kubectl = await kubectlProgram();
    ground = cleanup.use(
      await startKubeLaneGround({
        plane,
        manifests: POD,
        connections: { cluster: '', masked: '' },
        resources: { 'streams.yaml': POLICY, 'masks.yaml': MASKS },
      }),
    );
    await plane.kubectl(['wait', '--for=condition=Ready', '--timeout=90s', 'pod/web']);
  }, 1_200_000);
  afterAll(() => cleanup.disposeAsync());

  const started = (text: string) => (event: { readonly e: string; readonly text?: unknown }) =>
    event.e === 'command.received' && String(event.text).includes(text);

  describe.each([
    { name: 'WebSocket', environment: {} },
    { name: 'SPDY', environment: SPDY },
  ])('over $name', ({ name, environment }) => {
    const exec = (command: readonly string[], more: { readonly input?: string; readonly connection?: string } = {}) =>
      ground.kubectl(['exec', ...(more.input === undefined ? [] : ['-i']), 'web', '-c', 'web', '--', ...command], {
        environment,
        ...more,
      });

    test('a command writes, reads and exits as it does without Sallyport', async () => {
      expect(await exec(['sh', '-c', 'echo out; echo err >&2; exit 3'])).toEqual({
        status: 3,
        stdout: 'out\n',
        stderr: 'err\ncommand terminated with exit code 3\n',
      });
      // The end of the input is passed on, or this would never end.
      expect(await exec(['sha256sum'], { input: 'hello\n' })).toMatchObject({
        status: 0,
        stdout: expect.stringContaining('5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03'),
      });
      const large = await exec(['sh', '-c', 'head -c 20000000 /dev/zero']);
      expect([large.status, large.stdout.length]).toEqual([0, 20_000_000]);
    });

    test("the API server's own refusals are shown as they are", async () => {
      const missing = await ground.kubectl(['exec', 'web', '-c', 'nope', '--', 'true'], { environment });
      expect(missing).toMatchObject({
        status: 1,
        stderr: 'Error from server (BadRequest): container nope is not valid for pod web\n',
      });
      expect((await exec(['no-such-program'])).stderr).toContain('executable file not found');
    });

    test('files are copied both ways', async () => {
      const [there, back] = [path.join(ground.folder, `there-${name}`), path.join(ground.folder, `back-${name}`)];
      const bytes = randomBytes(3_000_000);
      await writeFile(there, bytes);
      const up = await ground.kubectl(['cp', there, `web:/tmp/copy-${name}`, '-c', 'web'], { environment });
      expect(up).toMatchObject({ status: 0 });
      await ground.kubectl(['cp', `web:/tmp/copy-${name}`, back, '-c', 'web'], { environment });
      expect((await readFile(back)).equals(bytes)).toBe(true);
    });

    test('a terminal has its size, one output, and a recording', async () => {
      const marker = `marker-${name}`;
      const client = await ground.start(
        ['-qec', `stty rows 30 cols 99; ${kubectl} exec -it web -c web -- sh`, '/dev/null'],
        { program: 'script', environment },
      );
      // The size comes on a stream of its own, a moment after the input.
      const sized = 'until [ "$(stty size)" = "30 99" ]; do sleep 0.1; done';
      client.child.stdin?.write(`${sized}; echo ${marker.toUpperCase()} >&2; exit 4\n`);
      expect(await client.ended).toMatchObject({ status: 4 });
      expect(client.stdout()).toMatch(new RegExp(`^(# )?${marker.toUpperCase()}\\r?$`, 'm'));
      const events = await ground.recorded(
        (event) => event.e === 'command.executed' && JSON.stringify(event).includes(marker.toUpperCase()),
      );
      const outcome = events.find((event) => event.e === 'command.executed' && event['exit'] === 4);
      expect(JSON.stringify(outcome)).toContain('"r","99x30"');
      expect(outcome).toMatchObject({ stdin: { bytes: expect.any(Number) } });
    });

    test('a program that runs already is attached to', async () => {
      const client = await ground.start(['attach', '-i', 'web', '-c', 'echo'], { environment });
      client.child.stdin?.write(`${name}\n`);
      await client.says(new RegExp(`got ${name}`));
      client.child.kill();
      await client.ended;
    });

    test('ports are forwarded, several at a time', async () => {
      const port = await freePort();
      const client = await ground.start(['port-forward', 'pod/web', `${port}:8080`], { environment });
      await client.says(/Forwarding from/);
      const answers = await Promise.all(
        [1, 2, 3, 4].map(async () => (await fetch(`http://127.0.0.1:${port}/`)).text()),
      );
      expect(new Set(answers)).toEqual(new Set(['from the pod\n']));
      client.child.kill();
      await client.ended;
    });

    test('a denial is one request, which says by which rule', async () => {
      const { status, stderr } = await exec(['rm', '-rf', `/tmp/${name}`]);
      expect(status).toBe(1);
      expect(stderr).toContain('default/streams/nothing-is-removed');
      expect(stderr).toContain('Ask the owners of the pod');
      const events = await ground.recorded(started(`/tmp/${name}`));
      expect(events.filter(started(`/tmp/${name}`))).toHaveLength(1);
    });

    test('what needs people waits in band, and runs once they agreed', async () => {
      const file = `/tmp/held-${name}`;
      const client = await ground.start(['exec', 'web', '-c', 'web', '--', 'touch', file], { environment });
      await client.says(/waits for approval/);
      const request = await ground.pending();
      await ground.vote(request);
      expect(await client.ended).toMatchObject({ status: 0 });
      expect((await exec(['ls', file])).stdout).toBe(`${file}\n`);
      expect((await ground.requests()).filter((found) => JSON.stringify(found).includes(file))).toHaveLength(1);
    });

    test('output is masked, and what cannot be masked does not run', async () => {
      const connection = 'masked';
      const shown = await exec(['sh', '-c', 'echo mail ana@example.com; echo bob@example.com >&2'], { connection });
      expect(shown.status).toBe(0);
      expect(shown.stdout + shown.stderr).toMatch(/^mail \S+\n\S+\n$/);
      expect(shown.stdout + shown.stderr).not.toContain('@example.com');
      const port = await freePort();
      const forward = await ground.kubectl(['port-forward', 'pod/web', `${port}:8080`], { environment, connection });
      expect(forward.stderr).toContain('a forwarded port is not read');
      const attach = await ground.kubectl(['attach', '-i', 'web', '-c', 'echo'], { environment, connection });
      expect(attach.stderr).toContain('masking rules are in force here: default/people');
    });
  });

  test('logs follow', async () => {
    const client = await ground.start(['logs', '-f', 'web', '-c', 'web', '--tail=1']);
    await client.says(/tick\n(.|\n)*tick/);
    client.child.kill();
    await client.ended;
  });

  test('a change of policy ends what it does not allow any more, and leaves the rest alone', async () => {
    const run = (name: string, environment: NodeJS.ProcessEnv = {}) =>
      ground.start(['exec', 'web', '-c', 'web', '--', 'sh', '-c', `echo begun ${name}; sleep 1000`], { environment });
    const port = await freePort();
    const stays = await ground.start(['exec', 'web', '-c', 'web', '--', 'sleep', '1000']);
    const ends = [
      await run('websocket'),
      await run('spdy', SPDY),
      await ground.start(['attach', 'web', '-c', 'web']),
      await ground.start(['port-forward', 'pod/web', `${port}:8080`]),
    ] as const;
    const [websocket, spdy, attach, forward] = ends;
    await Promise.all([
      websocket.says(/begun/),
      spdy.says(/begun/),
      attach.says(/tick/),
      forward.says(/Forwarding/),
      ground.recorded(started('sleep&command=1000')),
    ]);
    const narrowed = POLICY.replace('["**", sh, "sh -c **", "sleep **", "tar **", "head **"]', '["sleep **"]').replace(
      'operations: [PortForward]',
      'operations: [Evict]',
    );
    await ground.edit('streams.yaml', narrowed);
    for (const client of [websocket, spdy, attach]) {
      expect((await client.ended).status).toBe(1);
      expect(client.stderr()).toContain('policy has changed, so it ends: ');
      expect(client.stderr()).toContain('SPL107');
    }
    await forward.ended;
    await vi.waitFor(async () => {
      const events = await ground.recorded();
      expect(events.filter((event) => event['code'] === 'SPL107')).toHaveLength(4);
    }, 15_000);
    // What another rule still allows is not disturbed, nor by what is masked elsewhere.
    await ground.edit('streams.yaml', POLICY);
    expect(stays.child.exitCode).toBeNull();
    await ground.edit('masks.yaml', MASKS.replace('[masked]', '[masked, cluster]'));
    expect((await stays.ended).status).toBe(1);
    expect(stays.stderr()).toContain('what is masked has changed');
    await ground.edit('masks.yaml', MASKS);
  });

  test('a right that is withdrawn ends what runs, and says so', async () => {
    const client = await ground.start(['exec', 'web', '-c', 'web', '--', 'sh', '-c', 'echo begun; sleep 1000']);
    await client.says(/begun/);
    await ground.edit('streams.yaml', POLICY.replace('{name: agent}', '{name: nobody}'));
    expect(await client.ended).toMatchObject({ status: 1 });
    expect(client.stderr()).toContain('your access was withdrawn');
  });
});
