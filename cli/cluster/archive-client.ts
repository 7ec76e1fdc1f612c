import { readFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import https from 'node:https';
import { resolve } from 'node:path';
import { NAMES } from '../../api/cluster.ts';
import { CONFIG_MAPS } from '../../kube/builtin.ts';
import { CliError } from '../errors.ts';
import type { CliIo } from '../io.ts';
import type { PlaceOptions } from '../places/place-options.ts';
import type { Cluster } from './cluster.ts';
import { forwardToArchive } from './port-forward.ts';

/** The archive's port for people. */
export interface ArchiveClient extends AsyncDisposable {
  /** The body of an answer, as it comes. @throws CliError; AnsweredError */
  get(path: string, signal: AbortSignal): Promise<IncomingMessage>;
}

/** What the archive said: its own code and advice. */
export class AnsweredError extends Error {
  override readonly name = 'AnsweredError';
  readonly code: string;
  readonly hint: string;
  constructor(code: string, message: string, hint: string) {
    super(message);
    this.code = code;
    this.hint = hint;
  }
}

const MAX_REFUSAL = 65_536;
const CONNECT_MS = 15_000;

/**
 * Goes to `--archive`, or through kubectl. Whom to trust is said by `--archive-ca`, or by the ConfigMap that the operator keeps; who asks, by the
 * same token or client certificate that the kubeconfig gives for the API server. @throws CliError SPC060, SPC062, SPC063
 */
export async function openArchive(cluster: Cluster, options: PlaceOptions, io: CliIo): Promise<ArchiveClient> {
  const [ca, credential] = await Promise.all([authority(cluster, options, io), cluster.access.credential(false)]);
  const authorization = Object.entries(credential.headers).find(
    ([name]) => name.toLowerCase() === 'authorization',
  )?.[1];
  if (Object.keys(credential.headers).some((name) => /^impersonate-/i.test(name))) throw new CliError('SPC063', []);
  const given = options.archive === undefined ? undefined : new URL(options.archive);
  await using opening = new AsyncDisposableStack();
  const forward = given === undefined ? opening.use(await forwardToArchive(cluster, io)) : undefined;
  const base = given ?? new URL(`https://127.0.0.1:${forward?.port ?? 0}`);
  const { cert, key } = credential.tls;
  const agent = new https.Agent({
    keepAlive: true,
    ca,
    minVersion: 'TLSv1.3',
    // Whatever way leads there, it is the archive of this installation.
    servername: `${NAMES.archive}.${cluster.operatorNamespace}.svc`,
    ...(cert === undefined || key === undefined ? {} : { cert, key }),
  });
  opening.defer(() => agent.destroy());
  const open = opening.move();
  const headers = typeof authorization === 'string' ? { authorization } : {};
  return {
    get: (path, signal) => send(new URL(path, base), agent, headers, signal),
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}

async function authority(cluster: Cluster, options: PlaceOptions, io: CliIo): Promise<string> {
  if (options.archiveCa !== undefined) {
    const file = resolve(io.cwd, options.archiveCa);
    try {
      return await readFile(file, 'utf8');
    } catch (error) {
      throw new CliError('SPC062', [error instanceof Error ? error.message : file], error);
    }
  }
  const ref = { namespace: cluster.operatorNamespace, name: NAMES.archive };
  const ca = (await cluster.client.get(CONFIG_MAPS, ref))?.data?.['ca.crt'];
  if (ca === undefined)
    throw new CliError('SPC062', [`there is no ConfigMap ${ref.namespace}/${ref.name} with ca.crt`]);
  return ca;
}

async function send(
  url: URL,
  agent: https.Agent,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  let response: IncomingMessage;
  try {
    response = await new Promise((done, failed) => {
      const request = https.request(url, { agent, headers, signal, timeout: CONNECT_MS }, done);
      request.once('timeout', () => request.destroy(new Error(`no answer within ${CONNECT_MS / 1000} s`)));
      request.once('error', failed);
      request.end();
    });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new CliError('SPC061', [url.origin, error instanceof Error ? error.message : String(error)], error);
  }
  // The answer may be long in coming, or be that of following, which is silent between its heartbeats.
  response.socket.setTimeout(0);
  if (response.statusCode === 200) return response;
  throw await refusal(response);
}

async function refusal(response: IncomingMessage): Promise<Error> {
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) if (text.length < MAX_REFUSAL) text += chunk;
  try {
    const told: unknown = JSON.parse(text);
    if (typeof told === 'object' && told !== null && 'code' in told && 'message' in told) {
      const hint = 'hint' in told ? String(told.hint) : '';
      return new AnsweredError(String(told.code), String(told.message), hint);
    }
  } catch {
    // Not from the archive: the status has to do.
  }
  return new CliError('SPC064', [String(response.statusCode ?? 0)]);
}
