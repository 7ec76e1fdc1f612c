import { ApiError } from '../../api/errors.ts';
import type { CompiledConnection } from '../../policy/bundle.ts';
import type { KubernetesCredential } from '../ports.ts';

/**
 * A kubeconfig (client-go, tools/clientcmd/api/v1) in a Secret, for a cluster other than the own. It has to be whole in itself: what
 * names files or programs is refused, since it would read, or run, in the proxy what whoever writes the Secret names. What would send
 * the credential elsewhere than to the connection's target is refused too.
 */

type Fields = Readonly<Record<string, unknown>>;

const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Fields that a credential cannot have here, and why. */
const REFUSED: Readonly<Record<string, string>> = {
  exec: 'exec plugins are not run',
  'auth-provider': 'auth-provider is not supported',
  username: 'basic authentication is not supported',
  password: 'basic authentication is not supported',
  tokenFile: 'it names a file',
  'client-certificate': 'it names a file',
  'client-key': 'it names a file',
  'certificate-authority': 'it names a file',
  'proxy-url': 'proxy-url is not supported',
  as: 'it impersonates',
  'as-uid': 'it impersonates',
  'as-groups': 'it impersonates',
  'as-user-extra': 'it impersonates',
};

/** @param label `NAMESPACE/NAME` of the Secret. @throws ApiError SPA030, which tells nothing of what is in it */
export async function kubeconfigCredential(
  label: string,
  content: Buffer,
  target: Pick<CompiledConnection['target'], 'host' | 'port' | 'tls'>,
): Promise<KubernetesCredential> {
  const refuse = (what: string): ApiError => new ApiError('SPA030', [label, what]);
  // Only connections to other clusters have one: the parser of YAML is not loaded for the others.
  const { parse } = await import('yaml');
  let document: unknown;
  try {
    document = parse(content.toString('utf8'), { maxAliasCount: 0 });
  } catch {
    // The parser's message quotes lines of the file, and a line may hold a token.
    throw refuse('it is no YAML');
  }
  if (!isFields(document)) throw refuse('it is no document of kind Config');
  const config = document;

  function entry(list: 'clusters' | 'users' | 'contexts', field: string, name: unknown): Fields {
    const entries: readonly unknown[] = Array.isArray(config[list]) ? config[list] : [];
    const found = entries.filter(isFields).find((each) => each['name'] === name);
    const fields = found?.[field];
    if (typeof name !== 'string' || !isFields(fields)) throw refuse(`current-context leads to no entry of ${list}`);
    for (const key of Object.keys(fields)) {
      const why = Object.hasOwn(REFUSED, key) ? REFUSED[key] : undefined;
      if (why !== undefined) throw refuse(`${key}: ${why}`);
    }
    return fields;
  }

  const context = entry('contexts', 'context', config['current-context']);
  const cluster = entry('clusters', 'cluster', context['cluster']);
  const user = entry('users', 'user', context['user']);
  if (cluster['insecure-skip-tls-verify'] === true) throw refuse('it does not verify the server');
  checkServer(cluster['server'], target, refuse);
  const text = (fields: Fields, key: string): string | undefined => {
    const value = fields[key];
    if (value === undefined || value === null || value === '') return undefined;
    if (typeof value !== 'string') throw refuse(`${key} is not a text`);
    return value;
  };
  const decoded = (fields: Fields, key: string): string | undefined => {
    const value = text(fields, key);
    return value === undefined ? undefined : Buffer.from(value, 'base64').toString('utf8');
  };
  const token = text(user, 'token')?.trim();
  const certificate = decoded(user, 'client-certificate-data');
  const key = decoded(user, 'client-key-data');
  if ((certificate === undefined) !== (key === undefined)) throw refuse('a client certificate needs its key');
  if (token === undefined && certificate === undefined) throw refuse('it has neither a token nor a client certificate');
  const authorities = decoded(cluster, 'certificate-authority-data');
  const serverName = text(cluster, 'tls-server-name');
  return {
    ...(token === undefined ? {} : { token }),
    ...(certificate === undefined || key === undefined ? {} : { clientCertificate: { certificate, key } }),
    ...(authorities === undefined ? {} : { certificateAuthorities: authorities }),
    ...(serverName === undefined ? {} : { serverName }),
  };
}

function checkServer(
  server: unknown,
  { host, port }: Pick<CompiledConnection['target'], 'host' | 'port'>,
  refuse: (what: string) => ApiError,
): void {
  const url = typeof server === 'string' ? URL.parse(server) : null;
  if (url === null || url.protocol !== 'https:') throw refuse('its server is no https URL');
  if (url.pathname !== '/' || url.search !== '') throw refuse('its server has a path');
  const named = url.hostname.replace(/^\[|\]$/g, '');
  const at = url.port === '' ? 443 : Number(url.port);
  if (named !== host.toLowerCase() || at !== port) throw refuse('its server is not the target of the connection');
}
