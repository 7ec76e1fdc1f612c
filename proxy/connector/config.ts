import { isIP } from 'node:net';
import type { ConnectorConfig, ConnectorTarget } from '../../api/connector-config.ts';
import { ConnectorError } from './errors.ts';

const HOST = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

type Json = Readonly<Record<string, unknown>>;

const isRecord = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isHost = (value: unknown): value is string =>
  typeof value === 'string' && value.length <= 253 && (HOST.test(value) || isIP(value) !== 0);

function targetOf(value: unknown, index: number): ConnectorTarget {
  const wrong = (field: string): ConnectorError =>
    new ConnectorError('SPN001', [`targets[${index}].${field} is missing or wrong`]);
  if (!isRecord(value)) throw wrong('host');
  const { connections, host, port, listen, proxy, serverName, onBypass } = value;
  if (!isHost(host)) throw wrong('host');
  if (typeof port !== 'number' || !Number.isInteger(port) || port < 1 || port > 65_535) throw wrong('port');
  // On another address the listener would be open to the whole cluster, with this pod's identity.
  if (typeof listen !== 'string' || isIP(listen) !== 4 || !listen.startsWith('127.')) throw wrong('listen');
  if (!isHost(proxy)) throw wrong('proxy');
  if (!isHost(serverName)) throw wrong('serverName');
  if (onBypass !== 'Report' && onBypass !== 'Refuse') throw wrong('onBypass');
  if (!Array.isArray(connections) || !connections.every((one) => typeof one === 'string')) throw wrong('connections');
  return { connections, host, port, listen, proxy, serverName, onBypass };
}

/** What `SALLYPORT_CONNECTOR` says. @throws ConnectorError SPN001 */
export function parseConfig(text: string | undefined): ConnectorConfig {
  if (text === undefined) throw new ConnectorError('SPN001', ['it is not set']);
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    throw new ConnectorError('SPN001', ['it is not JSON'], error);
  }
  if (!isRecord(document) || document['version'] !== 1) throw new ConnectorError('SPN001', ['its version is not 1']);
  if (!Array.isArray(document['targets'])) throw new ConnectorError('SPN001', ['targets is missing']);
  const targets = document['targets'].map(targetOf);
  const places = targets.map(({ listen, port }) => `${listen}:${port}`);
  const twice = places.find((place, index) => places.indexOf(place) !== index);
  if (twice !== undefined) throw new ConnectorError('SPN001', [`two targets listen on ${twice}`]);
  return { version: 1, targets };
}
