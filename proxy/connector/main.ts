import { lookup } from 'node:dns/promises';
import { PORTS } from '../../api/cluster.ts';
import { readFileSync } from './builtin.ts';
import { parseConfig } from './config.ts';
import { startConnector } from './connector.ts';
import { parseResolvConf, type ResolverSettings, resolveByDns } from './dns.ts';
import { createLog } from './log.ts';

/** The connector's program: what it is told comes from the environment and from mounted files, and it writes to its log alone. */

const DNS_MS = 2000;
/** The kubelet kills it at the end of the pod's grace period anyway; as a native sidecar it is told to stop after the agent has ended. */
const DRAIN_MS = 25_000;

const { env } = process;
const log = createLog({ write: (line) => process.stdout.write(line), now: Date.now });
const run = env['SALLYPORT_RUN'] ?? '/var/run/sallyport';

/** Without the file the names are asked for as they are. */
function resolverSettings(): ResolverSettings {
  try {
    return parseResolvConf(readFileSync('/etc/resolv.conf', 'utf8'));
  } catch (error) {
    log.failure(error);
    return { search: [], ndots: 1 };
  }
}

process.on('uncaughtException', (error) => {
  log.failure(error, 'error');
  process.exit(1);
});

try {
  const connector = await startConnector({
    config: parseConfig(env['SALLYPORT_CONNECTOR']),
    version: env['SALLYPORT_VERSION'] ?? 'unknown',
    files: { ca: `${run}/ca/ca.crt`, token: `${run}/token/token`, trust: `${run}/trust/ca-bundle.crt` },
    readiness: { port: PORTS.connectorHealth },
    proxyPort: Number(env['SALLYPORT_PROXY_PORT'] ?? PORTS.tunnel),
    lookup: async (name) => (await lookup(name, { all: true })).map(({ address }) => address),
    resolve: (host) => resolveByDns(host, resolverSettings(), DNS_MS),
    log,
    now: Date.now,
    random: Math.random,
  });
  const stop = (): void => {
    connector.drain(DRAIN_MS).then(
      () => process.exit(0),
      (error: unknown) => {
        log.failure(error, 'error');
        process.exit(1);
      },
    );
  };
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
} catch (error) {
  log.failure(error, 'error');
  process.exitCode = 1;
}
