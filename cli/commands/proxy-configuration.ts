import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { loadConfiguration } from '../../api/configuration.ts';
import { PROXY_CONFIGURATION_FILE, type ProxyConfiguration } from '../../operator/desired/proxy-configuration.ts';

/** The port of an address, or that of its scheme. */
function portOf(address: string): number {
  const { port, protocol } = new URL(address);
  return port === '' ? (protocol === 'http:' ? 80 : 443) : Number(port);
}

/**
 * The folder that proxies get, checked here so that a mistake stops the operator and not every proxy.
 * @throws ApiError; errors of files
 */
export async function readProxyConfiguration(folder: string): Promise<ProxyConfiguration> {
  const { issuers } = await loadConfiguration(join(folder, PROXY_CONFIGURATION_FILE));
  // The kubelet's own links in a mounted ConfigMap begin with a dot.
  const names = (await readdir(folder)).filter((name) => !name.startsWith('.')).sort();
  const files = await Promise.all(
    names.map(async (name) => [name, await readFile(join(folder, name), 'utf8')] as const),
  );
  for (const { alias, caFile } of issuers) {
    if (caFile === undefined) continue;
    await readFile(caFile, 'utf8').catch((error: Error) => {
      throw new Error(`caFile of issuer ${alias}: ${error.message}`, { cause: error });
    });
  }
  const ports = issuers.flatMap(({ issuer, jwksUri }) =>
    [issuer, ...(jwksUri === undefined ? [] : [jwksUri])].map(portOf),
  );
  return { files: Object.fromEntries(files), issuerPorts: [...new Set(ports)].sort((a, b) => a - b) };
}
