import { Counter, Histogram } from 'prom-client';
import { sleep } from '../../kube/backoff.ts';
import type { Component } from '../../kube/lifecycle.ts';
import type { OperatorContext } from '../context.ts';
import type { AdmissionHandler } from './admission.ts';
import { keepCaBundle } from './ca-bundle.ts';
import { createInjectionHandler } from './injection/handler.ts';
import { WEBHOOK_PATHS } from './paths.ts';
import { serveWebhooks } from './server.ts';
import { createServingCertificate } from './serving-certificate.ts';

export interface WebhooksOptions {
  readonly host?: string;
  readonly port: number;
  /** Besides injection, by path. */
  readonly handlers?: Readonly<Record<string, AdmissionHandler>>;
  /**
   * Milliseconds that it goes on serving after it was told to stop: API servers take so long to learn that this replica is gone. Default
   * 3000.
   */
  readonly lingerMs?: number;
  /** Called with the port once it listens. */
  readonly onListening?: (port: number) => void;
}

const REFRESH_MS = 60_000;
const LINGER_MS = 3000;

/** Admission of one replica: server, certificate, injection, and `caBundle`, which every replica keeps, since it does not matter who does. */
export function webhooksComponent(context: OperatorContext, options: WebhooksOptions): Component {
  const { client, keys, namespace, connections, namespaces, log, now, registry } = context;
  const started = Promise.withResolvers<void>();
  const observe = reviewMetrics(registry);

  async function run(signal: AbortSignal): Promise<void> {
    const onFailure = (error: unknown): void => log.error({ err: error }, 'the webhooks keep their old certificate');
    const certificate = createServingCertificate({ keys, namespace, now, onFailure });
    const injector = { image: context.connectorImage, version: context.version };
    const server = await serveWebhooks({
      ...(options.host === undefined ? {} : { host: options.host }),
      port: options.port,
      certificate: certificate.context,
      handlers: {
        [WEBHOOK_PATHS.inject]: createInjectionHandler({ connections, namespaces }, injector),
        ...options.handlers,
      },
      observe,
      log,
    });
    options.onListening?.(server.address.port);
    started.resolve();
    const renewing = setInterval(() => {
      try {
        certificate.refresh();
      } catch (error) {
        onFailure(error);
      }
    }, REFRESH_MS);
    try {
      await keepCaBundle({ client, keys, log }, signal);
      await sleep(options.lingerMs ?? LINGER_MS, new AbortController().signal);
    } finally {
      clearInterval(renewing);
      certificate.close();
      await server.close();
    }
  }

  return {
    name: 'webhooks',
    run: async (signal) => {
      try {
        await run(signal);
      } catch (error) {
        started.reject(error);
        throw error;
      }
    },
    ready: () => started.promise,
  };
}

/** controller-runtime's names, so that dashboards made for it work. */
function reviewMetrics(registry: OperatorContext['registry']) {
  const latency = new Histogram({
    name: 'controller_runtime_webhook_latency_seconds',
    help: 'Time to judge an admission review',
    labelNames: ['webhook'],
    buckets: [0.001, 0.005, 0.025, 0.1, 0.5, 2, 8],
    registers: [registry],
  });
  const reviews = new Counter({
    name: 'controller_runtime_webhook_requests_total',
    help: 'Admission reviews by outcome: allowed, refused, failed',
    labelNames: ['webhook', 'outcome'],
    registers: [registry],
  });
  return (webhook: string, outcome: string, seconds: number): void => {
    latency.observe({ webhook }, seconds);
    reviews.inc({ webhook, outcome });
  };
}
