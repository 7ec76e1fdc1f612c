import { rootCertificates } from 'node:tls';
import { renameSync, writeFileSync } from './builtin.ts';
import { ConnectorError, reasonOf } from './errors.ts';

/**
 * The authorities that agents trust: those that every system does (Mozilla's, as they come with Node) and Sallyport's. Replaced in one
 * step, so that no client ever reads half of it. @param ca PEM @throws ConnectorError SPN015
 */
export function writeTrustBundle(path: string, ca: string): void {
  try {
    writeFileSync(`${path}.new`, `${rootCertificates.join('\n')}\n${ca.trim()}\n`, { mode: 0o644 });
    renameSync(`${path}.new`, path);
  } catch (error) {
    throw new ConnectorError('SPN015', [path, reasonOf(error)], error);
  }
}
