import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/**
 * All metrics of the runtime, under the names that controller-runtime and client-go use, so that dashboards and alerts written for
 * those work. What has no counterpart there begins with `reflector_`. Labels name controllers, types and codes, never objects.
 */
export interface KubeMetrics {
  readonly registry: Registry;
  /** For `ClientOptions.observe`. */
  request(method: string, status: number): void;
  /** Called before metrics are read: for what is computed only then. */
  onScrape(observe: () => void): void;
  readonly reconcileTotal: Counter<'controller' | 'result'>;
  readonly reconcileErrors: Counter<'controller'>;
  readonly reconcilePanics: Counter<'controller'>;
  readonly reconcileSeconds: Histogram<'controller'>;
  readonly maxConcurrentReconciles: Gauge<'controller'>;
  readonly activeWorkers: Gauge<'controller'>;
  readonly queueDepth: Gauge<'name' | 'controller'>;
  readonly queueAdds: Counter<'name' | 'controller'>;
  readonly queueSeconds: Histogram<'name' | 'controller'>;
  readonly workSeconds: Histogram<'name' | 'controller'>;
  readonly queueRetries: Counter<'name' | 'controller'>;
  readonly unfinishedWorkSeconds: Gauge<'name' | 'controller'>;
  readonly longestRunningSeconds: Gauge<'name' | 'controller'>;
  readonly leader: Gauge<'name'>;
  readonly lists: Counter<'type' | 'result'>;
  /** Watches by why they ended. */
  readonly watches: Counter<'type' | 'end'>;
  readonly watchEvents: Counter<'type' | 'event'>;
  readonly listenerErrors: Counter<'type'>;
  readonly storedObjects: Gauge<'type'>;
}

/** controller-runtime's own buckets. */
const RECONCILE_BUCKETS = [
  0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.25, 1.5, 1.75, 2,
  2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9, 10, 15, 20, 25, 30, 40, 50, 60,
];
const QUEUE_BUCKETS = [1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1, 10, 100, 1000];

export function createKubeMetrics(registry: Registry, host: string): KubeMetrics {
  const registers = [registry];
  const QUEUE = ['name', 'controller'] as const;
  const counter = <L extends string>(name: string, help: string, labelNames: readonly L[]): Counter<L> =>
    new Counter({ name, help, labelNames, registers });
  const gauge = <L extends string>(name: string, help: string, labelNames: readonly L[]): Gauge<L> =>
    new Gauge({ name, help, labelNames, registers });
  const observers: (() => void)[] = [];
  const requests = counter('rest_client_requests_total', 'Requests to the API server', ['code', 'method', 'host']);
  return {
    registry,
    onScrape: (observe) => void observers.push(observe),
    request: (method, status) => requests.inc({ code: status === 0 ? '<error>' : String(status), method, host }),
    reconcileTotal: counter('controller_runtime_reconcile_total', 'Reconciliations', ['controller', 'result']),
    reconcileErrors: counter('controller_runtime_reconcile_errors_total', 'Reconciliations that failed', [
      'controller',
    ]),
    reconcilePanics: counter(
      'controller_runtime_reconcile_panics_total',
      'Reconciliations that failed by a mistake of the program',
      ['controller'],
    ),
    reconcileSeconds: new Histogram({
      name: 'controller_runtime_reconcile_time_seconds',
      help: 'Duration of reconciliations',
      labelNames: ['controller'],
      buckets: RECONCILE_BUCKETS,
      registers,
    }),
    maxConcurrentReconciles: gauge('controller_runtime_max_concurrent_reconciles', 'Workers of a controller', [
      'controller',
    ]),
    activeWorkers: gauge('controller_runtime_active_workers', 'Workers that reconcile now', ['controller']),
    queueDepth: gauge('workqueue_depth', 'Keys that wait', QUEUE),
    queueAdds: counter('workqueue_adds_total', 'Keys that were added', QUEUE),
    queueSeconds: new Histogram({
      name: 'workqueue_queue_duration_seconds',
      help: 'How long keys waited',
      labelNames: QUEUE,
      buckets: QUEUE_BUCKETS,
      registers,
    }),
    workSeconds: new Histogram({
      name: 'workqueue_work_duration_seconds',
      help: 'How long keys were worked on',
      labelNames: QUEUE,
      buckets: QUEUE_BUCKETS,
      registers,
    }),
    queueRetries: counter('workqueue_retries_total', 'Keys that were added again after a failure', QUEUE),
    unfinishedWorkSeconds: new Gauge({
      name: 'workqueue_unfinished_work_seconds',
      help: 'Sum of the work in progress',
      labelNames: QUEUE,
      registers,
      collect() {
        for (const observe of observers) observe();
      },
    }),
    longestRunningSeconds: gauge(
      'workqueue_longest_running_processor_seconds',
      'Age of the longest work in progress',
      QUEUE,
    ),
    leader: gauge('leader_election_master_status', '1 on the replica that leads', ['name']),
    lists: counter('reflector_lists_total', 'Lists, in all their pages', ['type', 'result']),
    watches: counter('reflector_watches_total', 'Watches that ended, by why', ['type', 'end']),
    watchEvents: counter('reflector_watch_events_total', 'Events of watches', ['type', 'event']),
    listenerErrors: counter('reflector_listener_errors_total', 'Listeners that threw', ['type']),
    storedObjects: gauge('reflector_objects', 'Objects in the store', ['type']),
  };
}
