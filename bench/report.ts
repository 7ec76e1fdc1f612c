import { addedBy, type CredentialCosts } from './credentials.ts';
import { median, type PeerResult, type ScenarioResult } from './measure.ts';
import type { PeerName } from './peers.ts';

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGigabytes: number;
  readonly kernel: string;
  /** Programs and their versions. */
  readonly versions: Readonly<Record<string, string>>;
  readonly date: string;
}

export interface Report {
  readonly machine: Machine;
  readonly rounds: number;
  readonly seconds: number;
  readonly scale: number;
  readonly scenarios: readonly ScenarioResult[];
  readonly idleSessions: number;
  readonly credentials?: CredentialCosts;
  readonly idleBytes: Partial<Record<PeerName, number>>;
  readonly eventLoopDelay: Partial<Record<PeerName, readonly string[]>>;
  /** What did not start or failed. */
  readonly failures: readonly string[];
}

function rate(result: PeerResult | undefined): number {
  return median(result?.samples.map((sample) => sample.perSecond) ?? []);
}

function latency(result: PeerResult | undefined): number {
  return median(result?.samples.map((sample) => sample.latencyMicroseconds) ?? []);
}

function cpu(result: PeerResult | undefined): number {
  return median(result?.samples.flatMap((sample) => sample.cpuMicroseconds ?? []) ?? []);
}

function figure(value: number, digits: number): string {
  if (!Number.isFinite(value)) return '–';
  return value.toLocaleString('en-US', { maximumFractionDigits: digits, minimumFractionDigits: digits });
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const rule = head.map((_, index) => (index === 0 ? '---' : '---:'));
  return [line(head), line(rule), ...rows.map(line)].join('\n');
}

function throughput(report: Report): string {
  const rows = report.scenarios.map(({ scenario, peers }) => {
    const [direct, bouncer, one, two] = [peers.postgres, peers.pgbouncer, peers.sallyport, peers['sallyport-2']].map(
      rate,
    ) as [number, number, number, number];
    return [
      scenario.name,
      `${figure(direct, 0)}`,
      `${figure(bouncer, 0)}`,
      `${figure(one, 0)}`,
      `${figure(two, 0)}`,
      figure(one / bouncer, 2),
      figure(two / bouncer, 2),
      figure(one / direct, 2),
      scenario.goal === undefined ? '' : figure(scenario.goal, 2),
    ];
  });
  return table(
    [
      ...['per second', 'PostgreSQL', 'pgbouncer', 'Sallyport', 'Sallyport, 2 workers'],
      ...['Sallyport / pgbouncer', '2 workers / pgbouncer', 'Sallyport / PostgreSQL', 'goal'],
    ],
    rows,
  );
}

function costs(report: Report): string {
  const rows = report.scenarios.map(({ scenario, peers }) => {
    const [bouncer, one] = [peers.pgbouncer, peers.sallyport];
    return [
      scenario.name,
      figure(cpu(bouncer), 1),
      figure(cpu(one), 1),
      figure(cpu(one) / cpu(bouncer), 2),
      figure(latency(bouncer) - latency(peers.postgres), 0),
      figure(latency(one) - latency(peers.postgres), 0),
      figure(latency(one) - latency(bouncer), 0),
    ];
  });
  return table(
    [
      ...['µs for each', 'CPU, pgbouncer', 'CPU, Sallyport', 'ratio'],
      ...['added by pgbouncer', 'added by Sallyport', 'Sallyport over pgbouncer'],
    ],
    rows,
  );
}

/** What Node alone costs, where it was measured. */
function floor(report: Report): readonly string[] {
  const measured = report.scenarios.filter(
    ({ peers }) => peers.pipe !== undefined || peers['pipe-write'] !== undefined,
  );
  if (measured.length === 0) return [];
  const rows = measured.map(({ scenario, peers }) => {
    const compared = [peers.pipe, peers['pipe-write'], peers.sallyport];
    return [
      scenario.name,
      ...compared.map((peer) => figure(rate(peer) / rate(peers.pgbouncer), 2)),
      ...[peers.pgbouncer, ...compared].map((peer) => figure(cpu(peer), 1)),
    ];
  });
  const ratios = ['pipe / pgbouncer', 'with a write a turn', 'Sallyport'];
  const micros = ['CPU in µs, pgbouncer', 'pipe', 'with a write a turn', 'Sallyport'];
  return ['', '## The floor: a pipe made with Node', '', table(['rate', ...ratios, ...micros], rows)];
}

function credentials(costs: CredentialCosts | undefined): readonly string[] {
  if (costs === undefined) return [];
  const rows = (values: Readonly<Record<string, number>>): string[][] =>
    Object.entries(values).map(([name, milliseconds]) => [name, figure(milliseconds, 2)]);
  const { server, sallyport } = addedBy(costs);
  return [
    '',
    `## Short-lived credentials, medians of ${costs.rounds}`,
    '',
    table(['connect and one statement', 'ms'], rows(costs.sessions)),
    '',
    `A login of its own takes the server ${figure(server, 2)} ms, and a session through Sallyport ${figure(sallyport, 2)} ms: ${figure(sallyport - server, 2)} ms beyond the server. Goal: at most 5.`,
    '',
    table(['one statement on an open session', 'ms'], rows(costs.statements)),
  ];
}

/** The table as Markdown; what was not measured is `–`. */
export function markdown(report: Report): string {
  const { machine } = report;
  const versions = Object.entries(machine.versions).map(([name, version]) => `${name} ${version}`);
  const idle = Object.entries(report.idleBytes).map(([peer, bytes]) => [peer, figure(bytes / 1024, 1)]);
  const delay = Object.entries(report.eventLoopDelay).flatMap(([peer, lines]) =>
    lines.map((line) => `${peer}: ${line}`),
  );
  return [
    '# Benchmarks',
    '',
    `${machine.date}; ${machine.cores} × ${machine.cpu}, ${figure(machine.memoryGigabytes, 0)} GiB, Linux ${machine.kernel}; ${versions.join(', ')}.`,
    `Client, server and what stands between share that machine. ${report.rounds} interleaved rounds of ${report.seconds} s each, medians; pgbench scale ${report.scale}.`,
    'pgbouncer runs in session mode with md5. Sallyport runs with policy, record and masking on, as `sallyport run` does by default.',
    'Reproduce with `make bench`.',
    '',
    '## Throughput',
    '',
    throughput(report),
    '',
    '## CPU and latency',
    '',
    costs(report),
    ...floor(report),
    '',
    `## Memory per idle session, ${report.idleSessions} sessions`,
    '',
    idle.length === 0 ? 'Not measured.' : table(['', 'KiB'], idle),
    ...credentials(report.credentials),
    '',
    '## Event-loop delay after the runs',
    '',
    delay.length === 0 ? 'Not measured.' : `\`\`\`\n${delay.join('\n')}\n\`\`\``,
    ...(report.failures.length === 0
      ? []
      : [
          '',
          '## What failed',
          '',
          ...report.failures.map((failure) => `* ${failure.trim().replaceAll('\n', '\n  ')}`),
        ]),
    '',
  ].join('\n');
}
