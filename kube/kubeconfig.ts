import { access as canRead, readFile } from 'node:fs/promises';
import { delimiter, dirname, join, resolve } from 'node:path';
import { parse } from 'yaml';
import {
  type AccessOptions,
  type CachedFile,
  type ClusterAccess,
  type Credential,
  cachedFile,
  type Environment,
} from './access.ts';
import { KubeError } from './errors.ts';
import { type ExecSettings, execCredential } from './exec-credential.ts';

/**
 * Kubeconfig files (client-go, tools/clientcmd/api/v1). Several are merged as kubectl does: of two entries with one name the first
 * counts, and paths are relative to the file that they stand in. What is not supported is refused by name, never left out: a
 * `proxy-url` that is ignored would send a credential another way than its owner wanted.
 */

type Fields = Readonly<Record<string, unknown>>;

interface Entry {
  readonly fields: Fields;
  readonly file: string;
}

interface Merged {
  readonly clusters: Map<string, Entry>;
  readonly users: Map<string, Entry>;
  readonly contexts: Map<string, Entry>;
  current: string | undefined;
}

const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const refuse = (file: string, what: string, cause?: unknown): KubeError =>
  new KubeError('SPB015', [file, what], { cause });

/** Those of `KUBECONFIG`, else `~/.kube/config`; only what exists. */
export async function kubeconfigFiles(env: Environment): Promise<string[]> {
  const named = env['KUBECONFIG']?.split(delimiter).filter((path) => path !== '');
  const candidates =
    named !== undefined && named.length > 0 ? named : env['HOME'] ? [join(env['HOME'], '.kube/config')] : [];
  const found: string[] = [];
  for (const path of candidates) {
    await canRead(path).then(
      () => found.push(path),
      (error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOENT') throw refuse(path, error.code ?? error.message, error);
      },
    );
  }
  return found;
}

async function readMerged(files: readonly string[]): Promise<Merged> {
  const merged: Merged = { clusters: new Map(), users: new Map(), contexts: new Map(), current: undefined };
  for (const file of files) {
    let document: unknown;
    try {
      document = parse(await readFile(file, 'utf8'));
    } catch (error) {
      // The parser's message quotes lines of the file, and a line may hold a token.
      const code = error instanceof Error && 'code' in error ? String(error.code) : 'not YAML';
      throw refuse(file, code, error instanceof Error && error.name === 'YAMLParseError' ? undefined : error);
    }
    if (!isFields(document)) throw refuse(file, 'it is no document of kind Config');
    for (const [list, field] of [
      ['clusters', 'cluster'],
      ['users', 'user'],
      ['contexts', 'context'],
    ] as const) {
      const entries = document[list];
      for (const entry of Array.isArray(entries) ? (entries as unknown[]) : []) {
        if (!isFields(entry) || typeof entry['name'] !== 'string')
          throw refuse(file, `an entry of ${list} has no name`);
        const fields = entry[field] ?? {};
        if (!isFields(fields)) throw refuse(file, `${list} ${entry['name']} has no ${field}`);
        if (!merged[list].has(entry['name'])) merged[list].set(entry['name'], { fields, file });
      }
    }
    const current = document['current-context'];
    if (typeof current === 'string' && current !== '') merged.current ??= current;
  }
  return merged;
}

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/;

/** @throws KubeError SPB015 */
export async function fileAccess(files: readonly string[], options: AccessOptions): Promise<ClusterAccess> {
  const merged = await readMerged(files);
  const where = files.join(delimiter);
  const contextName = options.context ?? merged.current;
  if (contextName === undefined) throw refuse(where, 'it has no current-context');
  const context = merged.contexts.get(contextName);
  if (context === undefined) throw refuse(where, `there is no context ${contextName}`);
  const cluster = entryOf(merged.clusters, context, 'cluster');
  const server = URL.parse(text(cluster, 'server') ?? '');
  if (server === null) throw refuse(cluster.file, 'the cluster has no server, or it is no URL');
  if (server.protocol !== 'https:' && server.protocol !== 'http:')
    throw refuse(cluster.file, 'the server is not https');
  if (text(cluster, 'proxy-url') !== undefined) throw refuse(cluster.file, 'proxy-url is not supported');
  if (server.protocol === 'http:' && !LOOPBACK.test(server.hostname)) {
    throw refuse(cluster.file, 'a server without TLS is used on this machine only');
  }
  const now = options.now ?? (() => performance.now());
  const ca = material(cluster, 'certificate-authority', now);
  const serverName = text(cluster, 'tls-server-name');
  const insecure = cluster.fields['insecure-skip-tls-verify'] === true;
  const user =
    text(context, 'user') === undefined ? { fields: {}, file: context.file } : entryOf(merged.users, context, 'user');
  const userCredential = userOf(user, { env: options.env, now, server, clusterCa: ca });
  return {
    server,
    namespace: text(context, 'namespace'),
    async credential(fresh, signal) {
      const signedIn = await userCredential(fresh, signal);
      return { headers: signedIn.headers, tls: { ca: await ca?.(fresh), serverName, insecure, ...signedIn.tls } };
    },
  };
}

function entryOf(entries: ReadonlyMap<string, Entry>, context: Entry, field: 'cluster' | 'user'): Entry {
  const name = text(context, field);
  if (name === undefined) throw refuse(context.file, `the context names no ${field}`);
  const entry = entries.get(name);
  if (entry === undefined) throw refuse(context.file, `there is no ${field} ${name}`);
  return entry;
}

function text(entry: Entry, field: string): string | undefined {
  const value = entry.fields[field];
  if (value === undefined || value === null || value === '') return undefined;
  if (typeof value !== 'string') throw refuse(entry.file, `${field} is not a string`);
  return value;
}

/** `FIELD-data`, base64, before `FIELD`, a path. */
function material(entry: Entry, field: string, now: () => number): CachedFile | undefined {
  const data = text(entry, `${field}-data`);
  if (data !== undefined) {
    const content = Buffer.from(data, 'base64').toString('utf8');
    return () => Promise.resolve(content);
  }
  const path = text(entry, field);
  return path === undefined ? undefined : fileOf(entry, path, now);
}

function fileOf(entry: Entry, path: string, now: () => number): CachedFile {
  const full = resolve(dirname(entry.file), path);
  const file = cachedFile(full, now);
  return async (fresh) => {
    try {
      return await file(fresh);
    } catch (error) {
      throw refuse(entry.file, `${full} cannot be read`, error);
    }
  };
}

type SignIn = (fresh: boolean, signal?: AbortSignal) => Promise<Credential>;

function userOf(
  user: Entry,
  ground: { env: Environment; now: () => number; server: URL; clusterCa: CachedFile | undefined },
): SignIn {
  for (const field of ['auth-provider', 'username', 'password']) {
    if (user.fields[field] !== undefined) throw refuse(user.file, `${field} of a user is not supported; use exec`);
  }
  const impersonation = impersonationOf(user);
  const certificate = material(user, 'client-certificate', ground.now);
  const key = material(user, 'client-key', ground.now);
  if ((certificate === undefined) !== (key === undefined)) {
    throw refuse(user.file, 'a client certificate needs its key, and the other way round');
  }
  const tokenText = text(user, 'token');
  const tokenPath = text(user, 'tokenFile');
  const token: CachedFile | undefined =
    tokenPath !== undefined
      ? fileOf(user, tokenPath, ground.now)
      : (tokenText && (() => Promise.resolve(tokenText))) || undefined;
  const exec = user.fields['exec'] === undefined ? undefined : execOf(user);
  const plugin =
    exec === undefined
      ? undefined
      : execCredential(exec, { env: ground.env, server: ground.server, clusterCa: ground.clusterCa });
  return async (fresh, signal) => {
    const cert = await certificate?.(fresh);
    const own = cert === undefined ? {} : { cert, key: await key?.(fresh) };
    const bearer = (await token?.(fresh))?.trim();
    if (bearer !== undefined || plugin === undefined) {
      return { headers: { ...impersonation, ...(bearer ? { Authorization: `Bearer ${bearer}` } : {}) }, tls: own };
    }
    const made = await plugin(fresh, signal);
    return {
      headers: { ...impersonation, ...(made.token ? { Authorization: `Bearer ${made.token}` } : {}) },
      tls: made.certificate === undefined ? own : { cert: made.certificate, key: made.key },
    };
  };
}

function impersonationOf(user: Entry): Record<string, string | readonly string[]> {
  const name = text(user, 'as');
  const groups = user.fields['as-groups'];
  if (user.fields['as-user-extra'] !== undefined) throw refuse(user.file, 'as-user-extra is not supported');
  if (name === undefined) {
    if (groups !== undefined || text(user, 'as-uid')) throw refuse(user.file, 'as-groups and as-uid need as');
    return {};
  }
  const uid = text(user, 'as-uid');
  return {
    'Impersonate-User': name,
    ...(uid === undefined ? {} : { 'Impersonate-Uid': uid }),
    ...(Array.isArray(groups) && groups.length > 0 ? { 'Impersonate-Group': groups.map(String) } : {}),
  };
}

function execOf(user: Entry): ExecSettings {
  const exec = user.fields['exec'];
  const fail = (what: string): never => {
    throw refuse(user.file, `exec: ${what}`);
  };
  if (!isFields(exec)) return fail('it is no object');
  const { command, apiVersion, args, env } = exec;
  if (typeof command !== 'string' || command === '') return fail('it has no command');
  if (apiVersion !== 'client.authentication.k8s.io/v1' && apiVersion !== 'client.authentication.k8s.io/v1beta1') {
    return fail(`apiVersion ${String(apiVersion)} is not known`);
  }
  if (exec['interactiveMode'] === 'Always') return fail('a plugin that must ask a person cannot be used');
  const variables = (Array.isArray(env) ? (env as unknown[]) : []).filter(isFields);
  return {
    // As client-go: a path is relative to the file, a bare name is looked up in PATH.
    command: command.includes('/') ? resolve(dirname(user.file), command) : command,
    args: Array.isArray(args) ? args.map(String) : [],
    env: Object.fromEntries(variables.map((each) => [String(each['name']), String(each['value'] ?? '')])),
    apiVersion,
    provideClusterInfo: exec['provideClusterInfo'] === true,
  };
}
