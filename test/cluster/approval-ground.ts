/** Approvals on a real API server: the operator's admission as a webhook of it, an archive, and replicas of a proxy as their parts. */
import { execFile } from 'node:child_process';
import { createPrivateKey, type KeyObject, randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createSecureContext } from 'node:tls';
import { promisify } from 'node:util';
import type { ApprovalRequest } from '../../api/resources.ts';
import { type RequestObject, requestOf } from '../../approval/object.ts';
import { createHttpClient } from '../../delivery/http.ts';
import { LEASES } from '../../kube/builtin.ts';
import { createReflector } from '../../kube/reflector.ts';
import type { KubeClient } from '../../kube/types.ts';
import { createKeyRing } from '../../operator/pki/key-ring.ts';
import { newMaterial } from '../../operator/pki/material.ts';
import { approvalHandlers } from '../../operator/webhook/approval-handlers.ts';
import { WEBHOOK_PATHS } from '../../operator/webhook/paths.ts';
import { serveWebhooks, type WebhookServer } from '../../operator/webhook/server.ts';
import { held } from '../../proxy/approval/approval.fixture.ts';
import { createClusterApprovals } from '../../proxy/approval/cluster/approvals.ts';
import { APPROVAL_REQUESTS, essentialRequest } from '../../proxy/approval/cluster/objects.ts';
import type { Approvals } from '../../proxy/approval/store.ts';
import type { HeldCommand } from '../../proxy/ports.ts';
import { type ArchiveGround, archiveGround } from '../integration/archive/ground.ts';
import { createAuthority } from '../support/certificates.ts';
import type { Program } from '../support/program.ts';
import { repositoryRoot } from '../support/sallyport.ts';
import { type ClusterUser, type ControlPlane, startControlPlane } from './control-plane.ts';
import { clientOf, collectLog } from './kube-ground.ts';
import { helm } from './programs.ts';

const run = promisify(execFile);

export const PROXY = 'system:serviceaccount:shop:sallyport-proxy';
const PROXY_GROUPS = ['system:serviceaccounts', 'system:serviceaccounts:shop', 'system:authenticated'];
export const ADA: ClusterUser = { user: 'ada', groups: ['shop-oncall'] };
export const BEN: ClusterUser = { user: 'ben', groups: ['shop-oncall'] };
/** May patch requests, and has no right to approve. */
export const EVE: ClusterUser = { user: 'eve', groups: ['readers'] };

/** One replica, as far as approvals go. */
export interface Replica extends AsyncDisposable {
  readonly name: string;
  readonly store: Approvals;
  readonly events: string[];
  readonly warnings: string[];
  /** Ends as a killed process does: nothing is withdrawn, and its Lease goes with the pod where it is deleted. */
  kill(options?: { readonly lease: 'gone' | 'kept' }): Promise<void>;
}

export interface ApprovalCluster extends AsyncDisposable {
  readonly plane: ControlPlane;
  readonly admin: KubeClient;
  readonly archive: ArchiveGround;
  /** The process; replaced by `startArchive`. */
  readonly archiveProgram: () => Program;
  startArchive(): Promise<void>;
  /** Stops and starts the operator's webhook configurations, as somebody who deletes them. */
  webhooks(on: boolean): Promise<void>;
  /** Applies or removes the fence of the chart. */
  fence(on: boolean): Promise<void>;
  /** Admission counts time from here; milliseconds that it is ahead. */
  readonly clock: { ahead: number };
  readonly ask: AdmissionGround['ask'];
  replica(change?: { readonly sweepMs?: number; readonly authorities?: () => readonly string[] }): Promise<Replica>;
  /** `kubectl patch` as people type it. Resolves with what it prints; rejects with what the API server says. */
  vote(
    name: string,
    who: ClusterUser,
    verdict?: 'Approve' | 'Deny',
    more?: Readonly<Record<string, unknown>>,
  ): Promise<string>;
  request(name: string): Promise<ApprovalRequest>;
  /** Waits, by a watch, until the test holds for the request. */
  until(name: string, test: (request: ApprovalRequest) => boolean): Promise<ApprovalRequest>;
  readonly signingKey: KeyObject;
}

/** A command of `shop/orders` with a text of its own. */
export function command(text: string, change: Partial<HeldCommand> = {}): HeldCommand {
  const base = held({ text, ...change });
  return { ...base, connection: { ...base.connection, uid: 'c0ffee00-0000-4000-8000-000000000001' } };
}

const PROXY_RIGHTS = `
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: sallyport-proxy, namespace: shop}
rules:
  - {apiGroups: [sallyport.dev], resources: [approvalrequests], verbs: [get, list, watch, create]}
  - {apiGroups: [sallyport.dev], resources: [approvalrequests/status], verbs: [update]}
  - {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get, create, update, delete]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: sallyport-proxy, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: sallyport-proxy}
subjects: [{kind: ServiceAccount, name: sallyport-proxy, namespace: shop}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: test-reviews}
rules: [{apiGroups: [authorization.k8s.io], resources: [subjectaccessreviews], verbs: [create]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: test-reviews}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: test-reviews}
subjects: [{kind: ServiceAccount, name: sallyport-proxy, namespace: shop}]
`;

/** Ada and Ben may approve on `shop/orders`; Eve may only meddle. */
export const PEOPLE = `
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: approver, namespace: shop}
rules:
  - {apiGroups: [sallyport.dev], resources: [accessconnections], resourceNames: [orders], verbs: [approve]}
  - {apiGroups: [sallyport.dev], resources: [approvalrequests], verbs: [get, list, watch, patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: approver, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: approver}
subjects:
  - {apiGroup: rbac.authorization.k8s.io, kind: Group, name: shop-oncall}
  - {apiGroup: rbac.authorization.k8s.io, kind: User, name: "system:serviceaccount:shop:agent"}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: meddler, namespace: shop}
rules:
  - {apiGroups: [sallyport.dev], resources: [approvalrequests], verbs: ["*"]}
  - {apiGroups: [sallyport.dev], resources: [approvalrequests/status], verbs: ["*"]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: meddler, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: meddler}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: readers}]
`;

/** `response` of an AdmissionReview. */
export interface AdmissionAnswer {
  readonly allowed: boolean;
  /** JSON Patch in base64. */
  readonly patch?: string;
  readonly status?: { readonly message?: string };
}

/** The operator's admission of approvals, as a webhook of an API server, and the people of these tests. */
export interface AdmissionGround extends AsyncDisposable {
  readonly signingKey: KeyObject;
  /** For `voteAuthorities` of a bundle. */
  readonly voteAuthority: string;
  readonly clock: ApprovalCluster['clock'];
  /** What the webhooks answer to whoever asks them, past the API server. */
  ask(path: string, review: object): Promise<AdmissionAnswer>;
  webhooks(on: boolean): Promise<void>;
  fence(on: boolean): Promise<void>;
}

/** Webhooks and fence are on. @param folder for certificates */
export async function installAdmission(
  plane: ControlPlane,
  admin: KubeClient,
  folder: string,
): Promise<AdmissionGround> {
  await using starting = new AsyncDisposableStack();
  await plane.apply(PEOPLE);
  const clock = { ahead: 0 };
  const now = (): number => Date.now() + clock.ahead;
  const keys = createKeyRing(newMaterial(Date.now()), now);
  const authority = await createAuthority(folder, 'webhooks');
  const handlers = approvalHandlers({ client: admin, keys, namespace: 'sallyport-system', now });
  const server = await startWebhooks(authority, handlers);
  starting.defer(() => server.close());
  const configurations = webhookConfigurations(server, authority.ca);
  const fences = await chartFence();
  const set = (manifests: string, on: boolean): Promise<string> =>
    on ? plane.apply(manifests) : plane.kubectl(['delete', '--ignore-not-found', '-f', '-'], { input: manifests });
  const ground = {
    signingKey: createPrivateKey(keys.signingKey()),
    voteAuthority: keys.publicKey(),
    clock,
    async ask(path: string, review: object) {
      const http = createHttpClient({ ca: authority.ca });
      try {
        const url = new URL(path, `https://localhost:${server.address.port}`);
        const headers = { 'content-type': 'application/json' };
        const body = Buffer.from(JSON.stringify(review));
        const outgoing = { method: 'POST' as const, url, headers, body, timeoutMs: 10_000, maxAnswerBytes: 65_536 };
        const { body: answer } = await http.send(outgoing, new AbortController().signal);
        return (JSON.parse(answer.toString('utf8')) as { response: AdmissionAnswer }).response;
      } finally {
        http.close();
      }
    },
    async webhooks(on: boolean) {
      await set(configurations, on);
      // The API server reads its configuration a moment later: until it behaves like it.
      await settled(plane, 'stamps', on);
    },
    async fence(on: boolean) {
      await set(fences, on);
      await settled(plane, 'fence', on);
    },
  };
  await ground.webhooks(true);
  await ground.fence(true);
  const running = starting.move();
  return { ...ground, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

/** `kubectl patch` as people type it. Resolves with what it prints; rejects with what the API server says. */
export function castByPatch(
  plane: ControlPlane,
  name: string,
  who: ClusterUser,
  verdict: 'Approve' | 'Deny' = 'Approve',
  more: Readonly<Record<string, unknown>> = {},
): Promise<string> {
  const patch = [{ op: 'add', path: '/spec/decisions/-', value: { verdict, ...more } }];
  return plane.kubectl(['patch', 'areq', name, '-n', 'shop', '--type=json', '-p', JSON.stringify(patch)], { as: who });
}

/** The first request in `shop`, now or later, for which the test holds; seen by a watch. */
export async function awaitRequest(
  client: KubeClient,
  test: (request: ApprovalRequest) => boolean,
): Promise<ApprovalRequest> {
  const ending = new AbortController();
  const found = Promise.withResolvers<ApprovalRequest>();
  const reflector = createReflector<RequestObject>({
    client,
    type: APPROVAL_REQUESTS,
    namespace: 'shop',
    log: collectLog(),
  });
  reflector.onChange(({ type, object }) => {
    const request = requestOf(object);
    if (type !== 'deleted' && test(request)) found.resolve(request);
  });
  const running = reflector.run(ending.signal);
  try {
    return await found.promise;
  } finally {
    ending.abort();
    await running;
  }
}

export async function startApprovalCluster(): Promise<ApprovalCluster> {
  await using starting = new AsyncDisposableStack();
  const folder = await mkdtemp(path.join(tmpdir(), 'approvals-cluster-'));
  starting.defer(() => rm(folder, { recursive: true, force: true }));
  const plane = starting.use(await startControlPlane());
  await plane.applyCrds();
  await plane.kubectl(['create', 'namespace', 'shop']);
  await plane.apply(PROXY_RIGHTS);
  const admin = await clientOf(plane.kubeconfig);
  starting.defer(() => admin.close());
  const archive = starting.use(await archiveGround());
  let archiveProgram = await archive.start();
  const admission = starting.use(await installAdmission(plane, admin, folder));
  const { signingKey, voteAuthority, clock, ask, webhooks, fence } = admission;
  const proxyConfig = await plane.clientAs(PROXY, PROXY_GROUPS);
  const certificate = await archive.authority.issue('shop\\/sallyport-proxy');
  const opened: Replica[] = [];
  starting.defer(async () => {
    for (const replica of opened) await replica.kill();
  });

  const cluster: Omit<ApprovalCluster, typeof Symbol.asyncDispose> = {
    plane,
    admin,
    archive,
    signingKey,
    clock,
    ask,
    archiveProgram: () => archiveProgram,
    async startArchive() {
      archiveProgram = await archive.start();
    },
    webhooks,
    fence,
    async replica(change = {}) {
      const name = `sallyport-proxy-${opened.length}-${randomUUID().slice(0, 5)}`;
      const client = await clientOf(proxyConfig);
      const ending = new AbortController();
      const reflector = createReflector<RequestObject>({
        client,
        type: APPROVAL_REQUESTS,
        namespace: 'shop',
        transform: essentialRequest,
        log: collectLog(),
      });
      void reflector.run(ending.signal);
      const at = new Date().toISOString().replace('Z', '000Z');
      await client.create(LEASES, {
        apiVersion: 'coordination.k8s.io/v1',
        kind: 'Lease',
        metadata: { name, namespace: 'shop' },
        spec: { holderIdentity: name, leaseDurationSeconds: 3600, acquireTime: at, renewTime: at },
      });
      const events: string[] = [];
      const warnings: string[] = [];
      const store = createClusterApprovals({
        client,
        reflector,
        namespace: 'shop',
        archive: {
          url: new URL(archive.url),
          tls: () =>
            Promise.resolve({ ca: archive.authority.ca, certificate: certificate.certificate, key: certificate.key }),
        },
        authorities: () => [voteAuthority],
        holder: { host: name, process: randomUUID() },
        now: Date.now,
        monotonic: () => performance.now(),
        log: { warn: (facts, message) => void warnings.push(`${message} ${JSON.stringify(facts)}`) },
        onChange: ({ metadata }, event) => void events.push(`${metadata.name} ${event}`),
        signal: ending.signal,
        ...change,
      });
      let killed = false;
      const replica: Replica = {
        name,
        store,
        events,
        warnings,
        async kill({ lease } = { lease: 'kept' }) {
          if (killed) return;
          killed = true;
          ending.abort();
          await store.close();
          client.close();
          if (lease === 'gone') await plane.kubectl(['delete', 'lease', '-n', 'shop', name]);
        },
        [Symbol.asyncDispose]: () => replica.kill(),
      };
      opened.push(replica);
      return replica;
    },
    vote: (name, who, verdict, more) => castByPatch(plane, name, who, verdict, more),
    request: (name) => plane.get<ApprovalRequest>('areq', name, 'shop'),
    until: (name, test) => awaitRequest(admin, (request) => request.metadata.name === name && test(request)),
  };
  const running = starting.move();
  return { ...cluster, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

async function startWebhooks(
  authority: Awaited<ReturnType<typeof createAuthority>>,
  handlers: Parameters<typeof serveWebhooks>[0]['handlers'],
): Promise<WebhookServer> {
  const { certificate, key } = await authority.issue('webhook', ['DNS:localhost']);
  const context = createSecureContext({ cert: certificate, key });
  return serveWebhooks({ host: '127.0.0.1', port: 0, handlers, certificate: () => context, log: collectLog() });
}

/** The configurations of the chart's shape, for a server on this machine. */
function webhookConfigurations(server: WebhookServer, ca: string): string {
  const webhook = (path: string, resources: readonly string[]) => ({
    name: 'approvals.sallyport.dev',
    clientConfig: {
      url: `https://localhost:${server.address.port}${path}`,
      caBundle: Buffer.from(ca).toString('base64'),
    },
    rules: [{ apiGroups: ['sallyport.dev'], apiVersions: ['v1alpha1'], resources, operations: ['CREATE', 'UPDATE'] }],
    failurePolicy: 'Fail',
    sideEffects: 'None',
    admissionReviewVersions: ['v1'],
  });
  const configuration = (kind: string, one: object) => ({
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind,
    metadata: { name: 'sallyport' },
    webhooks: [one],
  });
  const items = [
    configuration('MutatingWebhookConfiguration', webhook(WEBHOOK_PATHS.approvals, ['approvalrequests'])),
    configuration(
      'ValidatingWebhookConfiguration',
      webhook(WEBHOOK_PATHS.approvalsCheck, ['approvalrequests', 'approvalrequests/status']),
    ),
  ];
  return JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
}

async function chartFence(): Promise<string> {
  const chart = path.join(repositoryRoot, 'charts/sallyport');
  const template = 'templates/fences/approvals.yaml';
  const { stdout } = await run(await helm(), [
    'template',
    'sallyport',
    chart,
    '-n',
    'sallyport-system',
    '-s',
    template,
  ]);
  return stdout;
}

/** How an API server that does or does not ask refuses what nobody may: by whose words. */
async function settled(plane: ControlPlane, which: 'stamps' | 'fence', on: boolean): Promise<void> {
  const said = which === 'stamps' ? 'SPW040' : 'sallyport: only the proxy';
  const probe = JSON.stringify({
    apiVersion: 'sallyport.dev/v1alpha1',
    kind: 'ApprovalRequest',
    metadata: { name: 'probe', namespace: 'shop' },
    spec: {
      connectionRef: { name: 'orders' },
      requirements: [{ policyRef: { namespace: 'shop', name: 'p', rule: 'r', generation: 1 }, requiredApprovals: 1 }],
      requester: { username: 'x', displayName: 'x' },
      request: { protocol: 'Postgres', summary: 'x', hash: `sha256:${'0'.repeat(64)}` },
      expiresAt: '2030-01-01T00:00:00Z',
    },
  });
  for (;;) {
    const answer = await plane
      .kubectl(['create', '--dry-run=server', '-f', '-'], { input: probe })
      .catch((error: unknown) => String(error));
    // The webhook answers first: whether the fence is there shows only where the webhook is away.
    if (which === 'fence' && answer.includes('SPW040')) {
      const policies = await plane.kubectl(['get', 'validatingadmissionpolicybindings', '-o', 'name']);
      if (policies.includes('sallyport-approvals') === on) return;
    } else if (answer.includes(said) === on) return;
  }
}
