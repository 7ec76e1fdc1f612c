import { Counter, Gauge, type Registry } from 'prom-client';

/** Metrics of what follows the record. Labels name configured sinks, never streams: of those there are ever more. */
export interface FollowMetrics {
  readonly deliveredBytes: Counter<'sink'>;
  readonly failures: Counter<'sink'>;
  readonly lostSegments: Counter<'sink'>;
  readonly rejected: Counter<'sink'>;
  readonly lastSuccess: Gauge<'sink'>;
}

type Lag = () => Promise<{ readonly bytes: number; readonly seconds: number } | undefined>;

/** @param lags read when metrics are asked for, by sink */
export function createFollowMetrics(registry: Registry, lags: ReadonlyMap<string, Lag>): FollowMetrics {
  const registers = [registry];
  const labelNames = ['sink'] as const;
  const lagGauge = (name: string, help: string, what: 'bytes' | 'seconds') =>
    new Gauge({
      name,
      help,
      labelNames,
      registers,
      async collect() {
        for (const [sink, lag] of lags) {
          const value = await lag();
          if (value !== undefined) this.set({ sink }, value[what]);
        }
      },
    });
  lagGauge('sallyport_sink_lag_bytes', 'Bytes of the record that the sink does not have yet', 'bytes');
  lagGauge('sallyport_sink_lag_seconds', 'Age of the first event that the sink does not have yet', 'seconds');
  const counter = (name: string, help: string) => new Counter({ name, help, labelNames, registers });
  return {
    deliveredBytes: counter('sallyport_sink_delivered_bytes_total', 'Bytes of the record that the sink took'),
    failures: counter('sallyport_sink_failures_total', 'Attempts that failed; each is made again'),
    lostSegments: counter('sallyport_sink_lost_segments_total', 'Segments that were removed before the sink had them'),
    rejected: counter('sallyport_sink_rejected_records_total', 'Records that the sink said it threw away'),
    lastSuccess: new Gauge({
      name: 'sallyport_sink_last_success_timestamp_seconds',
      help: 'When the sink took something last',
      labelNames,
      registers,
    }),
  };
}

/** Metrics of an archive that serves proxies. */
export interface ArchiveMetrics {
  readonly received: Counter<'proxy'>;
  readonly refused: Counter<'code'>;
  readonly findings: Counter<'kind'>;
  readonly lastReceived: Gauge<'proxy'>;
}

export function createArchiveMetrics(registry: Registry, usage: () => ReadonlyMap<string, number>): ArchiveMetrics {
  const registers = [registry];
  new Gauge({
    name: 'sallyport_archive_bytes',
    help: 'Bytes that are kept, by the proxy that sent them',
    labelNames: ['proxy'],
    registers,
    collect() {
      for (const [proxy, bytes] of usage()) this.set({ proxy }, bytes);
    },
  });
  return {
    received: new Counter({
      name: 'sallyport_archive_received_bytes_total',
      help: 'Bytes acknowledged',
      labelNames: ['proxy'],
      registers,
    }),
    refused: new Counter({
      name: 'sallyport_archive_refused_total',
      help: 'Requests refused, by the code of the error',
      labelNames: ['code'],
      registers,
    }),
    findings: new Counter({
      name: 'sallyport_archive_findings_total',
      help: 'Gaps, rewrites, conflicts and damaged lines that were found',
      labelNames: ['kind'],
      registers,
    }),
    lastReceived: new Gauge({
      name: 'sallyport_archive_last_received_timestamp_seconds',
      help: 'When a proxy sent something last: one that is silent for longer than its heartbeat of a minute is down or cut off',
      labelNames: ['proxy'],
      registers,
    }),
  };
}

/** Metrics of the port for people. */
export function createReadingMetrics(registry: Registry) {
  const registers = [registry];
  return {
    read: new Counter({
      name: 'sallyport_archive_reads_total',
      help: 'Questions of people that were answered',
      registers,
    }),
    refused: new Counter({
      name: 'sallyport_archive_reads_refused_total',
      help: 'Questions of people that were refused, by the code of the error',
      labelNames: ['code'],
      registers,
    }),
  };
}
