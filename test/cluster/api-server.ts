/** The API server, which tests stop, kill and start again. */
import { readFile } from 'node:fs/promises';
import { Agent, request as httpsRequest } from 'node:https';
import { apiServer, apiServerHosts, type Layout } from './components.ts';
import { type Component, type ComponentPlan, type ComponentSurroundings, startComponent } from './processes.ts';

const GRACE_MS = 3_000;

export type Start = (plan: ComponentPlan) => Promise<Component>;

export interface ApiServerHandle {
  /** Ends it in order: no new requests, open ones are answered. Watches would hold it for a minute: they get `GRACE_MS`. */
  stop(): Promise<void>;
  /** Ends it as a crash does. */
  kill(): Promise<void>;
  /** Starts it again on the same port and waits until it is ready. */
  start(): Promise<void>;
  /** Freezes it: connections stay open and nothing comes. */
  freeze(): void;
  thaw(): void;
}

/** What the API server answered. */
export interface ApiAnswer {
  readonly status: number;
  readonly body: unknown;
}

/** As an administrator, without a client in between that would check, add or hide something. */
export type ApiRequest = (method: string, target: string, body?: unknown) => Promise<ApiAnswer>;

interface ApiServerSurroundings {
  readonly auditPolicy: string | undefined;
  readonly flags: readonly string[];
  /** Where it is in another network namespace: it is relayed to the same port out here. */
  readonly relayInto: { readonly namespace: string; readonly surroundings: ComponentSurroundings } | undefined;
}

interface Credentials {
  readonly ca: Buffer;
  readonly cert: Buffer;
  readonly key: Buffer;
}

/** It says so nowhere but there, so it is asked until it does. */
async function untilReady(component: Component, request: ApiRequest): Promise<void> {
  const isReady = async (): Promise<boolean> => (await request('GET', '/readyz')).status === 200;
  // Until it listens there is nobody to answer.
  while (!(await isReady().catch(() => false))) {
    if (component.status() !== undefined) {
      throw new Error(`${component.name} ended while it started:\n${await readFile(component.log, 'utf8')}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function requester(port: number, credentials: Credentials): ApiRequest {
  // One connection for each: none is left open that would hold up a stop.
  const agent = new Agent({ ...credentials, keepAlive: false });
  return (method, target, body) =>
    new Promise((resolve, reject) => {
      const headers = { 'content-type': 'application/json', accept: 'application/json' };
      const request = httpsRequest({ host: '127.0.0.1', port, path: target, method, agent, headers }, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.once('error', reject);
        response.once('end', () => {
          const text = Buffer.concat(chunks).toString('utf8');
          const isJson = response.headers['content-type']?.startsWith('application/json') === true;
          resolve({ status: response.statusCode ?? 0, body: isJson ? JSON.parse(text) : text });
        });
      });
      request.once('error', reject);
      request.end(body === undefined ? undefined : JSON.stringify(body));
    });
}

/** Starts it and waits until it is ready. @throws with its log when it ends before that */
export async function startApiServer(
  layout: Layout,
  start: Start,
  { auditPolicy, flags, relayInto }: ApiServerSurroundings,
): Promise<{ readonly apiServer: ApiServerHandle; readonly request: ApiRequest }> {
  const { pki, kubecore, apiPort, address } = layout;
  const [serving, kubeletClient, probe] = await Promise.all([
    pki.issue('kube-apiserver', { name: 'kube-apiserver', hosts: apiServerHosts(address) }),
    pki.issue('kubelet-client', { name: 'kube-apiserver-kubelet-client', groups: ['system:masters'] }),
    pki.issue('probe', { name: 'probe', groups: ['system:masters'] }),
  ]);
  const [ca, cert, key] = await Promise.all(
    [pki.ca.certificate, probe.certificate, probe.key].map((file) => readFile(file)),
  );
  const credentials = { ca, cert, key } as Credentials;
  const plan = apiServer(layout, { serving, kubeletClient, auditPolicy, flags });
  if (relayInto !== undefined) {
    const here = `127.0.0.1:${apiPort}`;
    const command = [kubecore, 'relay', here, relayInto.namespace, here];
    await startComponent({ name: 'relay', command }, relayInto.surroundings);
  }
  const request = requester(apiPort, credentials);
  const startAndWait = async (): Promise<Component> => {
    const component = await start(plan);
    await untilReady(component, request);
    return component;
  };
  let current = await startAndWait();
  const handle: ApiServerHandle = {
    async stop() {
      const ended = current;
      const impatient = setTimeout(() => void ended.stop('SIGKILL'), GRACE_MS);
      await ended.stop('SIGTERM');
      clearTimeout(impatient);
    },
    kill: () => current.stop('SIGKILL'),
    async start() {
      if (current.status() === undefined) throw new Error('the API server is running');
      current = await startAndWait();
    },
    freeze: () => void process.kill(current.pid, 'SIGSTOP'),
    thaw: () => void process.kill(current.pid, 'SIGCONT'),
  };
  return { apiServer: handle, request };
}
