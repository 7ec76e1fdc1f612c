import { execFile } from 'node:child_process';
import type { CachedFile, Environment } from './access.ts';
import { KubeError } from './errors.ts';

/**
 * Credential plugins (KEP-541; client.authentication.k8s.io): a program prints an ExecCredential with a token or a client certificate.
 * What it gave is used until it expires or is refused.
 */

export interface ExecSettings {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly apiVersion: string;
  readonly provideClusterInfo: boolean;
}

export interface ExecCredential {
  readonly token?: string | undefined;
  /** PEM. */
  readonly certificate?: string | undefined;
  readonly key?: string | undefined;
}

/** Milliseconds for a plugin, which may open a browser's session again. */
const PLUGIN_MS = 60_000;
const MAX_OUTPUT_BYTES = 1024 * 1024;
/** One that ends sooner than this is not used any more: the request takes time too. */
const MARGIN_MS = 10_000;

interface Made {
  readonly credential: ExecCredential;
  readonly expiresAt: number;
}

export function execCredential(
  settings: ExecSettings,
  ground: { env: Environment; server: URL; clusterCa: CachedFile | undefined },
): (fresh: boolean, signal?: AbortSignal) => Promise<ExecCredential> {
  let made: Made | undefined;
  let running: Promise<Made> | undefined;
  const make = async (): Promise<Made> => {
    const ca = await ground.clusterCa?.(false);
    const cluster = {
      server: ground.server.href,
      ...(ca === undefined ? {} : { 'certificate-authority-data': Buffer.from(ca).toString('base64') }),
    };
    const info = {
      apiVersion: settings.apiVersion,
      kind: 'ExecCredential',
      spec: { interactive: false, ...(settings.provideClusterInfo ? { cluster } : {}) },
    };
    const env = { ...ground.env, ...settings.env, KUBERNETES_EXEC_INFO: JSON.stringify(info) };
    return parseExecCredential(await runPlugin(settings, env), settings);
  };
  return async (fresh) => {
    if (made !== undefined && !fresh && Date.now() < made.expiresAt - MARGIN_MS) return made.credential;
    // Callers at one time share one run.
    running ??= make().finally(() => {
      running = undefined;
    });
    made = await running;
    return made.credential;
  };
}

function runPlugin(settings: ExecSettings, env: Environment): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(
      settings.command,
      settings.args,
      { env: { ...env }, timeout: PLUGIN_MS, maxBuffer: MAX_OUTPUT_BYTES },
      (error, stdout) => {
        if (error === null) return resolve(stdout);
        // Not the error's own message: it has the arguments and what the plugin printed.
        const what = error.killed
          ? `no answer within ${PLUGIN_MS} ms`
          : `it ended with ${String(error.code ?? error.signal)}`;
        reject(new KubeError('SPB016', [settings.command, what]));
      },
    ).stdin?.end();
  });
}

/** @throws KubeError SPB016 */
export function parseExecCredential(output: string, settings: Pick<ExecSettings, 'command' | 'apiVersion'>): Made {
  const fail = (what: string): KubeError => new KubeError('SPB016', [settings.command, what]);
  let document: unknown;
  try {
    document = JSON.parse(output);
  } catch {
    throw fail('what it printed is not JSON');
  }
  const answer = document as {
    kind?: unknown;
    apiVersion?: unknown;
    status?: {
      token?: unknown;
      clientCertificateData?: unknown;
      clientKeyData?: unknown;
      expirationTimestamp?: unknown;
    };
  } | null;
  if (answer?.kind !== 'ExecCredential' || answer.apiVersion !== settings.apiVersion) {
    throw fail(`what it printed is no ExecCredential of ${settings.apiVersion}`);
  }
  const { token, clientCertificateData: certificate, clientKeyData: key, expirationTimestamp } = answer.status ?? {};
  const isText = (value: unknown): value is string => typeof value === 'string' && value !== '';
  if (isText(certificate) !== isText(key)) throw fail('a client certificate needs its key');
  if (!isText(token) && !isText(certificate)) throw fail('there is neither token nor certificate in it');
  const expiresAt =
    expirationTimestamp === undefined ? Number.POSITIVE_INFINITY : Date.parse(String(expirationTimestamp));
  if (Number.isNaN(expiresAt)) throw fail('expirationTimestamp is no time');
  return {
    credential: {
      ...(isText(token) ? { token } : {}),
      ...(isText(certificate) && isText(key) ? { certificate, key } : {}),
    },
    expiresAt,
  };
}
