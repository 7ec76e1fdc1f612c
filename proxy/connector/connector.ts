import { createServer, type Server, type Socket } from 'node:net';
import { createSecureContext, type SecureContext } from 'node:tls';
import type { ConnectorConfig, ConnectorTarget } from '../../api/connector-config.ts';
import { ConnectorError, reasonOf } from './errors.ts';
import type { ConnectorLog } from './log.ts';
import { pipeBoth } from './pipe.ts';
import { type ProbeOptions, type ProbeState, probeTarget } from './probe.ts';
import { createProxyLink, type ProxyLink } from './proxy-link.ts';
import { serveReadiness } from './readiness.ts';
import { createReplicas } from './replicas.ts';
import { writeTrustBundle } from './trust-bundle.ts';
import { pause } from './wait.ts';
import { watchFile } from './watched-file.ts';

export interface ConnectorOptions {
  readonly config: ConnectorConfig;
  readonly version: string;
  readonly files: { readonly ca: string; readonly token: string; readonly trust: string };
  /** Without a host every address of the pod, of whatever family it has. */
  readonly readiness: { readonly host?: string; readonly port: number };
  /** Port of the proxies' tunnel. */
  readonly proxyPort: number;
  /** As the programs of the pod look names up: for the proxies. */
  readonly lookup: (name: string) => Promise<readonly string[]>;
  /** By DNS alone: for the probe. */
  readonly resolve: ProbeOptions['resolve'];
  readonly probeTiming?: ProbeOptions['timing'];
  readonly log: ConnectorLog;
  readonly now: () => number;
  readonly random: () => number;
}

export interface Connector {
  /** Undefined: ready. */
  notReady(): string | undefined;
  /** Port of `/readyz`. */
  readonly readinessPort: number;
  readonly openConnections: number;
  /** Takes no new connections and waits for those that are open, at most so long; then closes them. */
  drain(withinMs: number): Promise<void>;
}

const CONNECTIONS = 4096;
const FILES_MS = 2000;
const KEEP_ALIVE_MS = 30_000;
/** Longer than all rounds over the replicas take when each of them is only slow. */
const OPEN_MS = 60_000;

function listen(server: Server, { listen: host, port }: ConnectorTarget): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) => reject(new ConnectorError('SPN003', [`${host}:${port}`, reasonOf(error)], error)));
    server.listen({ host, port, backlog: 1024 }, resolve);
  });
}

/** Starts the connector of a pod: resolves once it listens, ready or not. @throws ConnectorError SPN002, SPN003, SPN015 */
export async function startConnector(options: ConnectorOptions): Promise<Connector> {
  const { config, version, files, log, now, random } = options;
  const ended = new AbortController();
  const { signal } = ended;
  const caFile = watchFile(files.ca);
  const tokenFile = watchFile(files.token);
  const clients = new Set<Socket>();
  const servers: Server[] = [];
  const probes = new Map<ConnectorTarget, ProbeState>();

  let ca = caFile.read();
  let context: SecureContext = createSecureContext({ ca, minVersion: 'TLSv1.3' });
  writeTrustBundle(files.trust, ca);

  const links = new Map<string, ProxyLink>();
  function linkOf({ proxy, serverName }: ConnectorTarget): ProxyLink {
    const known = links.get(proxy);
    if (known !== undefined) return known;
    const link = createProxyLink({
      replicas: createReplicas({ name: proxy, lookup: options.lookup, random, now }),
      name: proxy,
      serverName,
      port: options.proxyPort,
      token: tokenFile,
      context: () => context,
      version,
      log,
      now,
    });
    links.set(proxy, link);
    return link;
  }

  async function carry(client: Socket, target: ConnectorTarget): Promise<void> {
    const gone = new AbortController();
    const onClose = (): void => gone.abort();
    // A client that goes away while the tunnel is made: nobody else listens for its errors yet.
    const onError = (): void => {};
    client.once('close', onClose);
    client.on('error', onError);
    try {
      const patience = AbortSignal.any([signal, gone.signal, AbortSignal.timeout(OPEN_MS)]);
      const upstream = await linkOf(target).open(target, patience);
      if (client.destroyed) {
        upstream.destroy();
        return;
      }
      client.setKeepAlive(true, KEEP_ALIVE_MS);
      const error = await pipeBoth(client, upstream);
      const place = `${target.host}:${target.port}`;
      if (error !== undefined && !signal.aborted)
        log.failure(new ConnectorError('SPN016', [place, reasonOf(error)], error));
    } catch (error) {
      if (!gone.signal.aborted && !signal.aborted) log.failure(error, 'error');
    } finally {
      // Reset, not ended: a client must not take it for an answer that happens to be empty.
      if (!client.destroyed) client.resetAndDestroy();
    }
  }

  function serve(target: ConnectorTarget): Promise<void> {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (client) => {
      if (clients.size >= CONNECTIONS) {
        log.failure(new ConnectorError('SPN010', [clients.size]));
        client.resetAndDestroy();
        return;
      }
      clients.add(client);
      client.once('close', () => clients.delete(client));
      carry(client, target).catch((error: unknown) => log.failure(error, 'error'));
    });
    servers.push(server);
    return listen(server, target);
  }

  /** Files that the kubelet has replaced. */
  async function followFiles(): Promise<void> {
    while (!signal.aborted) {
      await pause(FILES_MS, signal);
      try {
        const fresh = caFile.read();
        if (fresh !== ca) {
          context = createSecureContext({ ca: fresh, minVersion: 'TLSv1.3' });
          writeTrustBundle(files.trust, fresh);
          ca = fresh;
          log.info('the authority of Sallyport has changed');
        }
        await Promise.all([...links.values()].map((link) => link.refreshIdentity(signal)));
      } catch (error) {
        log.failure(error);
      }
    }
  }

  function probe(target: ConnectorTarget): void {
    probes.set(target, { type: 'unknown', reason: 'it was not tried yet' });
    const reporting = { stop: new AbortController() };
    const probing = probeTarget(
      target,
      {
        resolve: options.resolve,
        log,
        ...(options.probeTiming === undefined ? {} : { timing: options.probeTiming }),
        onState: (state) => probes.set(target, state),
        report: (reachable) => {
          // An older result must not overtake a newer one.
          reporting.stop.abort();
          reporting.stop = new AbortController();
          const { host, port } = target;
          const until = AbortSignal.any([signal, reporting.stop.signal]);
          linkOf(target)
            .report({ host, port, reachable }, until)
            .catch((error: unknown) => log.failure(error));
        },
      },
      signal,
    );
    probing.catch((error: unknown) => log.failure(error));
  }

  function notReady(): string | undefined {
    for (const [{ onBypass, host, port }, state] of probes) {
      if (onBypass === 'Report' || state.type === 'closed') continue;
      if (state.type === 'open')
        return `SPN012: ${host}:${port} can be reached without Sallyport, and its connection says onBypass: Refuse`;
      return `SPN013: whether ${host}:${port} can be reached without Sallyport is not known: ${state.reason}`;
    }
    return undefined;
  }

  function end(): void {
    ended.abort();
    readiness?.close();
    for (const server of servers) server.close();
    for (const client of clients) client.resetAndDestroy();
    for (const link of links.values()) link.close();
  }

  let readiness: Awaited<ReturnType<typeof serveReadiness>> | undefined;
  try {
    await Promise.all(config.targets.map(serve));
    readiness = await serveReadiness(options.readiness, notReady);
  } catch (error) {
    end();
    throw error;
  }
  for (const target of config.targets) probe(target);
  followFiles().catch((error: unknown) => log.failure(error, 'error'));
  log.info('listening', { targets: config.targets.map(({ host, port, listen: at }) => `${host}:${port} at ${at}`) });

  return {
    notReady,
    readinessPort: readiness.address.port,
    get openConnections() {
      return clients.size;
    },
    async drain(withinMs) {
      for (const server of servers) server.close();
      const late = AbortSignal.timeout(withinMs);
      const idle = new AbortController();
      const look = (): void => {
        if (clients.size === 0) idle.abort();
      };
      for (const client of clients) client.once('close', look);
      look();
      await pause(withinMs, AbortSignal.any([idle.signal, late]));
      if (clients.size > 0) log.failure(new ConnectorError('SPN017', [withinMs]));
      end();
    },
  };
}
