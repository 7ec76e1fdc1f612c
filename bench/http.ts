/** HTTP: nginx as a reverse proxy of one worker, and Sallyport with record, and with masking too, in interleaved rounds. */
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import http, { type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { startHttpLane } from '../test/support/http-lane-ground.ts';
import { freePort, listening, startProgram } from '../test/support/program.ts';
import { findProgram } from '../test/support/server-binaries.ts';
import { load } from './http-load.ts';
import { median } from './measure.ts';
import { cpuSeconds, memoryBytes } from './process-usage.ts';

const quick = process.argv.includes('--quick');
const ROUNDS = quick ? 2 : 7;
const SECONDS = quick ? 1 : 4;
const CONNECTIONS = 64;
const STREAMS = quick ? 100 : 1000;
const EVENTS = quick ? 10 : 50;

const PEERS = ['nginx', 'sallyport', 'masking'] as const;
type PeerName = (typeof PEERS)[number];

const POLICY = `apiVersion: sallyport.dev/v1alpha1
kind: AccessPolicy
metadata: {name: everything-measured}
spec:
  connections: {all: true}
  subjects: [{serviceAccount: {name: agent}}]
  rules:
    - {name: reads, effect: Allow, http: {methods: [GET], paths: ["/**"]}}
`;
const MASKING = `apiVersion: sallyport.dev/v1alpha1
kind: MaskingRule
metadata: {name: people}
spec:
  connections: {selector: {matchLabels: {name: masking}}}
  fields:
    - match: ["**.ssn"]
`;
/** About 1 KiB, as an API answers. */
const DOCUMENT = JSON.stringify({
  items: Array.from({ length: 8 }, (_, index) => ({
    ...{ id: index, name: `customer ${index}`, ssn: `078-05-11${index}0`, plan: 'standard', balance: index * 17.5 },
    created: '2026-11-26T12:00:00Z',
  })),
});

const figure = (value: number, digits: number): string =>
  value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });

function progress(text: string): void {
  process.stderr.write(`bench: http, ${text}\n`);
}

await using cleanup = new AsyncDisposableStack();
const folder = await mkdtemp(path.join(os.tmpdir(), 'sallyport-bench-http-'));
cleanup.defer(() => rm(folder, { recursive: true, force: true }));

const responses = new Set<ServerResponse>();
const events = http.createServer((_request, response) => {
  response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
  responses.add(response);
  response.on('close', () => responses.delete(response));
});
events.listen({ port: 0, host: '127.0.0.1', backlog: 2048 });
await once(events, 'listening');
cleanup.defer(() => void events.close());
const eventsPort = (events.address() as AddressInfo).port;

/** Two of one program: a server of a file, and a proxy before it. */
async function startNginx(name: string, server: string): Promise<{ readonly port: number; readonly pid: number }> {
  const port = await freePort();
  const file = path.join(folder, `${name}.conf`);
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((kind) => `${kind}_temp_path ${folder}/${name}-${kind};`)
    .join(' ');
  await writeFile(
    file,
    `daemon off; master_process off; worker_processes 1; worker_rlimit_nofile 16384; pid ${folder}/${name}.pid; error_log stderr crit;
events { worker_connections 8192; }
http { access_log off; ${temporary} keepalive_requests 100000000; keepalive_timeout 3600; tcp_nodelay on; default_type application/json;
${server.replaceAll('PORT', String(port))} }`,
  );
  const program = startProgram(findProgram('nginx') ?? 'nginx', ['-c', file, '-p', folder]);
  cleanup.use(program);
  await listening(port);
  return { port, pid: program.pid };
}

await writeFile(path.join(folder, 'document'), DOCUMENT);
const origin = await startNginx('origin', `server { listen 127.0.0.1:PORT; root ${folder}; }`);
const proxy = await startNginx(
  'proxy',
  `upstream files { server 127.0.0.1:${origin.port}; keepalive 256; keepalive_requests 100000000; }
upstream events { server 127.0.0.1:${eventsPort}; keepalive 16; }
server { listen 127.0.0.1:PORT; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_read_timeout 3600;
location / { proxy_pass http://files; } location /events { proxy_buffering off; proxy_pass http://events; } }`,
);
const at = (port: number): object => ({ target: { host: '127.0.0.1', port, tls: { mode: 'Disable' } } });
const ground = cleanup.use(
  await startHttpLane({
    resources: { 'policy.yaml': POLICY, 'masking.yaml': MASKING },
    connections: { sallyport: at(origin.port), masking: at(origin.port), events: at(eventsPort) },
  }),
);
const token = await ground.token();
const gatewayPid = ground.gateway.pid;
const request = `GET /document HTTP/1.1\r\nHost: api.example.com\r\nAuthorization: Bearer ${token}\r\nAccept: application/json\r\nUser-Agent: bench\r\n\r\n`;
const port = (peer: PeerName): number => (peer === 'nginx' ? proxy.port : Number(new URL(ground.url(peer)).port));
const pidOf = (peer: PeerName): number => (peer === 'nginx' ? proxy.pid : gatewayPid);

type Samples = Record<PeerName, number[]>;
const samples = (): Samples => ({ nginx: [], sallyport: [], masking: [] });
const [rate, cpu, single] = [samples(), samples(), samples()];
for (const peer of PEERS) await load(port(peer), request, CONNECTIONS, SECONDS / 2);
for (let round = 0; round < ROUNDS; round++) {
  for (const peer of PEERS) {
    progress(`${peer}, round ${round + 1} of ${ROUNDS}`);
    const before = cpuSeconds(pidOf(peer));
    const { requests, seconds } = await load(port(peer), request, CONNECTIONS, SECONDS);
    rate[peer].push(requests / seconds);
    cpu[peer].push(((cpuSeconds(pidOf(peer)) - before) * 1e6) / requests);
    const { latencies } = await load(port(peer), request, 1, SECONDS / 2);
    single[peer].push(latencies[latencies.length >> 1] ?? Number.NaN);
  }
}

/** Opens streams, sends events through all of them, and waits until all have come. */
async function streams(to: number, pid: number, target: string): Promise<{ kilobytes: number; cpu: number }> {
  const before = memoryBytes(pid);
  let arrived = 0;
  let expected = 0;
  let all = Promise.withResolvers<void>();
  const agent = new http.Agent({ maxSockets: Number.POSITIVE_INFINITY });
  const clients = Array.from({ length: STREAMS }, () => {
    const options = { host: '127.0.0.1', port: to, path: target, agent, headers: { authorization: `Bearer ${token}` } };
    return http.get(options, (response) => {
      response.on('error', () => {});
      response.on('data', (chunk: Buffer) => {
        arrived += chunk.length;
        if (arrived >= expected) all.resolve();
      });
    });
  });
  for (const client of clients) client.on('error', () => {});
  await Promise.all(clients.map((client) => once(client, 'response')));
  const kilobytes = (memoryBytes(pid) - before) / STREAMS / 1024;
  const event = `data: ${'x'.repeat(100)}\n\n`;
  const used = cpuSeconds(pid);
  for (let round = 0; round < EVENTS; round++) {
    all = Promise.withResolvers();
    expected += event.length * STREAMS;
    for (const response of responses) response.write(event);
    await all.promise;
  }
  const each = ((cpuSeconds(pid) - used) * 1e6) / (EVENTS * STREAMS);
  for (const client of clients) client.destroy();
  return { kilobytes, cpu: each };
}

progress(`${STREAMS} streams of events`);
const ofNginx = await streams(proxy.port, proxy.pid, '/events');
const ofSallyport = await streams(Number(new URL(ground.url('events')).port), gatewayPid, '/events');

const of = (values: Samples, peer: PeerName): number => median(values[peer]);
const perCore = (peer: PeerName): string => figure(of(cpu, 'nginx') / of(cpu, peer), 2);
const row = (name: string, values: Samples, digits: number): string =>
  `| ${name} | ${PEERS.map((peer) => figure(of(values, peer), digits)).join(' | ')} |`;
process.stdout.write(
  `${[
    '| | nginx | Sallyport | with masking |',
    '| --- | ---: | ---: | ---: |',
    row(`requests/s, ${CONNECTIONS} connections`, rate, 0),
    row('CPU of a request, µs', cpu, 0),
    `| of nginx, per core | 1.00 | ${perCore('sallyport')} | ${perCore('masking')} |`,
    row('one connection, median ms', single, 3),
    `| to nginx, ms | | +${figure(of(single, 'sallyport') - of(single, 'nginx'), 3)} | +${figure(of(single, 'masking') - of(single, 'nginx'), 3)} |`,
    '',
    `${STREAMS} streams of events: ${figure(ofSallyport.kilobytes, 0)} KiB each in Sallyport (nginx ${figure(ofNginx.kilobytes, 0)}), ${figure(ofSallyport.cpu, 1)} µs of CPU an event (nginx ${figure(ofNginx.cpu, 1)}).`,
  ].join('\n')}\n`,
);
