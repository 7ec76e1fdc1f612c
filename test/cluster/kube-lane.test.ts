/** The Kubernetes lane before a real API server, with stock kubectl and with clients that lie. */

import { mkdir, readFile, writeFile } from 'node:fs/promises';
import http2 from 'node:http2';
import path from 'node:path';
import tls from 'node:tls';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { loadConfiguration } from '../../api/configuration.ts';
import { checkRules } from '../../api/rules.ts';
import { loadKubeConfig } from '../../kube/access.ts';
import { createClusterIdentity } from '../../proxy/cluster/own-identity.ts';
import { startWorker } from '../../proxy/standalone/worker.ts';
import { stateOf } from '../support/approval-ground.ts';
import { recordedTexts } from '../support/recorded.ts';
import { describeWith, root } from '../support/requires.ts';
import { mountSmallDisk } from '../support/small-disk.ts';
import { controlPlaneNeeds } from './control-plane.ts';
import { clientOf } from './kube-ground.ts';
import { type KubeLaneGround, startKubeLaneGround } from './kube-lane-ground.ts';

const LIMIT = { timeout: 60_000 };

const policy = (extra = ''): string => `
apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: agents, namespace: default}
spec:
  connections: {all: true}
  subjects: [{serviceAccount: {name: agent}}]
  rules:
    - name: work
      effect: Allow
      kubernetes: {verbs: ["*"], apiGroups: ["*"], resources: ["*"], namespaces: [default, other]}
    - name: scale
      effect: Allow
      kubernetes: {operations: [Scale], namespaces: [default]}
    - name: ask-scale-out
      effect: RequireApproval
      message: Scaling out costs money.
      kubernetes: {operations: [ScaleOut]}
      approval: {requiredApprovals: 1, approvers: {groups: [on-call]}}
    - name: ask-delete
      effect: RequireApproval
      kubernetes: {verbs: [delete], resources: [configmaps], namespaces: [other]}
      approval: {requiredApprovals: 1, hold: Reject, approvers: {groups: [on-call]}}
    - name: no-namespace-delete
      effect: Deny
      message: Namespaces stay.
      kubernetes: {verbs: [delete, deletecollection], resources: [namespaces]}
${extra}`;

const OBJECTS = `
apiVersion: v1
kind: Namespace
metadata: {name: other}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: kept, namespace: other}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: default, labels: {app: web}}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: example.invalid/web}]}
`;

interface Status {
  readonly kind: string;
  readonly code: number;
  readonly reason: string;
  readonly message: string;
  readonly details: {
    readonly name?: string;
    readonly kind?: string;
    readonly retryAfterSeconds?: number;
    readonly causes: readonly { readonly reason: string; readonly message: string }[];
  };
}

const statusOf = ({ json }: { readonly json: unknown }): Status => json as Status;

describeWith(controlPlaneNeeds, 'the Kubernetes lane', () => {
  let ground: KubeLaneGround;

  beforeAll(async () => {
    ground = await startKubeLaneGround({
      controlPlane: { audit: 'Metadata' },
      manifests: OBJECTS,
      resources: { 'agents.yaml': policy() },
      connections: { cluster: '', other: 'credential: {secretRef: {name: other}}' },
    });
  }, 120_000);
  afterAll(() => ground?.[Symbol.asyncDispose]());

  const replicas = async (): Promise<number> =>
    (await ground.plane.get<{ spec: { replicas: number } }>('deployment', 'web', 'default')).spec.replicas;

  it('shows the API server who asks, and in which session', LIMIT, async () => {
    const { stdout, status } = await ground.kubectl(['auth', 'whoami', '-o', 'json']);
    expect(status).toBe(0);
    const { userInfo } = (JSON.parse(stdout) as { status: { userInfo: Record<string, unknown> } }).status;
    expect(userInfo).toMatchObject({
      username: 'system:serviceaccount:default:agent',
      groups: ['system:serviceaccounts', 'system:serviceaccounts:default', 'system:authenticated'],
      extra: { 'sallyport.dev/session': [expect.stringMatching(/^[a-z0-9]+-[0-9a-f]{16}$/)] },
    });
  });

  it('denies in words that kubectl prints and its libraries know', LIMIT, async () => {
    const shown = await ground.kubectl(['delete', 'namespace', 'other']);
    expect(shown.status).toBe(1);
    expect(shown.stderr).toMatch(
      /^Error from server \(Forbidden\): sallyport: denied: .*namespaces.* other\. Namespaces stay\. rule default\/agents\/no-namespace-delete\. Allowed here: .*\(SPL001, session [^)]+\)\n$/,
    );
    const answer = await ground.request('DELETE', '/api/v1/namespaces/other', {
      headers: { accept: 'application/vnd.kubernetes.protobuf' },
    });
    expect(answer.status).toBe(403);
    expect(answer.headers.get('content-type')).toBe('application/json');
    const status = statusOf(answer);
    expect(status).toMatchObject({
      kind: 'Status',
      apiVersion: 'v1',
      status: 'Failure',
      reason: 'Forbidden',
      code: 403,
    });
    expect(status.details).toMatchObject({ name: 'other', kind: 'namespaces' });
    const causes = new Map(status.details.causes.map(({ reason, message }) => [reason, message]));
    expect(causes.get('SallyportRule')).toBe('default/agents/no-namespace-delete');
    expect(causes.get('SallyportCode')).toBe('SPL001');
    await expect(ground.plane.get('namespace', 'other')).resolves.toBeDefined();
  });

  it('records in the shape of audit.k8s.io, with the id that the API server logs', LIMIT, async () => {
    expect((await ground.kubectl(['get', 'deployments', '-l', 'app=web'])).status).toBe(0);
    const words = 'kubectl get deployments -n default -l app=web';
    const events = await ground.recorded((event) => JSON.stringify(event).includes(words));
    const received = events.find((event) => JSON.stringify(event['details'] ?? '').includes(words));
    const details = received?.['details'] as { kubernetes: { audit: Record<string, unknown> } };
    expect(details.kubernetes.audit).toMatchObject({
      kind: 'Event',
      apiVersion: 'audit.k8s.io/v1',
      stage: 'RequestReceived',
      verb: 'list',
      requestURI: expect.stringMatching(/^\/apis\/apps\/v1\/namespaces\/default\/deployments\?/),
      user: { username: 'system:serviceaccount:default:agent' },
      objectRef: { resource: 'deployments', namespace: 'default', apiGroup: 'apps', apiVersion: 'v1' },
      annotations: { 'sallyport.dev/decision': 'Allow', 'sallyport.dev/rules': 'default/agents/work' },
    });
    const { auditID } = details.kubernetes.audit;
    const ended = await ground.recorded(
      (event) => event.e === 'command.executed' && JSON.stringify(event).includes(String(auditID)),
    );
    expect(ended.some((event) => event.e === 'command.executed' && event['status'] === 200)).toBe(true);
    await vi.waitFor(async () => {
      const logged = (await ground.plane.audit()).find((event) => event['auditID'] === auditID);
      expect(logged).toMatchObject({ impersonatedUser: { username: 'system:serviceaccount:default:agent' } });
    }, 15_000);
  });

  it('lets no identity of the client through, however it is written', LIMIT, async () => {
    const me = async (headers: Record<string, string>): Promise<unknown> => {
      const answer = await ground.request('POST', '/apis/authentication.k8s.io/v1/selfsubjectreviews', {
        body: { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' },
        headers,
      });
      expect(answer.status).toBe(201);
      const { status } = answer.json as { status: { userInfo: { username: string; extra: object; groups: string[] } } };
      expect(Object.keys(status.userInfo.extra)).toEqual(['sallyport.dev/session']);
      expect(status.userInfo.groups).not.toContain('system:masters');
      return status.userInfo.username;
    };
    const agent = 'system:serviceaccount:default:agent';
    for (const headers of [
      { 'Impersonate-User': 'admin', 'Impersonate-Group': 'system:masters' },
      {
        'IMPERSONATE-UID': '1',
        'impersonate-extra-scopes': 'all',
        'Impersonate-Extra-sallyport.dev%2fsession': 'other',
      },
      { 'X-Remote-User': 'admin', 'X-Remote-Group': 'system:masters', 'X-Remote-Extra-a': 'b' },
      { 'X-Forwarded-User': 'admin', Forwarded: 'for=1.2.3.4', 'X-Forwarded-For': '127.0.0.1' },
      { Cookie: 'token=abc', 'Proxy-Authorization': 'Bearer abc' },
      { Connection: 'keep-alive, Impersonate-User', 'Impersonate-User': 'admin' },
    ] as Record<string, string>[]) {
      await expect(me(headers)).resolves.toBe(agent);
    }
  });

  it('lets none through over HTTP/2 either', LIMIT, async () => {
    const client = http2.connect(ground.server(), { ca: await readFile(ground.caFile) });
    try {
      const asked = client.request({
        ':method': 'POST',
        ':path': '/apis/authentication.k8s.io/v1/selfsubjectreviews',
        authorization: `Bearer ${await ground.token()}`,
        'content-type': 'application/json',
        'impersonate-user': 'admin',
        'impersonate-group': ['system:masters', 'a'],
        'x-remote-user': 'admin',
      });
      asked.end(JSON.stringify({ apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' }));
      let text = '';
      for await (const chunk of asked.setEncoding('utf8')) text += String(chunk);
      const { status } = JSON.parse(text) as { status: { userInfo: { username: string } } };
      expect(status.userInfo.username).toBe('system:serviceaccount:default:agent');
    } finally {
      client.close();
    }
  });

  it('takes no token that the API server takes, and gives the API server none of its own', LIMIT, async () => {
    const theirs = (await ground.plane.kubectl(['create', 'token', 'agent'])).trim();
    const answer = await ground.request('GET', '/api/v1/namespaces/default/pods', {
      headers: { authorization: `Bearer ${theirs}` },
    });
    expect(answer.status).toBe(401);
    expect(statusOf(answer)).toMatchObject({ kind: 'Status', reason: 'Unauthorized' });
    const nobody = await ground.request('GET', '/version', { headers: { authorization: '' } });
    expect(nobody.status).toBe(401);
    const whole = JSON.stringify(await ground.recorded());
    for (const secret of [
      theirs,
      await ground.token(),
      (await readFile(path.join(ground.state, 'secrets/default/cluster-token/token'), 'utf8')).trim(),
    ]) {
      expect(whole).not.toContain(secret);
      expect(ground.gateway.output()).not.toContain(secret);
    }
  });

  it('knows the token of a browser in a subprotocol, and does not pass it on', LIMIT, async () => {
    const token = Buffer.from(await ground.token()).toString('base64url');
    const socket = tls.connect({ port: ground.port(), host: '127.0.0.1', ca: await readFile(ground.caFile) });
    const protocols = `base64url.bearer.authorization.k8s.io.${token}, v5.channel.k8s.io`;
    socket.write(
      'GET /api/v1/namespaces/kube-system/pods/none/exec?command=id&stdout=true HTTP/1.1\r\nHost: cluster\r\n' +
        'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' +
        `Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: ${protocols}\r\n\r\n`,
    );
    let text = '';
    for await (const chunk of socket.setEncoding('latin1')) {
      text += String(chunk);
      if (text.includes('SPL001') || text.includes('SPI')) break;
    }
    socket.destroy();
    // It is known who asks, and denied what is asked: not 401.
    expect(text).toContain('SPL001');
    expect(text).not.toContain(token);
  });

  it('carries no other WebSocket, and says so', LIMIT, async () => {
    for (const target of [
      '/api/v1/namespaces/default/services/web/proxy/socket',
      '/api/v1/namespaces/default/configmaps?watch=true',
    ]) {
      const socket = tls.connect({ port: ground.port(), host: '127.0.0.1', ca: await readFile(ground.caFile) });
      socket.write(
        `GET ${target} HTTP/1.1\r\nHost: cluster\r\nAuthorization: Bearer ${await ground.token()}\r\n` +
          'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' +
          'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
      );
      let text = '';
      for await (const chunk of socket.setEncoding('latin1')) {
        text += String(chunk);
        if (text.includes('SPL')) break;
      }
      socket.destroy();
      expect(text).toMatch(/^HTTP\/1[.]1 403 /);
      expect(text).toMatch(/websocket is carried for exec, attach and port-forward of pods alone.*SPL008/);
    }
  });

  it('signs in with a kubeconfig that is whole in itself, and with no other', LIMIT, async () => {
    const whole = await readFile(await ground.plane.clientAs('gateway', ['system:masters']), 'utf8');
    const config = JSON.parse(whole) as { users: { user: object }[] };
    const secret = path.join(ground.state, 'secrets', 'default', 'other');
    await mkdir(secret, { recursive: true, mode: 0o700 });
    const running = { ...config, users: [{ name: 'user', user: { exec: { command: 'touch', args: ['ran'] } } }] };
    await writeFile(path.join(secret, 'kubeconfig'), JSON.stringify(running), { mode: 0o600 });
    const refused = await ground.kubectl(['auth', 'whoami'], { connection: 'other' });
    expect(refused.stderr).toContain('exec plugins are not run');
    await writeFile(path.join(secret, 'kubeconfig'), whole, { mode: 0o600 });
    const { stdout } = await ground.kubectl(['auth', 'whoami', '-o', 'jsonpath={.status.userInfo.username}'], {
      connection: 'other',
    });
    expect(stdout).toBe('gateway');
  });

  it('has tokens made for accounts', LIMIT, async () => {
    const access = await loadKubeConfig({ kubeconfig: ground.plane.kubeconfig, env: {} });
    const client = await clientOf(ground.plane.kubeconfig);
    try {
      const identity = createClusterIdentity({ access, client });
      expect(await identity.signIn()).toMatchObject({ clientCertificate: { key: expect.stringContaining('KEY') } });
      const { token, expiresAt } = await identity.serviceAccountToken(
        { namespace: 'default', name: 'agent' },
        { audiences: [], ttlSeconds: 600 },
        AbortSignal.timeout(10_000),
      );
      expect(expiresAt.getTime()).toBeGreaterThan(Date.now() + 500_000);
      const review = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec: { token } };
      const { body } = await client.request('POST', '/apis/authentication.k8s.io/v1/tokenreviews', { body: review });
      expect(JSON.parse(body.toString())).toMatchObject({
        status: { authenticated: true, user: { username: 'system:serviceaccount:default:agent' } },
      });
    } finally {
      client.close();
    }
  });

  it('holds what needs people, and makes exactly that request, once', LIMIT, async () => {
    const scaled = ground.kubectl(['scale', 'deployment/web', '--replicas=3']);
    const request = await ground.pending();
    expect(request.spec.request).toMatchObject({
      protocol: 'Kubernetes',
      summary: 'kubectl scale deployments web -n default --replicas=3',
      display: expect.stringContaining('replicas: 3'),
    });
    expect(await replicas()).toBe(1);
    await ground.vote(request);
    const { status, stderr } = await scaled;
    expect(status).toBe(0);
    expect(stderr).toContain(`Warning: sallyport: request ${request.metadata.name} was approved by ada`);
    expect(await replicas()).toBe(3);
    // The same again needs people again: it was for once. Nothing changes, so nothing is asked.
    expect((await ground.kubectl(['scale', 'deployment/web', '--replicas=3'])).status).toBe(0);
    await ground.kubectl(['scale', 'deployment/web', '--replicas=1']);
    const again = ground.kubectl(['scale', 'deployment/web', '--replicas=3']);
    await ground.vote(await ground.pending(), ground.ben, 'Deny');
    expect((await again).stderr).toMatch(/approval was not given.*SPL003/);
    expect(await replicas()).toBe(1);
  });

  it('refuses at once where the rule says so, and lets the same pass once it was approved', LIMIT, async () => {
    const first = await ground.kubectl(['delete', 'configmap', 'kept', '-n', 'other']);
    expect(first.stderr).toMatch(
      /needs approval: rule default\/agents\/ask-delete.*sallyport approve \S+ -n default.*SPL002/,
    );
    await ground.vote(await ground.pending());
    // kubectl looks for the object after it; the delete itself is what was approved.
    expect((await ground.kubectl(['delete', 'configmap', 'kept', '-n', 'other'])).status).toBe(0);
    await expect(ground.plane.get('configmap', 'kept', 'other')).rejects.toThrow('not found');
  });

  it('withdraws the request of a client that leaves', LIMIT, async () => {
    const held = await ground.start(['scale', 'deployment/web', '--replicas=7']);
    const { name } = (await ground.pending()).metadata;
    held.child.kill('SIGINT');
    await held.ended;
    await ground.requestFor((found) => found.metadata.name === name && stateOf(found) === 'Withdrawn');
  });

  it('asks a client to come again that has waited long enough, and keeps its place', LIMIT, async () => {
    const configuration = path.join(ground.folder, 'sallyport.yaml');
    const worker = await startWorker({
      paths: [ground.resources],
      configuration: {
        ...(await loadConfiguration(configuration)),
        listen: new Map([['default/cluster', { host: '127.0.0.1', port: 0 }]]),
      },
      configurationFile: configuration,
      state: ground.state,
      plaintextLoopback: false,
      worker: 1,
      pid: process.pid,
      environment: {},
      checkObject: checkRules,
      holdInBandMs: 300,
      log: { write: () => true },
      onReload: () => {},
      cancelElsewhere: () => {},
    });
    try {
      const { port } = worker.runtime.served.find(({ name }) => name === 'cluster')!;
      const server = `https://127.0.0.1:${port}`;
      const answer = await ground.request('PATCH', '/apis/apps/v1/namespaces/default/deployments/web/scale', {
        server,
        body: { spec: { replicas: 4 } },
        contentType: 'application/merge-patch+json',
      });
      expect(answer.status).toBe(429);
      expect(answer.headers.get('retry-after')).toBe('1');
      const status = statusOf(answer);
      expect(status).toMatchObject({ reason: 'TooManyRequests', details: { retryAfterSeconds: 1 } });
      const pending = await ground.pending();
      const { name } = pending.metadata;
      expect(status.message).toContain(name);
      // kubectl comes again by itself, and says nothing of it.
      const scaled = ground.kubectl(['scale', 'deployment/web', '--replicas=5', '--server', server]);
      const mine = await ground.requestFor((found) => found.metadata.name !== name && stateOf(found) === 'Pending');
      await vi.waitFor(async () => {
        const held = (await ground.recorded()).filter(
          (event) => event.e === 'command.held' && event['request'] === mine.metadata.name,
        );
        expect(held.length).toBeGreaterThan(1);
      }, 15_000);
      await ground.vote(mine);
      expect((await scaled).status).toBe(0);
      expect(await replicas()).toBe(5);
      const all = (await ground.requests()).map(({ metadata }) => metadata.name);
      expect(new Set(all).size).toBe(all.length);
      expect(all.filter((each) => each.startsWith(mine.metadata.name))).toEqual([mine.metadata.name]);
      await ground.vote(pending, ground.ada, 'Deny');
    } finally {
      await worker.stop(AbortSignal.timeout(2000));
    }
  });

  it('ends a watch that policy no longer allows, with words', LIMIT, async () => {
    const watching = await ground.start(['get', 'configmaps', '-n', 'other', '--watch', '-o', 'json']);
    await watching.says(/kube-root-ca\.crt/);
    await ground.edit('agents.yaml', policy().replace('namespaces: [default, other]', 'namespaces: [default]'));
    await watching.ended;
    expect(watching.stdout()).toMatch(/the watch ends: denied.*SPL022/);
    await ground.edit('agents.yaml', policy());
  });

  it('goes on when the API server comes back', LIMIT, async () => {
    const watching = await ground.start(['get', 'configmaps', '-n', 'default', '--watch', '-o', 'name']);
    await watching.says(/configmap\/kube-root-ca\.crt/);
    await ground.plane.apiServer.kill();
    await watching.ended;
    const meanwhile = await ground.request('GET', '/api/v1/namespaces/default/pods');
    expect(meanwhile.status).toBeGreaterThanOrEqual(500);
    expect(statusOf(meanwhile).kind).toBe('Status');
    await ground.plane.apiServer.start();
    await vi.waitFor(async () => expect((await ground.kubectl(['get', 'pods'])).status).toBe(0), 30_000);
  });

  describe('with its record', () => {
    const MARK = /marked-\d+/;
    const marks = (texts: readonly string[]): ReadonlySet<string> =>
      new Set(texts.flatMap((text) => MARK.exec(text) ?? []));
    const reached = async (): Promise<ReadonlySet<string>> =>
      marks((await ground.plane.audit()).map((event) => String(event['requestURI'])));
    /** Reads, whose record is only written, and writes, whose record is on disk before they leave; of what is not there. */
    const send = (to: KubeLaneGround, index: number) =>
      to.request(index % 2 === 0 ? 'GET' : 'PATCH', `/api/v1/namespaces/default/configmaps/marked-${index}`, {
        ...(index % 2 === 0 ? {} : { body: { data: {} }, contentType: 'application/merge-patch+json' }),
      });

    it('stops on a full disk, and goes on with space', LIMIT, async ({ skip }) => {
      if (root() !== undefined) skip(root());
      await using disk = await mountSmallDisk(6);
      const state = path.join(disk.folder, 'state');
      await mkdir(state, { mode: 0o700 });
      await using full = await startKubeLaneGround({
        plane: ground.plane,
        resources: { 'agents.yaml': policy() },
        gateway: { state },
      });
      expect((await send(full, 1000)).status).toBe(404);
      await disk.fill();
      // A page of the segment may have room for some more.
      let sent = 1001;
      let last = await send(full, sent);
      while (last.status === 404 && sent < 1100) last = await send(full, ++sent);
      expect(statusOf(last)).toMatchObject({ code: 503, message: expect.stringMatching(/record.*SPR\d{3}/) });
      for (const index of [sent + 1, sent + 2]) expect((await send(full, index)).status).toBe(503);
      await disk.free();
      await vi.waitFor(async () => expect((await send(full, 1200)).status).toBe(404), 15_000);
      const recorded = marks(await recordedTexts(state));
      const there = [...(await reached())].filter((mark) => Number(mark.slice(7)) >= 1000);
      expect(there.filter((mark) => !recorded.has(mark))).toEqual([]);
      for (const index of [sent, sent + 1, sent + 2]) expect(there).not.toContain(`marked-${index}`);
    });

    it('has all that reached the API server when the gateway is killed', LIMIT, async () => {
      let answered = 0;
      const killed = Promise.withResolvers<void>();
      const answers = await Promise.allSettled(
        Array.from({ length: 150 }, async (_, index) => {
          await send(ground, index);
          if (++answered === 40) killed.resolve(ground.gateway.stop('SIGKILL').then(() => undefined));
        }),
      );
      await killed.promise;
      expect(answers.some(({ status }) => status === 'rejected')).toBe(true);
      const there = await vi.waitFor(async () => {
        const found = [...(await reached())].filter((mark) => Number(mark.slice(7)) < 1000);
        expect(found.length).toBeGreaterThanOrEqual(40);
        return found;
      }, 15_000);
      const recorded = marks(await recordedTexts(ground.state));
      expect(there.filter((mark) => !recorded.has(mark))).toEqual([]);
    });
  });
});
