/** The API server, which tests stop, kill and start again. */
import { readFile } from 'node:fs/promises';
import { Agent, get } from 'node:https';
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

/** The status of /readyz; undefined when nobody answers. */
function readyz(port: number, agent: Agent): Promise<number | undefined> {
  return new Promise((resolve) => {
    const request = get({ host: '127.0.0.1', port, path: '/readyz', agent, timeout: 5_000 }, (response) => {
      response.resume().once('end', () => resolve(response.statusCode));
      response.once('error', () => resolve(undefined));
    });
    request.once('timeout', () => request.destroy());
    request.once('error', () => resolve(undefined));
  });
}

/** It says so nowhere but there, so it is asked until it does. */
async function untilReady(component: Component, port: number, credentials: Credentials): Promise<void> {
  const agent = new Agent({ ...credentials, keepAlive: false });
  while ((await readyz(port, agent)) !== 200) {
    if (component.status() !== undefined) {
      throw new Error(`${component.name} ended while it started:\n${await readFile(component.log, 'utf8')}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Starts it and waits until it is ready. @throws with its log when it ends before that */
export async function startApiServer(
  layout: Layout,
  start: Start,
  { auditPolicy, flags, relayInto }: ApiServerSurroundings,
): Promise<ApiServerHandle> {
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
  const startAndWait = async (): Promise<Component> => {
    const component = await start(plan);
    await untilReady(component, apiPort, credentials);
    return component;
  };
  let current = await startAndWait();
  return {
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
}
