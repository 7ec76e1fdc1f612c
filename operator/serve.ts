import { randomBytes } from 'node:crypto';
import type { Registry } from 'prom-client';
import { GROUP, NAMES } from '../api/cluster.ts';
import type { ClusterAccess } from '../kube/access.ts';
import { backoffMs, sleep } from '../kube/backoff.ts';
import { createKubeClient } from '../kube/client.ts';
import type { Controller } from '../kube/controller.ts';
import { createEventRecorder } from '../kube/event-recorder.ts';
import { createLeaderElection } from '../kube/leader-election.ts';
import { type Component, runInOrder } from '../kube/lifecycle.ts';
import { createKubeMetrics, type KubeMetrics } from '../kube/metrics.ts';
import type { KubeClient, Log } from '../kube/types.ts';
import { createApplier } from './apply/applier.ts';
import { type Caches, createCaches } from './caches.ts';
import type { ControllerContext, OperatorContext, Settings } from './context.ts';
import { createAgentsController } from './controllers/agents.ts';
import { createArchiveController } from './controllers/archive.ts';
import { createKeysController, followKeys } from './controllers/keys.ts';
import { createProxiesController } from './controllers/proxies.ts';
import { createRequestsController } from './controllers/requests.ts';
import { createStatusController, type JudgePod } from './controllers/status.ts';
import { OperatorError } from './errors.ts';
import { createFailures } from './failures.ts';
import { createKeyRing } from './pki/key-ring.ts';
import type { KeyMaterial } from './pki/material.ts';
import { openKeys } from './pki/store.ts';
import { createTargets } from './targets/resolver.ts';

export interface OperatorOptions {
  readonly access: ClusterAccess;
  readonly namespace: string;
  /** Of this process, in the leader's Lease and in Events: the pod's name. */
  readonly instance: string;
  readonly version: string;
  readonly image: string;
  readonly connectorImage: string;
  readonly settings: Settings;
  /** Addresses of a name; none when there is no such name. */
  readonly lookup: (host: string) => Promise<readonly string[]>;
  readonly registry: Registry;
  readonly log: Log;
  readonly now: () => number;
  /** Serves `/metrics`, `/healthz` and `/readyz` for as long as the signal lets it. Resolves once it listens. */
  readonly serveProbes: (probes: OperatorProbes) => Promise<AsyncDisposable>;
  /** Admission. Runs on every replica, from before the copies are filled on. Absent: none. */
  readonly webhooks?: (context: OperatorContext) => Component;
  /** Tells pods whose connector is not what they would get today; made anew for each look. Absent: by their version alone. */
  readonly judge?: (context: OperatorContext) => JudgePod;
}

export interface OperatorProbes {
  metrics(): Promise<string>;
  /** Undefined: ready. */
  notReady(): string | undefined;
}

/**
 * Everything that an operator is. Health is served first, then the keys are opened, webhooks served, copies filled; who is elected
 * then runs the controllers. It stops in reverse.
 *
 * Resolves after the signal. @throws KubeError SPB018 when another replica leads: end the process; OperatorError SPO001
 */
export async function runOperator(options: OperatorOptions, signal: AbortSignal): Promise<void> {
  const { access, log, registry } = options;
  const metrics = createKubeMetrics(registry, access.server.host);
  await using client = closing(
    createKubeClient({
      access,
      userAgent: `sallyport-operator/${options.version}`,
      observe: metrics.request,
    }),
  );
  let notReady: string | undefined = 'the keys are not there yet';
  const health: Component = {
    name: 'health',
    run: whileServed(() => options.serveProbes({ metrics: () => registry.metrics(), notReady: () => notReady })),
  };
  const operator: Component = {
    name: 'operator',
    async run(inner) {
      const material = await opened(client.value, options, inner);
      if (material === undefined) return;
      notReady = 'the copies are not filled yet';
      const parts = createParts(options, client.value, metrics, material);
      await runInOrder(
        [
          ...(options.webhooks === undefined ? [] : [options.webhooks(parts.context)]),
          parts.caches,
          {
            ...parts.election,
            ready: async (waiting) => {
              notReady = undefined;
              return parts.election.ready?.(waiting);
            },
          },
          parts.controllers,
        ],
        inner,
        { log },
      );
    },
  };
  await runInOrder([health, operator], signal, { log });
}

interface Parts {
  readonly context: ControllerContext;
  readonly caches: Component;
  readonly election: Component;
  readonly controllers: Component;
}

function createParts(options: OperatorOptions, client: KubeClient, metrics: KubeMetrics, material: KeyMaterial): Parts {
  const { namespace, log, now, registry } = options;
  const caches = createCaches(client, namespace, { log, metrics });
  const keys = createKeyRing(material, now);
  const context: ControllerContext = {
    client,
    namespace,
    version: options.version,
    image: options.image,
    connectorImage: options.connectorImage,
    keys,
    ...caches,
    registry,
    log,
    now,
    applier: createApplier({ client, copies: caches.own, log, now: () => performance.now() }),
    failures: createFailures(),
    targets: createTargets({ client, connections: caches.connections, lookup: options.lookup, log }),
    metrics,
    events: createEventRecorder({ client, controller: `${GROUP}/operator`, instance: options.instance, log }),
    settings: options.settings,
  };
  followKeys(caches.keySecret, context);
  const election = createLeaderElection({
    client,
    namespace,
    name: NAMES.operator,
    // A container that is started again in the same pod is another process.
    identity: `${options.instance}_${randomBytes(4).toString('hex')}`,
    log,
    metrics,
  });
  return {
    context,
    caches: {
      name: 'caches',
      run: async (signal) => void (await Promise.all(caches.all.map((copy) => copy.run(signal)))),
      ready: (signal) => Promise.all(caches.all.map((copy) => copy.synced(signal))),
    },
    election: {
      name: 'election',
      run: (signal) => election.run(signal),
      ready: (signal) => election.elected(signal),
    },
    controllers: { name: 'controllers', run: (signal) => runControllers(context, caches, options, signal) },
  };
}

async function runControllers(
  context: ControllerContext,
  caches: Caches,
  options: OperatorOptions,
  signal: AbortSignal,
): Promise<void> {
  const judge = (): JudgePod => options.judge?.(context) ?? byVersion(context.version);
  const controllers: Controller[] = [
    createKeysController(context, caches.keySecret),
    createProxiesController(context),
    createAgentsController(context),
    createArchiveController(context),
    createStatusController(context, { judge }),
    createRequestsController(context),
  ];
  await Promise.all([
    ...controllers.map((controller) => controller.run(signal)),
    context.targets.run(signal),
    context.events.run(signal),
  ]);
}

const byVersion =
  (version: string): JudgePod =>
  ({ metadata }) =>
    metadata.annotations?.[`${GROUP}/injected-version`] === version ? 'Current' : 'Outdated';

/** Tries until there is an API server. @returns undefined after the signal. @throws OperatorError SPO001 */
async function opened(
  client: KubeClient,
  { namespace, now, log, settings }: OperatorOptions,
  signal: AbortSignal,
): Promise<KeyMaterial | undefined> {
  for (let failures = 1; !signal.aborted; failures++) {
    try {
      return await openKeys(client, namespace, { now: now(), generation: settings.signingKeyGeneration }, signal);
    } catch (error) {
      if (signal.aborted) break;
      if (error instanceof OperatorError) throw error;
      log.warn({ err: error }, 'the keys cannot be opened yet; it is tried again');
      await sleep(backoffMs(failures, { firstMs: 250, maxMs: 5000, random: Math.random }), signal);
    }
  }
  return undefined;
}

const closing = (client: KubeClient): AsyncDisposable & { readonly value: KubeClient } => ({
  value: client,
  async [Symbol.asyncDispose]() {
    client.close();
  },
});

/** A server as a component: put away after the signal. */
function whileServed(serve: () => Promise<AsyncDisposable>): Component['run'] {
  return async (signal) => {
    await using _served = await serve();
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener('abort', () => resolve(), { once: true });
    });
  };
}
