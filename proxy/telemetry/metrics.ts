import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

/** All metrics of the proxy, in one place. Labels name connections and reasons, never subjects, statements or values. */
export interface Metrics {
  readonly registry: Registry;
  readonly sessions: Gauge<'connection'>;
  readonly sessionsTotal: Counter<'connection'>;
  readonly tunnels: Gauge;
  readonly refused: Counter<'code'>;
  readonly tokenLifetime: Histogram;
  readonly credentialLifetime: Histogram<'type'>;
  readonly orphanedLogins: Counter<'connection'>;
  readonly bundleReloads: Counter<'result'>;
  readonly recordHealthy: Gauge;
}

export function createMetrics(): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 10 });
  const delay = monitorEventLoopDelay({ resolution: 10 });
  delay.enable();
  new Gauge({
    name: 'sallyport_event_loop_delay_seconds',
    help: 'Delay of the event loop since start, by quantile',
    labelNames: ['quantile'],
    registers,
    collect() {
      for (const quantile of [50, 90, 99])
        this.set({ quantile: String(quantile / 100) }, delay.percentile(quantile) / 1e9);
    },
  });
  return {
    registry,
    sessions: new Gauge({ name: 'sallyport_sessions', help: 'Open sessions', labelNames: ['connection'], registers }),
    sessionsTotal: new Counter({
      name: 'sallyport_sessions_total',
      help: 'Sessions opened',
      labelNames: ['connection'],
      registers,
    }),
    tunnels: new Gauge({ name: 'sallyport_tunnels', help: 'Open tunnels of connectors', registers }),
    refused: new Counter({
      name: 'sallyport_refused_total',
      help: 'Clients refused before a session began',
      labelNames: ['code'],
      registers,
    }),
    tokenLifetime: new Histogram({
      name: 'sallyport_token_lifetime_seconds',
      help: 'Lifetime of the tokens that were accepted, from iat to exp',
      buckets: [60, 300, 600, 900, 1800, 3600, 14_400, 86_400],
      registers,
    }),
    credentialLifetime: new Histogram({
      name: 'sallyport_credential_lifetime_seconds',
      help: 'Lifetime of the credentials that were made for sessions and commands, from their issue to their end',
      labelNames: ['type'],
      buckets: [0.01, 0.1, 1, 10, 60, 300, 600, 900, 1800, 3600, 14_400, 86_400],
      registers,
    }),
    orphanedLogins: new Counter({
      name: 'sallyport_orphaned_logins_dropped_total',
      help: 'Database logins of processes that had died, or of failed releases, that were dropped later',
      labelNames: ['connection'],
      registers,
    }),
    bundleReloads: new Counter({
      name: 'sallyport_bundle_reloads_total',
      help: 'Changes of the policy bundle',
      labelNames: ['result'],
      registers,
    }),
    recordHealthy: new Gauge({
      name: 'sallyport_record_healthy',
      help: '1 while the record can be written',
      registers,
    }),
  };
}
