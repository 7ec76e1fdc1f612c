import { rename, writeFile } from 'node:fs/promises';
import { rootCertificates } from 'node:tls';
import { ConnectorError, reasonOf } from './errors.ts';

/**
 * The authorities that agents trust: those that every system does (Mozilla's, as they come with Node) and Sallyport's. Replaced in one
 * step, so that no client ever reads half of it. @param ca PEM @throws ConnectorError SPN015
 */
export async function writeTrustBundle(path: string, ca: string): Promise<void> {
  try {
    await writeFile(`${path}.new`, `${rootCertificates.join('\n')}\n${ca.trim()}\n`, { mode: 0o644 });
    await rename(`${path}.new`, path);
  } catch (error) {
    throw new ConnectorError('SPN015', [path, reasonOf(error)], error);
  }
}
